"""How much boxes overlap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def iou(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union of every box of `a` (M, 4) with every box of `b` (N, 4), xyxy, as (M, N).

    Boxes without area overlap nothing, not even themselves.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    width, height = np.moveaxis(np.maximum(bottom_right - top_left, 0), 2, 0)
    shared: NDArray[np.float64] = width * height  # (M, N)
    union = areas(a)[:, None] + areas(b)[None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def areas(boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Area of each box (M, 4) xyxy; 0 where it is inside out."""
    width, height = np.maximum(boxes[:, 2:].astype(np.float64) - boxes[:, :2], 0).T
    product: NDArray[np.float64] = width * height
    return product


def widen(boxes: NDArray[np.floating], share: float) -> NDArray[np.float64]:
    """Boxes (M, 4) xyxy grown by `share` of their size on every side (Yang et al. 2023, C-BIoU)."""
    margin = share * (boxes[:, 2:].astype(np.float64) - boxes[:, :2])
    return np.concatenate([boxes[:, :2] - margin, boxes[:, 2:] + margin], axis=1)
