"""How much boxes overlap, and which do at all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.floating]


def iou(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """Intersection over union of boxes xyxy along the last axis: (P, 4) and (P, 4) give (P,); others are broadcast.

    So `iou(a[:, None], b)` is the table (M, N) of all with all. Boxes without area overlap nothing, themselves neither.
    """
    shared = intersection(a, b)
    union = areas(a) + areas(b) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def intersection(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """The area that boxes share, as `iou` pairs them."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    size = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    np.maximum(size, 0, out=size)
    shared: NDArray[np.float64] = size[..., 0] * size[..., 1]
    return shared


def areas(boxes: Boxes) -> NDArray[np.float64]:
    """Area of each box (..., 4) xyxy; 0 where it is inside out."""
    boxes = np.asarray(boxes, np.float64)
    size = np.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    product: NDArray[np.float64] = size[..., 0] * size[..., 1]
    return product


def widen(boxes: Boxes, share: float) -> NDArray[np.float64]:
    """Boxes (M, 4) xyxy grown by `share` of their size on every side (Yang et al. 2023, C-BIoU)."""
    margin = share * (boxes[:, 2:].astype(np.float64) - boxes[:, :2])
    return np.concatenate([boxes[:, :2] - margin, boxes[:, 2:] + margin], axis=1)


def touching(a: Boxes, b: Boxes) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The pairs of a box of `a` (M, 4) and one of `b` (N, 4) that share some area, as rows (P,) and columns (P,).

    Only boxes within each other's reach along x are compared, so the work grows with the pairs, not with M times N.
    """
    if not len(a) or not len(b):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    order = np.argsort(b[:, 0])
    left = b[order, 0]
    first = np.searchsorted(left, a[:, 0] - (b[:, 2] - b[:, 0]).max())
    count = np.maximum(np.searchsorted(left, a[:, 2]) - first, 0)
    rows = np.repeat(np.arange(len(a)), count)
    columns = order[np.arange(len(rows)) + np.repeat(first - (np.cumsum(count) - count), count)]
    of_a, of_b = a[rows], b[columns]
    near = (of_b[:, 2] > of_a[:, 0]) & (of_b[:, 1] < of_a[:, 3]) & (of_b[:, 3] > of_a[:, 1])
    return rows[near], columns[near]
