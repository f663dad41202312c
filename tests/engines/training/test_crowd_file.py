"""People kept on the disk: read as they were written, and in another place for any other content."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from engines.training.crowd_file import crowd_file, kept_crowd, read_crowd, write_crowd
from engines.training.labels import LabelledPicture, LabelledSet, Labels
from engines.training.people import Crowd, Person
from engines.training.teacher import TeacherOptions


def person(picture: int, value: float) -> Person:
    return Person(
        picture,
        np.array([value, 2, 30, 40], np.float32),
        np.full((3, 2), value, np.float32),
        np.array([True, False, True]),
    )


def test_a_crowd_comes_back_as_it_was(tmp_path: Path) -> None:
    crowd = Crowd((tmp_path / "a.jpg", tmp_path / "b.jpg"), (0, 1), (person(0, 1), person(1, 5), person(1, 7)))
    write_crowd(crowd, tmp_path / "people-1.npz")
    back = read_crowd(tmp_path / "people-1.npz")
    assert (back.paths, back.sets) == (crowd.paths, crowd.sets)
    assert [one.picture for one in back.people] == [0, 1, 1]
    for one, other in zip(back.people, crowd.people, strict=True):
        np.testing.assert_array_equal(one.box, other.box)
        np.testing.assert_array_equal(one.keypoints, other.keypoints)
        np.testing.assert_array_equal(one.visible, other.visible)
        assert (one.box.dtype, one.keypoints.dtype, one.visible.dtype) == (np.float32, np.float32, np.bool_)
    assert [path.name for path in tmp_path.iterdir()] == ["people-1.npz"]


def test_a_crowd_is_found_once(tmp_path: Path) -> None:
    asked: list[int] = []

    def find() -> Crowd:
        asked.append(1)
        return Crowd((tmp_path / "a.jpg",), (0,), (person(0, len(asked)),))

    file = tmp_path / "packs" / "people-1.npz"
    assert [kept_crowd(file, find).people[0].box[0] for _ in range(2)] == [1, 1]
    assert asked == [1]


def test_who_finds_nobody_may_try_again(tmp_path: Path) -> None:
    def fail() -> Crowd:
        raise ValueError("nobody")

    with pytest.raises(ValueError, match="nobody"):
        kept_crowd(tmp_path / "people-1.npz", fail)
    assert len(kept_crowd(tmp_path / "people-1.npz", lambda: Crowd((), (), (person(0, 1),))).people) == 1


def test_other_labels_pictures_and_teachers_are_kept_elsewhere(tmp_path: Path) -> None:
    picture = tmp_path / "a.jpg"
    picture.write_bytes(b"123")
    labels = Labels.none(3)
    one = LabelledSet("a", (LabelledPicture(picture, labels, False),), 1.0, False, ())
    for name, content in (("net", b"1"), ("same", b"1"), ("other", b"2")):
        (tmp_path / f"{name}.onnx").write_bytes(content)
    teacher = TeacherOptions(detector=str(tmp_path / "net.onnx"))
    first = crowd_file(tmp_path, [one], 3, teacher)
    for same in (
        teacher,
        replace(teacher, detector=str(tmp_path / "same.onnx")),
        replace(teacher, pose=str(tmp_path / "absent.onnx")),
    ):
        assert crowd_file(tmp_path, [one], 3, same) == first
    whole = replace(one, pictures=(LabelledPicture(picture, labels, True),))
    others = [
        crowd_file(tmp_path, [one, one], 3, teacher),
        crowd_file(tmp_path, [whole], 3, teacher),
        crowd_file(tmp_path, [replace(one, is_labelled=True)], 3, teacher),
        crowd_file(tmp_path, [one], 4, teacher),
        crowd_file(tmp_path, [one], 3, teacher, with_untold=True),
        crowd_file(tmp_path, [one], 3, replace(teacher, size=416)),
        crowd_file(tmp_path, [one], 3, replace(teacher, detector=str(tmp_path / "other.onnx"))),
        crowd_file(tmp_path, [one], 3, TeacherOptions()),
    ]
    picture.write_bytes(b"1234")
    others.append(crowd_file(tmp_path, [one], 3, teacher))
    assert len({first, *others}) == 10
