"""Frames fitted into the input of a network, in torch: what `Letterbox.paint` does, on the device they are on.

The arithmetic is that of cv2.resize with INTER_LINEAR to the bit (OpenCV, modules/imgproc/src/resize.cpp): weights of
eleven bits, columns first, then rows. So a detector finds the same boxes wherever its pictures were fitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.letterbox import Letterbox, Size

_ONE = 2048
"""A weight of 1 (OpenCV's INTER_RESIZE_COEF_SCALE)."""
_FRAME_SIZES = 64  # whose columns, rows and weights stay on the device


def paint(pictures: Sequence[Tensor], boxed: Sequence[Letterbox], pad: int) -> Tensor:
    """The input pictures (N, 3, h, w) of frames (H_i, W_i, 3) uint8 BGR; around them every channel is `pad`.

    They are float32, in whole numbers from 0 to 255, of the one input size of all `boxed`. Nothing goes up but, for a
    new size of frames, the columns and rows that it is made of.
    """
    canvas = torch.full((len(pictures), 3, *boxed[0].input_size), float(pad), device=pictures[0].device)
    for inside, picture, box in zip(canvas, pictures, boxed, strict=True):
        if tuple(picture.shape[:2]) != box.frame_size:
            raise ValueError(f"picture must be {box.frame_size} (height, width), got {tuple(picture.shape[:2])}")
        (height, width), (x, y) = box.inner_size, box.corner
        resized = picture if box.inner_size == box.frame_size else _resize(picture, box.inner_size)
        inside[:, y : y + height, x : x + width] = resized.permute(2, 0, 1)
    return canvas


def _resize(picture: Tensor, size: Size) -> Tensor:
    """The picture (h, w, 3) int32 of `size` of one (H, W, 3) uint8."""
    (above, below, row_weights), (left, right, column_weights) = (
        _taps_on(picture.device, own, wanted, axis)
        for axis, (own, wanted) in enumerate(zip(picture.shape[:2], size, strict=True))
    )
    needed = picture.index_select(0, torch.cat([above, below]))  # (2 h, W, 3)
    wide = needed.index_select(1, left) * column_weights[0] + needed.index_select(1, right) * column_weights[1]
    upper, lower = (wide >> 4).chunk(2)  # (h, w, 3), 15 bits
    return (((upper * row_weights[0]) >> 16) + ((lower * row_weights[1]) >> 16) + 2) >> 2


@lru_cache(maxsize=2 * _FRAME_SIZES)
def _taps_on(device: torch.device, own: int, wanted: int, axis: int) -> tuple[Tensor, Tensor, Tensor]:
    """What `_taps` gives, on the device; the weights (2, n, 1, 1) for rows, (2, n, 1) for columns."""
    first, second, weights = (torch.as_tensor(one, device=device) for one in _taps(own, wanted, axis))
    return first, second, weights.reshape((2, wanted, 1, 1) if axis == 0 else (2, wanted, 1))


def _taps(own: int, wanted: int, axis: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """The two pixels (n,) that each of `wanted` is made of along a side of `own`, and their weights (2, n).

    Beyond the side stands its last pixel; of rows (axis 0) it is taken twice, with the weights of both.
    """
    scale = 1 / (wanted / own)
    at = ((np.arange(wanted) + 0.5) * scale - 0.5).astype(np.float32)
    floor = np.floor(at)
    part = at - floor
    if axis == 1:
        part[(floor < 0) | (floor >= own - 1)] = 0
    weights = np.rint(np.stack([1 - part, part]) * np.float32(_ONE)).astype(np.int32)
    first = floor.astype(np.int64)
    return first.clip(0, own - 1), (first + 1).clip(0, own - 1), weights
