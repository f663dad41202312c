"""Non-maximum suppression: of boxes on one person, the best."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_TINY = np.finfo(np.float32).tiny


def nms(boxes: Floats, scores: Floats, iou: float) -> NDArray[np.int64]:
    """The indices of the boxes that stay, best first: of two that overlap by more than `iou` the better one.

    `boxes` is (N, 4) xyxy of one class, `scores` is (N,). A box that was suppressed suppresses none, as in the usual
    greedy loop; here every box is judged at once, again and again until none changes. Each round settles at least the
    best box yet unsettled, and few are needed as chains of overlapping boxes are short. Memory is N x N.
    """
    order = np.argsort(-scores, kind="stable")
    beats = np.triu(box_iou(boxes[order], boxes[order]) > iou, k=1)  # (N, N), row suppresses column
    kept: NDArray[np.bool_] = np.ones(len(order), np.bool_)
    while True:
        still_kept = np.logical_not(beats[kept].any(axis=0))
        if np.array_equal(still_kept, kept):
            return order[kept]
        kept = still_kept


def box_iou(first: Floats, second: Floats) -> Floats:
    """Intersection over union (N, M) of boxes (N, 4) and (M, 4) xyxy; 0 where a box has no area."""
    shared = _overlap(first, second, 0) * _overlap(first, second, 1)
    union = np.add.outer(_area(first), _area(second)) - shared
    ratio: Floats = shared / np.maximum(union, _TINY, out=union)
    return ratio


def _overlap(first: Floats, second: Floats, axis: int) -> Floats:
    """How far (N, M) boxes overlap in x (axis 0) or y (axis 1)."""
    start = np.maximum.outer(first[:, axis], second[:, axis])
    end = np.minimum.outer(first[:, axis + 2], second[:, axis + 2])
    end -= start
    return np.maximum(end, 0, out=end)


def _area(boxes: Floats) -> Floats:
    """The area (N,) of boxes (N, 4) xyxy; 0 where a side is negative."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    area: Floats = sides[:, 0] * sides[:, 1]
    return area
