from __future__ import annotations

import numpy as np
import pytest

from engines.nms import box_iou, nms


def slow_nms(boxes: list[list[float]], scores: list[float], iou: float) -> list[int]:
    """The greedy loop, as it is written down everywhere."""
    kept: list[int] = []
    for candidate in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(slow_iou(boxes[candidate], boxes[other]) <= iou for other in kept):
            kept.append(candidate)
    return kept


def slow_iou(a: list[float], b: list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def test_iou_by_hand() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [3, 3, 3, 3]], np.float32)
    expected = [[1, 1 / 3, 0, 0], [1 / 3, 1, 1 / 3, 0], [0, 1 / 3, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(box_iou(boxes, boxes), expected, rtol=1e-6)


def test_a_suppressed_box_suppresses_none() -> None:
    boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], np.float32)  # neighbours overlap by 3/7
    assert nms(boxes, np.array([0.9, 0.8, 0.7], np.float32), 0.4).tolist() == [0, 2]
    assert nms(boxes, np.array([0.8, 0.9, 0.7], np.float32), 0.4).tolist() == [1]
    assert nms(boxes, np.array([0.9, 0.8, 0.7], np.float32), 0.5).tolist() == [0, 1, 2]


def test_a_chain_of_boxes_keeps_every_other_one() -> None:
    left = np.arange(0, 400, 4, dtype=np.float32)
    boxes = np.stack([left, 0 * left, left + 10, 0 * left + 10], axis=1)
    scores = np.linspace(1, 0.1, 100, dtype=np.float32)
    assert nms(boxes, scores, 0.4).tolist() == list(range(0, 100, 2))


def test_overlap_equal_to_the_limit_stays() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5]], np.float32)
    scores = np.array([0.9, 0.8], np.float32)
    assert nms(boxes, scores, 0.5).tolist() == [0, 1]
    assert nms(boxes, scores, 0.49).tolist() == [0]


@pytest.mark.parametrize("count", [0, 1, 2, 50, 400])
@pytest.mark.parametrize("iou", [0.0, 0.3, 0.5, 1.0])
def test_equals_the_slow_loop(count: int, iou: float) -> None:
    rng = np.random.default_rng(count)
    corner = rng.integers(0, 60, (count, 2))
    boxes = np.concatenate([corner, corner + rng.integers(1, 40, (count, 2))], axis=1).astype(np.float32)
    scores = rng.random(count).astype(np.float32)
    assert nms(boxes, scores, iou).tolist() == slow_nms(boxes.tolist(), scores.tolist(), iou)


def test_of_equal_boxes_and_scores_the_first_stays() -> None:
    boxes = np.tile(np.array([[1, 2, 30, 40]], np.float32), (5, 1))
    assert nms(boxes, np.full(5, 0.5, np.float32), 0.5).tolist() == [0]
