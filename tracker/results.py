"""What the tracker says of a frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """The confirmed people of one frame.

    `ids` is (M,) int64, from 1, never used again within a source; 0 where nothing is followed (still pictures).
    `boxes` is (M, 4) float32 xyxy in pixels of the frame; `scores` is (M,) float32 in [0, 1].
    """

    ids: NDArray[np.int64]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __post_init__(self) -> None:
        count = len(self.ids)
        for name, array, shape, dtype in (
            ("ids", self.ids, (count,), np.int64),
            ("boxes", self.boxes, (count, 4), np.float32),
            ("scores", self.scores, (count,), np.float32),
        ):
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(f"{name} must be {shape} {np.dtype(dtype)}, got {array.shape} {array.dtype}")
