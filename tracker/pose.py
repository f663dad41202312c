"""What poses say about boxes, and about whether two of them are one person."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracker.kalman import Floats

SPREAD = 0.14
"""How far a joint may be off, as a share of the body's scale: twice the mean sigma of COCO, as OKS counts."""

MIN_JOINTS = 4
"""With fewer joints in common a pose says nothing of a box."""

MAX_GROWTH = 1.5
"""A pose that grew or shrank by more since its last detection was not the same pose."""


def implied_boxes(
    anchor_boxes: Floats, anchor_points: Floats, anchor_seen: NDArray[np.bool_], points: Floats, seen: NDArray[np.bool_]
) -> tuple[Floats, NDArray[np.bool_]]:
    """Boxes (M, 4) that lie around `points` (M, K, 2) as `anchor_boxes` lay around `anchor_points`.

    The extent of the joints seen both times (masks (M, K)) is compared with the box then; its margins, grown as the
    extent's diagonal grew, are put round the extent now. The mask (M,) returned says which boxes are to be trusted.
    """
    both = anchor_seen & seen
    then, now = extents(anchor_points, both), extents(points, both)
    diagonal_then = np.linalg.norm(then[:, 2:] - then[:, :2], axis=1)
    diagonal_now = np.linalg.norm(now[:, 2:] - now[:, :2], axis=1)
    growth = diagonal_now / np.maximum(diagonal_then, 1e-6)
    trusted = (both.sum(axis=1) >= MIN_JOINTS) & (growth < MAX_GROWTH) & (growth > 1 / MAX_GROWTH)
    return now + growth[:, None] * (anchor_boxes - then), trusted


def extents(points: Floats, seen: NDArray[np.bool_]) -> Floats:
    """Smallest boxes (M, 4) xyxy around the joints (M, K, 2) seen (M, K); zeros where none is."""
    low = np.where(seen[:, :, None], points, np.inf).min(axis=1, initial=np.inf)
    high = np.where(seen[:, :, None], points, -np.inf).max(axis=1, initial=-np.inf)
    anything = np.any(seen, axis=1, keepdims=True)
    return np.where(anything, np.concatenate([low, high], axis=1), 0.0)


def similarity(a: Floats, seen_a: NDArray[np.bool_], b: Floats, seen_b: NDArray[np.bool_], areas: Floats) -> Floats:
    """How alike poses `a` and `b` (P, K, 2) are, pair by pair, in [0, 1]; NaN with too few joints in common.

    The object key point similarity of COCO with one spread for all joints, over the joints seen (P, K) in both, on
    bodies of `areas` (P,) in square pixels.
    """
    both = seen_a & seen_b  # (P, K)
    squared = ((a - b) ** 2).sum(axis=2)
    scale = np.maximum(areas, 1.0) * 2 * SPREAD**2
    count = both.sum(axis=1)
    total = (np.exp(-squared / scale[:, None]) * both).sum(axis=1)
    return np.where(count >= MIN_JOINTS, total / np.maximum(count, 1), np.nan)


def carried(points: Floats, from_places: Floats, to_places: Floats) -> Floats:
    """Poses (P, K, 2) moved and scaled as bodies went from places (P, 4), centre and size, to others."""
    growth = (to_places[:, 3] / from_places[:, 3])[:, None, None]
    return (points - from_places[:, None, :2]) * growth + to_places[:, None, :2]
