"""Annotated pictures read as they are stored, gone through in steps, and the people missed most."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.annotated import read_annotated
from engines.coco import CocoPicture, CocoTruth
from engines.evaluate import STEP, crop_areas, detect_people, estimate_poses, worst_people
from engines.results import Detections, Image, Poses
from engines.skeletons import COCO17

SPREAD = np.stack([np.arange(17) % 5 * 8, np.arange(17) // 5 * 20], axis=1).astype(np.float32)


def make_picture(
    folder: Path, number: int, people: Sequence[np.ndarray] = (), size: tuple[int, int] = (30, 40)
) -> CocoPicture:
    path = folder / f"{number}.png"
    cv2.imwrite(str(path), np.full((*size, 3), number, np.uint8))
    joints = np.array(people, np.float32).reshape(-1, 17, 2)
    count = len(joints)
    boxes = np.tile(np.array([[0, 0, 20, 30]], np.float32), (count, 1))
    return CocoPicture(number, path, size, joints, np.ones((count, 17), bool), boxes, np.full(count, 2000, np.float32))


def poses(*joints: np.ndarray) -> Poses:
    points = np.array(joints, np.float32).reshape(-1, 17, 2)
    return Poses(points, np.ones(points.shape[:2], np.float32), COCO17)


class NumberReader:
    """Finds and poses, in each picture, as many people as its grey value says; remembers how many came together."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        self.steps.append(len(images))
        counts = [int(image[0, 0, 0]) for image in images]
        return [Detections(np.ones((n, 4), np.float32), np.ones(n, np.float32)) for n in counts]

    def estimate(self, images: Sequence[Image], boxes: Sequence[np.ndarray]) -> list[Poses]:
        self.steps.append(len(images))
        assert [int(image[0, 0, 0]) for image in images] == [len(own) for own in boxes]
        return [poses(*[SPREAD] * len(own)) for own in boxes]


def test_pictures_go_in_steps_and_findings_by_their_numbers(tmp_path: Path) -> None:
    pictures = [make_picture(tmp_path, number) for number in (5, 0, 3, 9, 1, 2)]
    model = NumberReader()
    boxes = detect_people(model, iter(pictures))
    assert {number: len(found.scores) for number, found in boxes.items()} == {n: n for n in (5, 0, 3, 9, 1, 2)}
    found = estimate_poses(model, pictures, boxes)
    assert [len(found[number].scores) for number in (5, 0, 3)] == [5, 0, 3]
    assert model.steps == [STEP, 2, STEP, 2]
    assert detect_people(model, []) == {}


def test_pixels_are_as_stored_whatever_exif_says(tmp_path: Path) -> None:
    """Annotations are of the stored pixels: a picture tagged as lying on its side is not turned."""
    picture = make_picture(tmp_path, 1)
    stored = np.zeros((30, 40, 3), np.uint8)
    stored[:, :10] = 255
    _, data = cv2.imencode(".jpg", stored)
    tag = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"  # orientation 6: turn right
    segment = b"\xff\xe1" + (len(tag) + 2).to_bytes(2, "big") + tag
    picture.path.write_bytes(data.tobytes()[:2] + segment + data.tobytes()[2:])
    assert cv2.imread(str(picture.path)).shape == (40, 30, 3), "the tag says so"
    image = read_annotated(picture)
    assert image.shape == (30, 40, 3)
    assert image[5, 2, 0] > 250
    assert image[5, 30, 0] < 5


def test_another_size_than_annotated_is_refused(tmp_path: Path) -> None:
    picture = make_picture(tmp_path, 1)
    cv2.imwrite(str(picture.path), np.zeros((31, 40, 3), np.uint8))
    with pytest.raises(ValueError, match=r"1\.png: is 40x31, annotated as 40x30"):
        read_annotated(picture)
    picture.path.write_bytes(b"no picture")
    with pytest.raises(OSError, match=r"1\.png: cannot be read"):
        read_annotated(picture)


def test_crops_cover_the_padded_box_in_the_networks_aspect() -> None:
    boxes = {7: Detections(np.array([[0, 0, 30, 40], [0, 0, 30, 10]], np.float32), np.ones(2, np.float32))}
    # 30x40 has the aspect of 256x192 already; 30x10 grows to it
    np.testing.assert_allclose(crop_areas(boxes, (256, 192))[7], [30 * 40 * 1.25**2] * 2)
    assert crop_areas({1: Detections.none()}, (256, 192))[1].shape == (0,)


def test_the_worst_come_first(tmp_path: Path) -> None:
    truth = CocoTruth(
        tmp_path / "truth.json",
        (
            make_picture(tmp_path, 1, [SPREAD, SPREAD + 50]),
            make_picture(tmp_path, 2, [SPREAD]),
            make_picture(tmp_path, 3),
        ),
    )
    found = {1: poses(SPREAD + 50.5, SPREAD + 4), 2: poses(), 3: poses(SPREAD)}
    nearest = worst_people(truth, found, 9, paired=False)
    assert [(p.picture.number, p.person, p.pose) for p in nearest] == [(2, 0, None), (1, 0, 1), (1, 1, 0)]
    assert nearest[0].oks == 0
    assert nearest[2].oks > 0.9
    found[2] = poses(SPREAD)
    own = worst_people(truth, found, 2, paired=True)  # row i is person i: in picture 1 they were swapped
    assert [(p.picture.number, p.person, p.pose) for p in own] == [(1, 0, 0), (1, 1, 1)]
    assert own[0].oks < 0.01
    assert worst_people(truth, found, 0, paired=True) == []


def test_a_joint_that_is_not_annotated_does_not_count(tmp_path: Path) -> None:
    picture = make_picture(tmp_path, 1, [SPREAD])
    picture.visible[0, 3] = False
    far = SPREAD.copy()
    far[3] += 1000
    (person,) = worst_people(CocoTruth(tmp_path, (picture,)), {1: poses(far)}, 1, paired=True)
    assert person.oks == pytest.approx(1)
