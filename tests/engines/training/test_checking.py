"""What is wrong with labels is counted and passed over, by hand-made people."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.training.checking import Faults, checked_picture
from engines.training.labels import LabelledPicture, Labels

BOX = (20.0, 10.0, 60.0, 90.0)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """One of 120 rows and 160 columns."""
    file = tmp_path / "a.png"
    cv2.imwrite(str(file), np.zeros((120, 160, 3), np.uint8))
    return file


def people(*boxes: tuple[float, ...], joints: list[list[tuple[float, float]]] | None = None) -> Labels:
    points = np.array(joints or [[(40, 50), (45, 55)]] * len(boxes), np.float32).reshape(len(boxes), -1, 2)
    visible = np.ones(points.shape[:2], np.bool_)
    return Labels(np.array(boxes, np.float32).reshape(-1, 4), points, visible, np.zeros(len(boxes), np.bool_))


def checked(path: Path, labels: Labels, size: tuple[int, int] | None = None) -> tuple[LabelledPicture, tuple[str, ...]]:
    faults = Faults()
    found = checked_picture(path, labels, True, size, faults)
    assert found is not None
    return found, faults.lines()


def test_faults_are_counted_by_kind_with_their_first() -> None:
    faults = Faults()
    faults.add("hats are blue", "a.jpg")
    faults.add("hats are red", "b.jpg", 1200)
    faults.add("hats are blue", "c.jpg", 2)
    faults.add("hats are green", "d.jpg", 0)
    assert faults.lines() == ("3 hats are blue, first a.jpg", "1,200 hats are red, first b.jpg")


def test_good_labels_stay_as_they_are(picture: Path) -> None:
    labels = people(BOX, (100, 10, 161, 121))
    labels = Labels(labels.boxes, labels.keypoints + np.array([[[0, 0]], [[80, 0]]], np.float32), *_rest(labels))
    found, faults = checked(picture, labels, (120, 160))
    assert faults == ()
    assert found.has_all
    np.testing.assert_array_equal(found.labels.boxes, labels.boxes)
    np.testing.assert_array_equal(found.labels.keypoints, labels.keypoints)
    assert found.labels.visible.all()


def _rest(labels: Labels) -> tuple[np.ndarray, np.ndarray]:
    return labels.visible, labels.crowd


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((20, 10, 20, 90), "1 boxes have no area (left out), first a.png"),
        ((60, 10, 20, 90), "1 boxes have no area (left out), first a.png"),
        ((np.nan, 10, 60, 90), "1 boxes have no area (left out), first a.png"),
        ((160, 10, 200, 90), "1 boxes lie outside their picture (left out), first a.png"),
        ((-30, 10, 0, 90), "1 boxes lie outside their picture (left out), first a.png"),
    ],
)
def test_a_box_that_is_none_is_left_out_and_the_picture_no_longer_complete(
    picture: Path, box: tuple[float, ...], words: str
) -> None:
    found, faults = checked(picture, people(box, BOX))
    assert faults == (words,)
    np.testing.assert_array_equal(found.labels.boxes, [BOX])
    assert not found.has_all


def test_of_a_person_labelled_twice_the_one_with_more_joints_stays(picture: Path) -> None:
    labels = people((20, 10, 60.5, 90), BOX, (20, 10, 60, 80))  # overlaps of 0.99 and 0.875
    labels.visible[0, 1] = False
    found, faults = checked(picture, labels)
    assert faults == ("1 people are labelled twice (one left out), first a.png",)
    np.testing.assert_array_equal(found.labels.boxes, [BOX, (20, 10, 60, 80)])
    assert found.has_all


def test_a_crowd_around_one_person_is_nobody_twice(picture: Path) -> None:
    labels = people(BOX, BOX)
    labels.crowd[0] = True
    found, faults = checked(picture, labels)
    assert faults == ()
    assert found.labels.crowd.tolist() == [True, False]


def test_joints_that_cannot_be_are_passed_over(picture: Path) -> None:
    # Half the longer side of the box is 40 pixels: x from -20 to 100 and y from -30 to 130 can be.
    row = [(40, 121), (40, 122), (100, 50), (101, 50), (-2, 50), (np.nan, 50)]
    found, faults = checked(picture, people(BOX, joints=[row]))
    assert found.labels.visible.tolist() == [[True, False, True, False, False, False]]
    assert found.labels.keypoints[0, 1:4].tolist() == [[0, 0], [100, 50], [0, 0]]
    assert faults == (
        "3 joints lie outside their picture (passed over), first a.png",
        "1 joints lie far outside their box (passed over), first a.png",
    )


def test_pictures_that_are_missing_broken_or_of_another_size_are_left_out(picture: Path, tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(b"no picture")
    faults = Faults()
    for path, size in ((picture, (160, 120)), (tmp_path / "b.png", None), (tmp_path / "c.png", None)):
        assert checked_picture(path, people(BOX), True, size, faults) is None
    assert faults.lines() == (
        "1 pictures are of another size than annotated (left out), first a.png: 160x120, annotated as 120x160",
        "1 pictures cannot be read (left out), first b.png",
        "1 pictures are missing (left out), first c.png",
    )


def test_a_picture_annotated_as_it_is_seen_is_told_with_the_remedy(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    cv2.imwrite(str(file), np.zeros((120, 160, 3), np.uint8))
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # orientation 6
    data = file.read_bytes()
    file.write_bytes(data[:2] + b"\xff\xe1\0\x22Exif\0\0" + tiff + data[2:])
    faults = Faults()
    assert checked_picture(file, people(BOX), True, (160, 120), faults) is None
    assert checked_picture(file, people(BOX), True, (160, 121), faults) is None
    assert faults.lines() == (
        "1 pictures are of another size than annotated, turned by their EXIF orientation (left out; turn their pixels "
        "with exiftran -ai or jpegtran), first a.jpg: 160x120, annotated as 120x160",
        "1 pictures are of another size than annotated (left out), first a.jpg: 160x120, annotated as 121x160",
    )
    found, _ = checked(file, people(BOX), (120, 160))
    assert (found.has_all, found.has_boxes) == (True, True)


def test_a_picture_without_people_is_complete(picture: Path) -> None:
    found, faults = checked(picture, Labels.none(17))
    assert (found.has_all, faults) == (True, ())
