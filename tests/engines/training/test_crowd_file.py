"""People kept on the disk: read as they were written, and in another place for any other content."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from engines.training.crowd_file import crowd_file, read_crowd, write_crowd
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


def test_other_labels_pictures_and_teachers_are_kept_elsewhere(tmp_path: Path) -> None:
    picture = tmp_path / "a.jpg"
    picture.write_bytes(b"123")
    labels = Labels.none(3)
    one = LabelledSet("a", (LabelledPicture(picture, labels, False),), 1.0, False, ())
    teacher = TeacherOptions(detector="yolox")
    first = crowd_file(tmp_path, [one], teacher)
    assert crowd_file(tmp_path, [one], teacher) == first
    whole = replace(one, pictures=(LabelledPicture(picture, labels, True),))
    others = [
        crowd_file(tmp_path, [one, one], teacher),
        crowd_file(tmp_path, [whole], teacher),
        crowd_file(tmp_path, [one], replace(teacher, size=416)),
    ]
    picture.write_bytes(b"1234")
    others.append(crowd_file(tmp_path, [one], teacher))
    assert len({first, *others}) == 5
