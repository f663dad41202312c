"""Packs of people: where their joints lie, what the teacher is believed, whole or not there, made once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_engines import POSE_CARD, FakePoser

from engines.training.people import Crowd, Person
from engines.training.pose_pack import FULL, believed, inner_size, open_pose_pack
from engines.training.teacher import PoseTeacher

JOINTS, SIZE = 17, (64, 48)
BOX = (40.0, 30.0, 100.0, 110.0)
DOT = (80, 90)
"""The one bright place of each picture; the fake teacher sees all joints there."""


def picture(folder: Path, name: str = "a.png") -> Path:
    image = np.zeros((160, 160, 3), np.uint8)
    cv2.circle(image, DOT, 4, (255, 255, 255), -1)
    cv2.imwrite(str(folder / name), image)
    return folder / name


def person(number: int = 0, seen: int = 0, at: tuple[float, float] = DOT) -> Person:
    """Somebody whose first `seen` joints are labelled, all at one place."""
    points = np.repeat(np.array([at], np.float32), JOINTS, axis=0)
    return Person(number, np.array(BOX, np.float32), points, np.arange(JOINTS) < seen)


def crowd(folder: Path, *people: Person) -> Crowd:
    return Crowd((picture(folder),), (0,), people or (person(),))


def teacher(poser: FakePoser | None = None, identity: str = "123") -> PoseTeacher:
    return PoseTeacher(poser or FakePoser(), POSE_CARD, identity)


def folders(packs: Path) -> list[Path]:
    return [path for path in packs.iterdir() if path.is_dir()]


def test_a_person_lies_in_the_middle_of_more_than_a_networks_crop(tmp_path: Path) -> None:
    pack = open_pose_pack(crowd(tmp_path, person(seen=2)), JOINTS, SIZE, None, tmp_path)
    # The box is 80 pixels high, and 96 / (80 * 1.25 * 1.5) = 0.64; its middle (70, 70) comes to (36, 48).
    assert (pack.crops.shape, pack.crops.dtype, pack.size) == ((1, 96, 72, 3), np.uint8, SIZE)
    np.testing.assert_allclose(pack.points[0, :3], [[42.4, 60.8], [42.4, 60.8], [0, 0]], atol=1e-4)
    rows, columns = np.nonzero(pack.crops[0, ..., 0] > 127)
    np.testing.assert_allclose([columns.mean(), rows.mean()], [42.4, 60.8], atol=0.3)
    assert pack.labelled.sum() == 2
    assert (pack.maps.shape, bool(pack.taught.any())) == ((0, JOINTS, 16, 12), False)
    assert inner_size((96, 72)) == SIZE
    assert (len(pack), pack.pictures.tolist(), pack.sets.tolist()) == (1, [0], [0])


def test_the_teachers_maps_are_those_of_its_own_crops(tmp_path: Path) -> None:
    people = crowd(tmp_path, person(seen=2))
    pack = open_pose_pack(people, JOINTS, SIZE, teacher(), tmp_path)
    image = cv2.imread(str(people.paths[0]))
    assert image is not None
    maps = teacher().teach(teacher().crops(np.asarray(image, np.uint8), np.array([BOX], np.float32)))
    assert maps.max() > 0.4
    np.testing.assert_array_equal(pack.maps, np.round(maps * FULL))
    assert pack.taught[0].tolist() == [False] * 2 + [True] * 15


@pytest.mark.parametrize(("at", "taught"), [(DOT, 15), ((45.0, 35.0), 0)])
def test_a_teacher_that_misses_the_labels_is_not_asked_for_the_rest(
    tmp_path: Path, at: tuple[float, float], taught: int
) -> None:
    pack = open_pose_pack(crowd(tmp_path, person(seen=2, at=at)), JOINTS, SIZE, teacher(), tmp_path)
    assert pack.taught.sum() == taught


def test_people_go_through_the_teacher_in_batches_over_the_pictures(tmp_path: Path) -> None:
    paths = tuple(picture(tmp_path, f"{number}.png") for number in range(3))
    people = tuple(person(number, seen=row) for number, count in ((0, 9), (2, 10)) for row in range(count))
    poser = FakePoser()
    pack = open_pose_pack(Crowd(paths, (0, 0, 4), people), JOINTS, SIZE, teacher(poser), tmp_path)
    assert poser.rows == [16, 16, 3, 3]  # each with its mirror image
    assert pack.pictures.tolist() == [0] * 9 + [2] * 10
    assert pack.sets.tolist() == [0] * 9 + [4] * 10
    assert pack.labelled.sum(axis=1).tolist() == [*range(9), *range(10)]
    assert (pack.maps == pack.maps[:1]).all()
    assert pack.maps.max() > 0


def test_a_pack_is_made_once(tmp_path: Path) -> None:
    people, poser = crowd(tmp_path, person(seen=3)), FakePoser()
    first = open_pose_pack(people, JOINTS, SIZE, teacher(poser), tmp_path / "packs")
    asked: list[Sequence[Path]] = []

    def follow(paths: Sequence[Path]) -> Iterable[Path]:
        asked.append(paths)
        return paths

    again = open_pose_pack(people, JOINTS, SIZE, teacher(poser), tmp_path / "packs", follow)
    assert (poser.rows, asked) == ([1, 1], [])
    for name in ("crops", "points", "labelled", "maps", "taught", "pictures", "sets"):
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))
    assert len(folders(tmp_path / "packs")) == 1


def test_of_which_set_a_picture_is_may_change(tmp_path: Path) -> None:
    people = crowd(tmp_path)
    open_pose_pack(people, JOINTS, SIZE, None, tmp_path / "packs")
    again = open_pose_pack(replace(people, sets=(3,)), JOINTS, SIZE, None, tmp_path / "packs")
    assert again.sets.tolist() == [3]
    assert len(folders(tmp_path / "packs")) == 1


def test_other_people_sizes_pictures_and_teachers_make_another_pack(tmp_path: Path) -> None:
    packs, people = tmp_path / "packs", crowd(tmp_path, person(seen=3))
    for given, size, taught_by in [
        (people, SIZE, None),
        (people, (128, 96), None),
        (people, SIZE, teacher()),
        (people, SIZE, teacher(identity="124")),
        (replace(people, people=(person(seen=4),)), SIZE, None),
        (replace(people, people=(person(seen=3, at=(81, 90)),)), SIZE, None),
        (replace(people, people=(replace(person(seen=3), box=np.array((40, 30, 100, 111), np.float32)),)), SIZE, None),
    ]:
        open_pose_pack(given, JOINTS, size, taught_by, packs)
    assert len(folders(packs)) == 7
    renamed = PoseTeacher(FakePoser(), replace(POSE_CARD, name="other"), "123")
    open_pose_pack(people, JOINTS, SIZE, renamed, packs)
    assert len(folders(packs)) == 7  # the same file under another name
    people.paths[0].write_bytes(people.paths[0].read_bytes() + b"more")
    open_pose_pack(people, JOINTS, SIZE, None, packs)
    assert len(folders(packs)) == 8


def test_a_pack_is_whole_or_not_there(tmp_path: Path) -> None:
    paths = (picture(tmp_path), tmp_path / "broken.png")
    paths[1].write_bytes(b"words")
    with pytest.raises(OSError, match=r"broken\.png: cannot be read"):
        open_pose_pack(Crowd(paths, (0, 0), (person(0), person(1))), JOINTS, SIZE, teacher(), tmp_path / "packs")
    assert folders(tmp_path / "packs") == []
    assert len(open_pose_pack(Crowd(paths, (0, 0), (person(0),)), JOINTS, SIZE, None, tmp_path / "packs")) == 1


def test_a_teacher_of_larger_crops_gives_larger_maps_and_one_of_another_shape_none(tmp_path: Path) -> None:
    student = (32, 24)
    pack = open_pose_pack(crowd(tmp_path, person(seen=2)), JOINTS, student, teacher(), tmp_path)
    assert (pack.crops.shape, pack.maps.shape) == ((1, 48, 36, 3), (1, JOINTS, 16, 12))
    assert pack.taught.sum() == 15  # it found the labels, measured in the smaller crop
    with pytest.raises(ValueError, match=r"net: sees crops of 64x48, wanted the shape of 64x64"):
        open_pose_pack(crowd(tmp_path), JOINTS, (64, 64), teacher(), tmp_path)


def test_whom_the_teacher_is_believed() -> None:
    points = np.zeros((4, 5, 2), np.float32)
    found = points.copy()
    found[:, :, 0] = [[14, 14, 14, 14, 14], [14, 14, 14, 16, 16], [14, 14, 16, 16, 16], [99, 99, 99, 99, 99]]
    labelled = np.array([[1, 1, 0, 0, 0], [1, 1, 1, 1, 1], [1, 0, 1, 1, 0], [0, 0, 0, 0, 0]], bool)
    # Near is 15 pixels of 100: both labels, 3 of 5 (which is enough), 1 of 3, and nobody labelled anything.
    wanted = [[0, 0, 1, 1, 1], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]]
    assert believed(found, points, labelled, 100.0).astype(int).tolist() == wanted
    labelled[1, 4] = False  # 3 of 4 are enough to be asked for the fifth
    assert believed(found, points, labelled, 100.0)[1].tolist() == [False] * 4 + [True]
    labelled[1, 1] = False  # 2 of 3 too, 1 of 2 not
    assert believed(found, points, labelled, 100.0)[1].tolist() == [False, True, False, False, True]
    labelled[1, 0] = False
    assert not believed(found, points, labelled, 100.0)[1].any()
