"""Angles of joints in the picture, in degrees, from key points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BETWEEN = {
    "shoulder": ("elbow", "shoulder", "hip"),
    "elbow": ("shoulder", "elbow", "wrist"),
    "hip": ("shoulder", "hip", "knee"),
    "knee": ("hip", "knee", "ankle"),
    "ankle": ("knee", "ankle", "big_toe"),
}
"""The joint in the middle and its two neighbours: 180 is straight; skeletons without toes have no ankle angle."""
ANGLES = (*(f"{side}_{joint}" for joint in BETWEEN for side in ("left", "right")), "trunk")
"""The order of the angles."""


def joint_angles(
    keypoints: NDArray[np.float32], scores: NDArray[np.float32], names: Sequence[str], min_score: float
) -> NDArray[np.float64]:
    """The ANGLES (M, 11) of poses (M, K, 2) whose joints have `names`; NaN where a joint scores under `min_score`.

    Those of joints lie between 0 and 180, seen in the picture's plane: whoever turns out of it seems to bend. `trunk`
    leans from the middle of the hips to that of the shoulders: 0 is upright, to the right of the picture positive, up
    to 180 either way.
    """
    points = np.where((scores >= min_score)[..., None], keypoints.astype(np.float64), np.nan)
    unknown = np.full((len(points), 2), np.nan)

    def at(name: str) -> NDArray[np.float64]:
        return points[:, names.index(name)] if name in names else unknown

    columns = [
        _angle(*(at(f"{side}_{joint}") for joint in joints))
        for joints in BETWEEN.values()
        for side in ("left", "right")
    ]
    shoulders, hips = ((at(f"left_{joint}") + at(f"right_{joint}")) / 2 for joint in ("shoulder", "hip"))
    across, down = (shoulders - hips).T
    return np.stack([*columns, np.degrees(np.arctan2(across, -down))], axis=1)


def _angle(a: NDArray[np.float64], middle: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Degrees (M,) between the ways from `middle` (M, 2) to `a` and to `b`; NaN where one has no length."""
    (ax, ay), (bx, by) = (a - middle).T, (b - middle).T
    is_somewhere = (np.hypot(ax, ay) > 0) & (np.hypot(bx, by) > 0)
    turn = np.abs(np.arctan2(ax * by - ay * bx, ax * bx + ay * by))
    return np.where(is_somewhere, np.degrees(turn), np.nan)
