"""People's crops in torch: what `Crops.cut` does, on the device where their pictures are.

The pixel convention is told in engines/crop.py, the arithmetic is that of OpenCV 5's warpAffine with INTER_LINEAR, down
to where it rounds, so that a person has the same pose wherever the crop was cut. (OpenCV 4 rounds positions to 1/32
pixel, which at a hard edge is worth up to 8 grey levels.) All people of a step are cut at once, whatever the sizes of
their pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from engines.crop import Crops

_FAR = 1e9
"""Pixels; beyond any picture, and what is farther off lies no otherwise."""


def framed(pictures: Sequence[Tensor]) -> Tensor:
    """All pixels (P,) of pictures (H_i, W_i, 3) uint8, one picture after the other, each with a black pixel around.

    So whatever lies beyond a picture can be looked up in it. A pixel is one int32, to be looked up at once: its bytes
    are blue, green, red and 0.
    """
    pixels = [pad(picture, (0, 1, 1, 1, 1, 1)).view(torch.int32).flatten() for picture in pictures]
    return pixels[0] if len(pixels) == 1 else torch.cat(pixels)


def placed(crops: Crops, owners: Sequence[int], sizes: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    """Where each of M people lies among the pixels of `framed`, (M, 7): a row of numbers for `cut`.

    Person i is in picture `owners[i]`, whose (height, width) is in `sizes`. Pixel (u, v) of a crop is at
    (a u + b, c v + d) in the picture; the row is a, b, c, d, width, height, and the picture's first row in `framed`.
    """
    steps = 1 / crops.matrices[:, (0, 1), (0, 1)]  # (M, 2) xy
    starts = -crops.matrices[:, :, 2] * steps
    pixels = np.array([(height + 2) * (width + 2) for height, width in sizes])
    first = (np.cumsum(pixels) - pixels)[list(owners)]
    sides = np.array(sizes, np.float64)[list(owners)]
    lines = np.stack([steps, starts], axis=-1).clip(-_FAR, _FAR).astype(np.float32)  # (M, 2, 2): a, b and c, d
    return np.concatenate([lines.reshape(-1, 4), sides[:, ::-1], first[:, None]], axis=1)


def cut(pixels: Tensor, places: Tensor, size: tuple[int, int]) -> Tensor:
    """The crops (M, 3, height, width) of people, float32 BGR in whole numbers from 0 to 255; black beyond the picture.

    `pixels` is (P,), see `framed`, and `places` (M, 7) float64, see `placed`; `size` is (height, width).
    """
    x_step, x_start, y_step, y_start, width, height, first = places[:, :, None].unbind(1)  # (M, 1) each
    steps = torch.arange(max(size), device=places.device)
    x = (x_step * steps[: size[1]] + x_start).float()  # OpenCV rounds it once, by a fused multiply-add,
    y = y_step.float() * steps[: size[0]] + y_start.float()  # and this one twice
    left, right, x_part = _taps(x, width)
    above, below, y_part = _taps(y, height)
    pitch = width.long() + 2
    above, below = first.long() + above * pitch, first.long() + below * pitch
    x_part = x_part[:, None, :, None]
    rows = [
        torch.addcmul(one, x_part, other - one)
        for one, other in ((_at(pixels, row, left), _at(pixels, row, right)) for row in (above, below))
    ]
    crops = torch.addcmul(rows[0], y_part[:, :, None, None], rows[1] - rows[0])  # (M, height, width, 3)
    return crops.round_().permute(0, 3, 1, 2)


def _taps(at: Tensor, side: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The two pixels along a side of the framed pictures that positions `at` (M, n) lie between, (M, n) each.

    The third is the part (M, n) float32 of the second pixel. Far out both are in the black frame.
    """
    at = torch.minimum(at.clamp_min(-2), side.float() + 1)
    floor = at.floor()
    one, last = floor.long() + 1, side.long() + 1  # the frame is one pixel wide
    return torch.minimum(one.clamp_min(0), last), torch.minimum((one + 1).clamp_min(0), last), at - floor


def _at(pixels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The pixels (M, height, width, 3) float32 where rows (M, height) and columns (M, width) meet."""
    found = pixels[rows[:, :, None] + columns[:, None, :]]
    return found[..., None].view(torch.uint8)[..., :3].float()
