"""The drawn pictures: always the same, and people for a network that knows people."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from engines.backends.base import open_backend
from engines.cards import InputSpec, ModelCard
from engines.guard_pictures import JOINTS, SIZE, drawn_scenes
from engines.yolo import PersonDetector


def test_a_seed_draws_the_same_pictures_and_another_others() -> None:
    first, again, other = drawn_scenes(3), drawn_scenes(3), drawn_scenes(3, seed=6)
    for one, two, three in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(one.image, two.image)
        np.testing.assert_array_equal(one.boxes, two.boxes)
        assert (one.image != three.image).any()


def test_people_lie_in_their_boxes_and_boxes_in_the_picture() -> None:
    for scene in drawn_scenes(9)[:-1]:
        assert (scene.image.shape, scene.image.dtype) == ((*SIZE, 3), np.uint8)
        assert len(scene.boxes) in (2, 3)
        assert scene.joints.shape == (len(scene.boxes), len(JOINTS), 2)
        assert (scene.boxes >= 0).all()
        assert (scene.boxes <= [640, 480, 640, 480]).all()
        inside = (scene.joints >= scene.boxes[:, None, :2]) & (scene.joints <= scene.boxes[:, None, 2:])
        on_screen = ((scene.joints >= 0) & (scene.joints <= [640, 480])).all(axis=2)
        assert inside.all(axis=2)[on_screen].all()
        assert on_screen.mean() > 0.8


def test_the_last_picture_is_noise_of_the_whole_range() -> None:
    (noise,) = drawn_scenes(1)
    assert (noise.image.min(), noise.image.max()) == (0, 255)
    assert noise.image.std() == pytest.approx(74, abs=1)  # of numbers from 0 to 255, all alike
    assert noise.boxes.tolist() == [[0, 0, 640, 480]]
    assert noise.joints.shape == (0, 12, 2)
    assert drawn_scenes(0) == []


def test_a_detector_that_was_trained_on_photographs_finds_the_drawn_people(assets: Path) -> None:
    card = ModelCard("yolox", "detect", "yolox", InputSpec((416, 416), "bgr"))
    scenes = drawn_scenes(6)
    with closing(open_backend(assets / "models" / "yolox_nano.onnx", precision="fp32")) as backend:
        found = PersonDetector(backend, card).detect([scene.image for scene in scenes])
    assert sum(len(one.boxes) for one in found) >= sum(len(scene.boxes) for scene in scenes[:-1]) - 2
    assert len(found[-1].boxes) == 0
