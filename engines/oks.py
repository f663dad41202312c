"""Object key point similarity (OKS), and what COCO's reference scoring makes of it: poses scored and thinned out."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

SEEN: Final = 0.2
"""Joints scored above it count in the score of a pose (HRNet, lib/dataset/coco.py, `in_vis_thre`)."""
OKS_NMS: Final = 0.9
"""Of two poses more alike than this the better one stays (`oks_thre` there)."""

_TINY = np.finfo(np.float64).tiny


def oks(
    points: Floats,
    others: Floats,
    areas: Floats,
    sigmas: tuple[float, ...],
    counted: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """The similarity (M, N) in [0, 1] of poses (M, K, 2) to poses (N, K, 2): 1 where all joints coincide.

    `areas`, in square pixels, is that of the person by which a pair is judged, of any shape that broadcasts to (M, N).
    Only joints with `counted` (M, K) enter; a row without any is 0 throughout. The mean over the joints of
    exp(-d^2 / (2 area (2 sigma)^2)), as in cocoapi, cocoeval.py, `computeOks`.
    """
    count, joints = points.shape[:2]
    squares = ((points[:, None].astype(np.float64) - others[None]) ** 2).sum(axis=-1)  # (M, N, K)
    spreads = 2 * (2 * np.array(sigmas)) ** 2 * np.maximum(areas, _TINY)[..., None]
    weights = np.ones((count, joints)) if counted is None else counted.astype(np.float64)
    sums = (np.exp(-squares / spreads) * weights[:, None]).sum(axis=-1)
    means: NDArray[np.float64] = sums / np.maximum(weights.sum(axis=1), 1)[:, None]
    return means


def pose_scores(box_scores: Floats, joint_scores: Floats) -> NDArray[np.float64]:
    """The scores (M,) of poses: that of the box (M,) times the mean of those joint scores (M, K) above SEEN; else 0."""
    seen = joint_scores > SEEN
    sums = np.where(seen, joint_scores, 0).sum(axis=1, dtype=np.float64)
    return np.asarray(box_scores * sums / np.maximum(seen.sum(axis=1), 1), np.float64)


def oks_nms(
    points: Floats, scores: Floats, areas: Floats, sigmas: tuple[float, ...], threshold: float = OKS_NMS
) -> NDArray[np.intp]:
    """The indices of the poses (M, K, 2) that stay, best first: of two more alike than `threshold` the better one.

    `scores` and `areas` are (M,); a pair is judged by the mean of its areas, and a pose that was dropped drops none
    (HRNet, lib/nms/nms.py, `oks_nms`).
    """
    order = np.argsort(-scores, kind="stable")
    alike = oks(points, points, (areas[:, None] + areas) / 2, sigmas)[np.ix_(order, order)] > threshold
    kept = np.ones(len(order), np.bool_)
    for row in range(len(order)):
        if kept[row]:
            kept[row + 1 :] &= ~alike[row, row + 1 :]
    return order[kept]
