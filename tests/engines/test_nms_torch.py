"""Suppression in torch: against numpy, against torchvision, and where the rounds do not suffice."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from engines.nms import nms  # noqa: E402
from engines.nms_torch import MOST, ROUNDS, settled, suppress  # noqa: E402

Floats = NDArray[np.float32]


def crowd(count: int, seed: int) -> tuple[Floats, Floats]:
    """Boxes around a few people, best first."""
    rng = np.random.default_rng(seed)
    centers = rng.uniform(0, 400, (6, 2))[rng.integers(0, 6, count)] + rng.normal(0, 12, (count, 2))
    sides = rng.uniform(40, 90, (count, 2))
    boxes = np.concatenate([centers - sides / 2, centers + sides / 2], axis=1).astype(np.float32)
    return boxes, np.sort(rng.random(count).astype(np.float32))[::-1].copy()


def chain(count: int) -> tuple[Floats, Floats]:
    """Boxes that each overlap the next by 0.6, and only that: every second stays."""
    x = np.arange(count, dtype=np.float32) * 2.5
    boxes = np.stack([x, np.zeros_like(x), x + 10, np.full_like(x, 10)], axis=1)
    return boxes, np.linspace(0.9, 0.5, count, dtype=np.float32)


def kept_by_torch(boxes: Floats, scores: Floats, iou: float) -> Floats:
    (states,) = suppress(torch.from_numpy(boxes)[None], torch.from_numpy(scores)[None], iou).numpy()
    return settled(boxes, scores, states, iou)[0]


@pytest.mark.parametrize("iou", [0.0, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("count", [0, 1, 2, 40, MOST, MOST + 50])
def test_torch_and_numpy_keep_the_same(count: int, iou: float) -> None:
    boxes, scores = crowd(count, count)
    np.testing.assert_array_equal(kept_by_torch(boxes, scores, iou), boxes[nms(boxes, scores, iou)])


@pytest.mark.parametrize("iou", [0.3, 0.5, 0.7])
def test_torchvision_keeps_the_same(iou: float) -> None:
    torchvision = pytest.importorskip("torchvision")
    boxes, scores = crowd(300, 7)
    kept = torchvision.ops.nms(torch.from_numpy(boxes), torch.from_numpy(scores), iou).numpy()
    np.testing.assert_array_equal(kept_by_torch(boxes, scores, iou), boxes[kept])


@pytest.mark.parametrize("count", [2, ROUNDS - 1, ROUNDS, 10 * ROUNDS + 1])
def test_chains_of_any_length_are_settled(count: int) -> None:
    boxes, scores = chain(count)
    np.testing.assert_array_equal(kept_by_torch(boxes, scores, 0.55), boxes[::2])


def test_only_chains_longer_than_the_rounds_are_undecided() -> None:
    for count, undecided in ((ROUNDS, False), (10 * ROUNDS, True)):
        boxes, scores = chain(count)
        states = suppress(torch.from_numpy(boxes)[None], torch.from_numpy(scores)[None], 0.55)
        assert bool((states == 0.5).any()) == undecided
        assert states[0, :ROUNDS].tolist() == [1, 0] * (ROUNDS // 2)


def test_boxes_beyond_the_most_are_undecided() -> None:
    x = torch.arange(MOST + 3) * 20.0
    boxes = torch.stack([x, x * 0, x + 10, x * 0 + 10], dim=1)
    states = suppress(boxes[None], torch.linspace(0.9, 0.1, MOST + 3)[None], 0.5)[0]
    assert states.tolist() == [1] * MOST + [0.5] * 3
    scores = torch.tensor([0.9] * MOST + [-1] * 3)
    assert suppress(boxes[None], scores[None], 0.5)[0].tolist() == [1] * MOST + [0] * 3


def test_pictures_do_not_touch_each_other() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10], [1, 0, 11, 10]], [[0, 0, 10, 10], [20, 0, 30, 10]]])
    states = suppress(boxes, torch.tensor([[0.9, 0.8], [0.9, 0.8]]), 0.5)
    assert states.tolist() == [[1, 0], [1, 1]]


def test_a_box_of_nobody_neither_stays_nor_suppresses() -> None:
    boxes, scores = chain(10 * ROUNDS)  # undecided, so that the host decides too
    scores[40:] = -1
    np.testing.assert_array_equal(kept_by_torch(boxes, scores, 0.55), boxes[:40:2])
    nobody = np.full(3, -1, np.float32)
    assert kept_by_torch(boxes[:3], nobody, 0.5).shape == (0, 4)


def test_boxes_without_area_and_those_that_are_not_numbers_suppress_none() -> None:
    nan = float("nan")
    boxes = np.array([[5, 5, 5, 5], [5, 5, 5, 5], [nan, 0, 9, 9], [nan, 0, 9, 9], [9, 9, 0, 0]], np.float32)
    scores = np.linspace(1, 0.5, 5, dtype=np.float32)
    assert len(kept_by_torch(boxes, scores, 0.5)) == 5
