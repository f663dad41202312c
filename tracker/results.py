"""What the tracker is shown of a frame, and what it says of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What a frame shows of the people detected in it: row i is detection i.

    `image` is (H, W, 3) uint8 BGR, only read. `keypoints` is (N, K, 2) float32 xy in pixels of the frame;
    `joint_scores` is (N, K) float32, all 0 where a detection was not posed.
    """

    image: NDArray[np.uint8]
    keypoints: NDArray[np.float32]
    joint_scores: NDArray[np.float32]

    def __post_init__(self) -> None:
        _check("joint_scores", self.joint_scores, self.keypoints.shape[:2], np.float32)
        _check("keypoints", self.keypoints, (*self.joint_scores.shape, 2), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """The confirmed people of one frame.

    `ids` is (M,) int64, from 1, never used again within a source; 0 where nothing is followed (still pictures).
    `boxes` is (M, 4) float32 xyxy in pixels of the frame; `scores` is (M,) float32 in [0, 1]. `detections` is (M,)
    int64, which detection of the frame each one is; None where people were not detected but carried on.
    """

    ids: NDArray[np.int64]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    detections: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        count = len(self.ids)
        _check("ids", self.ids, (count,), np.int64)
        _check("boxes", self.boxes, (count, 4), np.float32)
        _check("scores", self.scores, (count,), np.float32)
        if self.detections is not None:
            _check("detections", self.detections, (count,), np.int64)

    def take(self, rows: NDArray[np.intp]) -> Tracks:
        """The people of `rows`, in that order."""
        detections = None if self.detections is None else self.detections[rows]
        return Tracks(self.ids[rows], self.boxes[rows], self.scores[rows], detections)


def _check(name: str, array: NDArray[np.generic], shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{name} must be {shape} {np.dtype(dtype)}, got {array.shape} {array.dtype}")
