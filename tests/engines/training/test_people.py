"""Who is learnt from: the labelled, and beside them whom the teacher finds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_engines import DETECT_CARD, FakeFinder

from engines.training.labels import LabelledPicture, LabelledSet, Labels
from engines.training.people import Crowd, gather
from engines.training.teacher import BoxTeacher

JOINTS = 3
FOUND = [
    (5.0, 5.0, 15.0, 35.0, 0.9),  # of an input of 64x48, and so ten times as large in the pictures of 640x480
    (30.0, 5.0, 40.0, 35.0, 0.45),
    (50.0, 5.0, 60.0, 35.0, 0.35),  # not sure enough
    (20.0, 40.0, 24.0, 44.7, 0.9),  # not 48 pixels high
]


def teacher() -> BoxTeacher:
    return BoxTeacher(FakeFinder(FOUND), DETECT_CARD, "123")


def picture(folder: Path, name: str) -> Path:
    cv2.imwrite(str(folder / name), np.full((480, 640, 3), 90, np.uint8))
    return folder / name


def labels(*boxes: tuple[float, float, float, float], seen: int = JOINTS, crowd: bool = False) -> Labels:
    """People whose first `seen` joints are labelled, joint k at (k, 10 + k)."""
    count = len(boxes)
    points = np.stack([np.arange(JOINTS), 10 + np.arange(JOINTS)], -1).astype(np.float32)
    return Labels(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.repeat(points[None], count, axis=0),
        np.repeat(np.arange(JOINTS)[None] < seen, count, axis=0),
        np.full(count, crowd),
    )


def a_set(*pictures: LabelledPicture) -> LabelledSet:
    return LabelledSet("set", pictures, 1.0, True, ())


def boxes_of(crowd: Crowd) -> list[list[float]]:
    return [np.round(person.box).tolist() for person in crowd.people]


def test_the_teacher_finds_those_that_nobody_labelled(tmp_path: Path) -> None:
    # Overlaps the first by 200 of 300 pixels in height: IoU 2/3; the label stays, and its box.
    shown = LabelledPicture(picture(tmp_path, "a.png"), labels((50, 150, 150, 350), seen=2), has_all=False)
    crowd = gather([a_set(shown)], JOINTS, teacher())
    assert boxes_of(crowd) == [[50, 150, 150, 350], [300, 50, 400, 350]]
    own, other = crowd.people
    assert (own.picture, own.visible.tolist(), own.keypoints.tolist()) == (
        0,
        [True, True, False],
        [[0, 10], [1, 11], [2, 12]],
    )
    assert (other.visible.tolist(), other.keypoints.shape) == ([False] * 3, (JOINTS, 2))


@pytest.mark.parametrize(("top", "people"), [(200, 2), (210, 2), (220, 3)])
def test_boxes_that_overlap_enough_are_of_one_person(tmp_path: Path, top: float, people: int) -> None:
    # From `top` to 350 of a box from 50 to 350: IoU is 150, 140 or 130 of 300, and the bound 0.45 is 135.
    shown = LabelledPicture(picture(tmp_path, "a.png"), labels((50, top, 150, 350)), has_all=False)
    assert len(gather([a_set(shown)], JOINTS, teacher()).people) == people


def test_whom_a_box_does_not_outline_is_known_by_the_joints(tmp_path: Path) -> None:
    # MPII's square of 300 about the person whom the teacher has at (50, 50, 150, 350): IoU 1/3.
    square = labels((-50, 50, 250, 350))
    points = np.array([[[75, 75], [100, 200], [125, 325]]], np.float32)
    own = Labels(square.boxes, points, square.visible, square.crowd)
    shown = LabelledPicture(picture(tmp_path, "a.png"), own, has_all=False, has_boxes=False)
    crowd = gather([a_set(shown)], JOINTS, teacher())
    assert boxes_of(crowd) == [[-50, 50, 250, 350], [300, 50, 400, 350]]
    # Two shoulders alone make no outline, but the square does: 200 of 300 pixels in height, as wide as she is.
    close = labels((50, 150, 150, 350))
    points = np.array([[[60, 200], [140, 210], [0, 0]]], np.float32)
    near = Labels(close.boxes, points, np.array([[True, True, False]]), close.crowd)
    shown = LabelledPicture(shown.path, near, has_all=False, has_boxes=False)
    assert boxes_of(gather([a_set(shown)], JOINTS, teacher())) == [[50, 150, 150, 350], [300, 50, 400, 350]]
    outlined = LabelledPicture(shown.path, own, has_all=False)
    assert len(gather([a_set(outlined)], JOINTS, teacher()).people) == 3


def test_a_picture_of_which_all_is_known_is_not_searched(tmp_path: Path) -> None:
    asked: list[Path] = []

    def follow(paths: Sequence[Path]) -> Iterable[Path]:
        asked.extend(paths)
        return paths

    whole = LabelledPicture(picture(tmp_path, "a.png"), labels((0, 0, 90, 90)), has_all=True)
    empty = LabelledPicture(picture(tmp_path, "empty.png"), Labels.none(JOINTS), has_all=True)
    rest = [LabelledPicture(picture(tmp_path, f"{n}.png"), Labels.none(JOINTS), has_all=False) for n in range(5)]
    crowd = gather([a_set(whole, empty, *rest)], JOINTS, teacher(), follow)
    assert asked == [one.path for one in rest]
    assert [person.picture for person in crowd.people] == [0, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]


def test_without_a_teacher_there_are_the_labelled_alone(tmp_path: Path) -> None:
    some = LabelledPicture(tmp_path / "never-read.png", labels((0, 0, 9, 9)), has_all=False)
    none = LabelledPicture(tmp_path / "neither.png", Labels.none(JOINTS), has_all=False)
    crowd = gather([a_set(none, some)], JOINTS, None)
    assert [person.picture for person in crowd.people] == [1]


@pytest.mark.parametrize("with_untold", [False, True])
def test_crowds_are_nobody_and_cover_what_the_teacher_finds(tmp_path: Path, with_untold: bool) -> None:
    for seen in (0, JOINTS):
        own = labels((50, 50, 150, 350), seen=seen, crowd=True)
        crowd = LabelledPicture(picture(tmp_path, "a.png"), own, has_all=False)
        people = gather([a_set(crowd)], JOINTS, teacher(), with_untold=with_untold)
        assert boxes_of(people) == [[300, 50, 400, 350]]


def test_boxes_without_joints_are_people_where_somebody_will_tell_their_joints(tmp_path: Path) -> None:
    # The teacher has the first at (50, 50, 150, 350); the last is 47 pixels high.
    bare = labels((50, 60, 150, 350), (400, 400, 420, 448), (500, 400, 520, 447), seen=0)
    shown = a_set(LabelledPicture(picture(tmp_path, "a.png"), bare, has_all=False))
    both = gather([shown], JOINTS, teacher(), with_untold=True)
    assert boxes_of(both) == [[50, 60, 150, 350], [400, 400, 420, 448], [300, 50, 400, 350]]
    assert [person.visible.tolist() for person in both.people] == [[False] * JOINTS] * 3
    assert boxes_of(gather([shown], JOINTS, teacher())) == [[50, 50, 150, 350], [300, 50, 400, 350]]
    assert boxes_of(gather([shown], JOINTS, None, with_untold=True)) == boxes_of(both)[:2]
    assert gather([shown], JOINTS, None).people == ()


def test_boxes_without_joints_are_people_in_pictures_of_which_all_is_known(tmp_path: Path) -> None:
    some = LabelledPicture(tmp_path / "never-read.png", labels((50, 60, 150, 350), seen=0), has_all=True)
    assert boxes_of(gather([a_set(some)], JOINTS, teacher(), with_untold=True)) == [[50, 60, 150, 350]]
    assert gather([a_set(some)], JOINTS, teacher()).people == ()


def test_a_picture_of_several_sets_is_the_first_ones(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    one = LabelledPicture(tmp_path / "a.png", labels((0, 0, 9, 9)), has_all=True)
    again = LabelledPicture(tmp_path / "inner" / ".." / "a.png", labels((1, 1, 5, 5), (2, 2, 7, 7)), has_all=True)
    other = LabelledPicture(tmp_path / "b.png", labels((3, 3, 8, 8)), has_all=True)
    crowd = gather([a_set(one), a_set(again, other)], JOINTS, None)
    assert crowd.paths == ((tmp_path / "a.png").resolve(), (tmp_path / "b.png").resolve())
    assert crowd.sets == (0, 1)
    assert boxes_of(crowd) == [[0, 0, 9, 9], [3, 3, 8, 8]]


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"words")
    broken = LabelledPicture(tmp_path / "a.png", Labels.none(JOINTS), has_all=False)
    with pytest.raises(OSError, match=r"a\.png: cannot be read as a picture"):
        gather([a_set(broken)], JOINTS, teacher())
