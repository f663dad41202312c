"""A person's box to the picture a pose network sees, and points in that picture back to the frame.

Pixel convention, that of the reference code (HRNet, lib/utils/transforms.py, `get_affine_transform`): whole numbers are
the centres of pixels, as in cv2.warpAffine, and the centre of the enlarged box comes to lie on (width / 2, height / 2)
of the crop: half a pixel right of and below the middle of its pixels, which is how the networks were trained.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.results import Image

PADDING = 1.25
"""How much larger than the person's box a crop is (the reference code)."""

MIN_SIDE = 1.0
"""Pixels of the frame; a box without width or height is cropped as if it had this much."""


@dataclass(frozen=True, slots=True, eq=False)
class Crops:
    """Where the crops of M people lie.

    `matrices` is (M, 2, 3) float64, a scale and a shift from pixels of the frame to pixels of the crop; `size` is
    (height, width) of every crop.
    """

    matrices: NDArray[np.float64]
    size: tuple[int, int]

    @staticmethod
    def around(boxes: NDArray[np.float32], size: tuple[int, int], padding: float = PADDING) -> Crops:
        """The crops of `boxes` (M, 4) xyxy in pixels of the frame, as `crop_matrices` places them."""
        return Crops(crop_matrices(boxes, size, padding), size)

    def cut(self, person: int, image: Image, out: Image) -> None:
        """Write a person's crop into `out` (height, width, 3), C-contiguous; bilinear, black beyond the frame."""
        height, width = self.size
        cv2.warpAffine(image, self.matrices[person], (width, height), dst=out, flags=cv2.INTER_LINEAR)

    def points_to_crop(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points (M, K, 2) xy in the frame, as pixels of each person's crop; float32."""
        scales, shifts = self._scales_and_shifts()
        return (points * scales + shifts).astype(np.float32)

    def points_to_frame(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points (M, K, 2) xy in each person's crop, as pixels of the frame; float32. The inverse of points_to_crop."""
        scales, shifts = self._scales_and_shifts()
        return ((points - shifts) / scales).astype(np.float32)

    def _scales_and_shifts(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(M, 1, 1) and (M, 1, 2)."""
        return self.matrices[:, None, :1, 0], self.matrices[:, None, :, 2]


def crop_matrices(boxes: NDArray[np.float32], size: tuple[int, int], padding: float = PADDING) -> NDArray[np.float64]:
    """The affine matrices (M, 2, 3) float64 from pixels of the frame to pixels of crops of `size` (height, width).

    Each box (M, 4) xyxy keeps its centre, grows in one direction to the aspect of `size` and then by `padding` in both.
    A box without width or height, or turned inside out, counts as MIN_SIDE wide or high. Raises ValueError where a box
    is not finite.
    """
    corners = boxes.astype(np.float64)
    if not np.isfinite(corners).all():
        raise ValueError(f"boxes must be finite, got {boxes[~np.isfinite(corners).all(axis=1)][0]}")
    target = np.array(size[::-1], np.float64)  # (width, height)
    centers = (corners[:, :2] + corners[:, 2:]) / 2
    sides = np.maximum(corners[:, 2:] - corners[:, :2], MIN_SIDE)
    scales = 1 / ((sides / target).max(axis=1) * padding)  # the tighter side decides: nothing is stretched

    matrices = np.zeros((len(boxes), 2, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = scales
    matrices[:, :, 2] = target / 2 - centers * scales[:, None]
    return matrices
