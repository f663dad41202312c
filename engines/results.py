"""What the engines find: structures of arrays, row i of one being row i of the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""A picture, (H, W, 3) uint8 BGR."""


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """The people found in one frame.

    `boxes` is (N, 4) float32 xyxy in pixels of the frame; `scores` is (N,) float32 in [0, 1], best first.
    Raises ValueError where a shape or dtype is another.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __post_init__(self) -> None:
        check_array("boxes", self.boxes, (None, 4), np.float32)
        check_array("scores", self.scores, (len(self.boxes),), np.float32)

    @staticmethod
    def none() -> Detections:
        """No people."""
        return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The joints of a body and how they hang together.

    `names[k]` is joint k; `limbs` are pairs of joints to draw; `pairs` are (left, right) joints that a mirror swaps;
    `sigmas[k]` is the spread of joint k in the object key point similarity (OKS), as a fraction of the body's scale.
    """

    name: str
    names: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]
    pairs: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Poses:
    """The poses of M people of one frame.

    `keypoints` is (M, K, 2) float32 xy in pixels of the frame; `scores` is (M, K) float32, about [0, 1];
    K is the number of joints of `skeleton`. Raises ValueError where a shape or dtype is another.
    """

    keypoints: NDArray[np.float32]
    scores: NDArray[np.float32]
    skeleton: Skeleton

    def __post_init__(self) -> None:
        joints = len(self.skeleton.names)
        check_array("keypoints", self.keypoints, (None, joints, 2), np.float32)
        check_array("scores", self.scores, (len(self.keypoints), joints), np.float32)


def check_array(name: str, array: NDArray[Any], shape: tuple[int | None, ...], dtype: type[np.generic]) -> None:
    """Raise ValueError unless `array` has the shape (None: any size) and the dtype that `name` must have."""
    fits = len(array.shape) == len(shape) and all(w in (None, g) for w, g in zip(shape, array.shape, strict=True))
    if not fits:
        wanted = "(" + ", ".join("N" if w is None else str(w) for w in shape) + ("," if len(shape) == 1 else "") + ")"
        raise ValueError(f"{name} must be {wanted}, got {array.shape}")
    if array.dtype != dtype:
        raise ValueError(f"{name} must be {np.dtype(dtype)}, got {array.dtype}")
