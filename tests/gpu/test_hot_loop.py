"""The way from pictures to boxes and key points on the device: right, without a wait, and with the copies that it says.

On a lent GPU machine this file wants pydantic, which model cards are checked by, carried along. The cases on "cpu"
check the test itself where there is no GPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d

from engines.backends.base import TensorSpec
from engines.cards import InputSpec, ModelCard
from engines.hrnet import PoseEstimator, PoseOptions
from engines.images import ImageBatch
from engines.yolo import PersonDetector

POSE = ModelCard("pose", "pose", "heatmap", InputSpec((256, 192), "bgr", 1 / 255), skeleton="coco17")
DETECTOR = ModelCard("detector", "detect", "yolox-decoded", InputSpec((416, 416), "bgr"))


@pytest.fixture(params=["cpu", pytest.param("cuda:0", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


class Pooling:
    """A pose network by hand: each heat map is one colour of the crop, a cell the mean of 4 x 4 pixels."""

    name = "pooling"
    inputs = (TensorSpec("image", (None, 3, 256, 192), "float32"),)
    outputs = (TensorSpec("heatmaps", (None, 17, 64, 48), "float32"),)

    def __init__(self, device: str) -> None:
        self.device = device
        self.rows: list[int] = []

    def infer_tensors(self, batch: Tensor) -> tuple[Tensor, ...]:
        self.rows.append(len(batch))
        return (avg_pool2d(batch, 4).repeat(1, 6, 1, 1)[:, :17].contiguous(),)

    def infer(self, batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        raise AssertionError("not by the host")

    def close(self) -> None:
        pass


class Prophet:
    """A detector that says what it was told: rows (N, A, 6) cx, cy, w, h in pixels of the input, objectness, class."""

    name = "prophet"
    inputs = (TensorSpec("image", (None, 3, 416, 416), "float32"),)
    outputs = (TensorSpec("output", (None, 4, 6), "float32"),)

    def __init__(self, rows: Sequence[Sequence[float]], device: str) -> None:
        self.device = device
        self._rows = torch.tensor([rows], device=device)

    def infer_tensors(self, batch: Tensor) -> tuple[Tensor, ...]:
        assert batch.shape[1:] == (3, 416, 416)
        return (self._rows.expand(len(batch), -1, -1).clone(),)

    def infer(self, batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        raise AssertionError("not by the host")

    def close(self) -> None:
        pass


# Of a 832x416 picture, halved: a person, the same a little lower and less sure, another, and one that is none.
ROWS = [[52, 104, 104, 208, 0.9, 1], [52, 106, 104, 208, 0.8, 1], [364, 104, 104, 208, 0.7, 1], [9, 9, 9, 9, 0.1, 1]]
BOXES = np.array([[0, 0, 208, 416], [624, 0, 832, 416]], np.float32)


def dotted(x: int, y: int) -> NDArray[np.uint8]:
    """A black picture 832 wide, 416 high, with a white dot of 17 x 17 pixels around (x, y)."""
    image = np.zeros((416, 832, 3), np.uint8)
    image[y - 8 : y + 9, x - 8 : x + 9] = 255
    return image


@contextmanager
def no_waiting(device: str) -> Iterator[None]:
    """Raise where torch makes the host wait for the device without being told to."""
    if device == "cpu":
        yield
        return
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def test_boxes_are_found_where_they_are_in_the_picture(device: str) -> None:
    detector = PersonDetector(Prophet(ROWS, device), DETECTOR)
    found = detector.detect([dotted(100, 100), dotted(300, 300)])
    assert len(found) == 2
    for one in found:
        np.testing.assert_allclose(one.boxes, BOXES, atol=1e-3)
        np.testing.assert_allclose(one.scores, [0.9, 0.7], rtol=1e-6)


@pytest.mark.parametrize("flip_test", [False, True])
def test_key_points_are_found_where_they_are_in_the_picture(device: str, flip_test: bool) -> None:
    estimator = PoseEstimator(Pooling(device), POSE, PoseOptions(flip_test=flip_test))
    images = [dotted(100, 120), dotted(700, 300)]
    one, two = estimator.estimate(images, [BOXES[:1], BOXES])
    # A cell is 4 pixels of the crop, 8.1 pixels of the picture; every joint sees the dot.
    assert np.abs(one.keypoints - (100, 120)).max() < 9
    assert np.abs(two.keypoints[1] - (700, 300)).max() < 9
    assert two.scores[0].max() == 0  # nothing is in the other person's crop
    assert one.scores.min() > 0.8


def test_more_people_than_a_batch_holds_and_nobody(device: str) -> None:
    backend = Pooling(device)
    estimator = PoseEstimator(backend, POSE, PoseOptions(max_batch=4))
    nobody, many = estimator.estimate([dotted(9, 9), dotted(100, 120)], [BOXES[:0], np.repeat(BOXES[:1], 9, axis=0)])
    assert nobody.keypoints.shape == (0, 17, 2)
    assert backend.rows == [4, 4, 1]
    assert np.ptp(many.keypoints, axis=0).max() == 0


@pytest.mark.parametrize(
    "options",
    [PoseOptions(), PoseOptions("dark"), PoseOptions(flip_test=True), PoseOptions(max_batch=1)],
    ids=["quarter", "dark", "flip", "one-by-one"],
)
def test_a_step_waits_for_its_two_answers_only_and_copies_no_more_than_it_says(
    device: str, options: PoseOptions
) -> None:
    images = ImageBatch()
    detector = PersonDetector(Prophet(ROWS, device), DETECTOR, images=images)
    estimator = PoseEstimator(Pooling(device), POSE, options, images)
    frames = [dotted(100, 120), dotted(700, 300)]

    def step() -> None:
        found = detector.detect(frames)
        estimator.estimate(frames, [one.boxes for one in found])

    step()  # the first makes what is kept on the device from then on
    before = images.copies.uploads, images.copies.fetches
    with no_waiting(device):
        step()
    uploads, fetches = images.copies.uploads - before[0], images.copies.fetches - before[1]
    assert (uploads, fetches) == (len(frames) + 1, 2)  # each picture and where the people are; boxes, key points
    per_step = images.copies.fetched_bytes / 2
    assert per_step < 100e3  # key points of four people are 816 bytes each, boxes 24; no picture, no heat map


@pytest.mark.gpu
def test_a_wait_would_be_seen() -> None:
    tensor = torch.ones(3, device="cuda:0")
    with pytest.raises(RuntimeError, match=r"[Ss]ynchroniz"), no_waiting("cuda:0"):
        tensor.sum().item()
