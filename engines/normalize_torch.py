"""Pictures to the numbers a network eats, in torch: what engines/normalize.py does, on the device they are on."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from engines.normalize import Triple


def normalize(
    pictures: Tensor, out_rgb: bool, scale: float = 1.0, mean: Triple | None = None, std: Triple | None = None
) -> Tensor:
    """The network input (N, 3, h, w) float32 of pictures (N, 3, h, w) float32 BGR from 0 to 255, C-contiguous.

    It is (x * scale - mean) / std, RGB where `out_rgb`, else BGR; `mean` and `std` are in that order.
    """
    gains, offsets = _gains_and_offsets(scale, mean or (0.0, 0.0, 0.0), std or (1.0, 1.0, 1.0), pictures.device)
    if out_rgb:
        pictures = pictures.flip(1)
    if scale == 1.0 and mean in (None, (0.0, 0.0, 0.0)) and std in (None, (1.0, 1.0, 1.0)):
        return pictures.contiguous()
    return torch.addcmul(offsets, pictures, gains).contiguous()


@cache
def _gains_and_offsets(scale: float, mean: Triple, std: Triple, device: torch.device) -> tuple[Tensor, Tensor]:
    """Gain and offset of each channel, (1, 3, 1, 1); on the device from the first use on."""
    gains = torch.tensor([scale / s for s in std], device=device)
    offsets = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=device)
    return gains.reshape(1, 3, 1, 1), offsets.reshape(1, 3, 1, 1)
