"""Poses drawn into their crops, many in one picture, to see what a network has learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.results import Image, Skeleton, check_array
from engines.skeletons import limb_sides

SEEN: Final = 0.3
"""Joints of a lower score are not drawn."""
_COLORS: Final = {-1: (60, 160, 255), 0: (80, 220, 80), 1: (255, 170, 60)}
"""BGR of the limbs of the body's left, of its middle and of its right."""
_TRUTH: Final = (255, 255, 255)
_SUBPIXEL: Final = 4
"""Bits behind the point in the coordinates that OpenCV draws at."""


def contact_sheet(
    crops: NDArray[np.uint8],
    keypoints: NDArray[np.float32],
    scores: NDArray[np.float32],
    skeleton: Skeleton,
    columns: int = 8,
    truth: tuple[NDArray[np.float32], NDArray[np.bool_]] | None = None,
) -> Image:
    """A grid, (rows * H, columns * W, 3), of crops (N, H, W, 3) uint8 BGR with the limbs whose joints are both seen.

    `keypoints` is (N, K, 2) float32 xy in pixels of the crops, `scores` (N, K). `truth`, the same and (N, K) whether
    labelled, is drawn thin and white below. Raises ValueError for other shapes, or where there is no crop.
    """
    count, joints = len(crops), len(skeleton.names)
    check_array("crops", crops, (None, None, None, 3), np.uint8)
    check_array("keypoints", keypoints, (count, joints, 2), np.float32)
    check_array("scores", scores, (count, joints), np.float32)
    if count < 1 or columns < 1:
        raise ValueError(f"a contact sheet needs a crop and a column, got {count} and {columns}")
    height, width = crops.shape[1:3]
    columns = min(columns, count)
    rows = -(-count // columns)
    cells = np.zeros((rows * columns, height, width, 3), np.uint8)
    cells[:count] = crops
    for row in range(count):
        if truth is not None:
            _draw(cells[row], truth[0][row], truth[1][row], skeleton.limbs, [_TRUTH] * len(skeleton.limbs), 1)
        _draw(cells[row], keypoints[row], scores[row] >= SEEN, skeleton.limbs, _limb_colors(skeleton), 2)
    grid = cells.reshape(rows, columns, height, width, 3).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(grid.reshape(rows * height, columns * width, 3))


def _limb_colors(skeleton: Skeleton) -> list[tuple[int, int, int]]:
    return [_COLORS[side] for side in limb_sides(skeleton)]


def _draw(
    image: Image,
    points: NDArray[np.float32],
    seen: NDArray[np.bool_],
    limbs: Sequence[tuple[int, int]],
    colors: Sequence[tuple[int, int, int]],
    thickness: int,
) -> None:
    """Draw the limbs of joints (K, 2) that are seen (K,) into a crop, in place."""
    # Far outside, coordinates would overflow OpenCV's whole numbers.
    fixed = np.round(np.clip(np.nan_to_num(points), -9999, 9999) * 2**_SUBPIXEL).astype(np.int32).tolist()
    for (start, end), color in zip(limbs, colors, strict=True):
        if seen[start] and seen[end]:
            cv2.line(image, fixed[start], fixed[end], color, thickness, cv2.LINE_AA, _SUBPIXEL)
