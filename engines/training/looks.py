"""How crops are made to look otherwise: colours, blur, parts cut out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import conv2d, pad

_LUMA = (0.299, 0.587, 0.114)
_BLUR_REACH = 4
"""Pixels to each side."""
LEAST_BLUR = 0.3
"""Pixels (sigma)."""
_LEAST_SIDE = 0.1
"""Of a crop's side, of what is cut out."""


@dataclass(frozen=True, slots=True)
class LookOptions:
    """How much crops change: brightness, contrast, saturation and each colour (tint) by up to so much of themselves.

    `gray`, `blur` and `cut_out` are shares of the crops: made grey, blurred by LEAST_BLUR to LEAST_BLUR + `blur_px`
    pixels (sigma), or robbed of a rectangle of up to `cut_side` of each side.
    """

    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.4
    tint: float = 0.08
    gray: float = 0.05
    blur: float = 0.15
    blur_px: float = 1.6
    cut_out: float = 0.3
    cut_side: float = 0.4


PLAIN = LookOptions(brightness=0, contrast=0, saturation=0, tint=0, gray=0, blur=0, cut_out=0)
"""No change at all."""


def change_looks(crops: Tensor, options: LookOptions, generator: Generator) -> Tensor:
    """Crops (B, 3, h, w) RGB in [0, 1], changed; all chance is the generator's, on the CPU."""

    def spread(amount: float, *shape: int) -> Tensor:
        return ((torch.rand(len(crops), *shape, 1, 1, generator=generator) * 2 - 1) * amount + 1).to(crops.device)

    def chosen(share: float) -> Tensor:
        return torch.rand(len(crops), generator=generator) < share

    grey = crops.mul(torch.tensor(_LUMA, device=crops.device)[:, None, None]).sum(1, keepdim=True)
    saturation = spread(options.saturation, 1) * (~chosen(options.gray))[:, None, None, None].to(crops.device)
    crops = torch.lerp(grey, crops, saturation)
    gain = spread(options.brightness, 1) * spread(options.tint, 3)
    contrast = spread(options.contrast, 1)
    mean = crops.mean((1, 2, 3), keepdim=True)
    crops = torch.lerp(mean, crops, contrast).mul(gain).clamp_(0, 1)
    rows = chosen(options.blur).nonzero()[:, 0]
    if len(rows):
        sigmas = torch.rand(len(rows), generator=generator) * options.blur_px + LEAST_BLUR
        crops[rows] = _blurred(crops[rows], sigmas.to(crops.device))
    return _cut_out(crops, chosen(options.cut_out), options.cut_side, generator)


def _blurred(crops: Tensor, sigmas: Tensor) -> Tensor:
    """Crops (n, 3, h, w), each in a Gaussian blur of its own sigma (n,) in pixels."""
    count, colors, height, width = crops.shape
    reach = torch.arange(-_BLUR_REACH, _BLUR_REACH + 1, device=crops.device)
    kernels = torch.exp(-(reach**2) / (2 * sigmas[:, None] ** 2))
    kernels = (kernels / kernels.sum(1, keepdim=True)).repeat_interleave(colors, 0)  # (3 n, taps)
    planes = pad(crops.reshape(1, count * colors, height, width), (_BLUR_REACH,) * 4, mode="replicate")
    planes = conv2d(planes, kernels[:, None, None, :], groups=count * colors)
    planes = conv2d(planes, kernels[:, None, :, None], groups=count * colors)
    return planes.reshape(crops.shape)


def _cut_out(crops: Tensor, chosen: Tensor, side: float, generator: Generator) -> Tensor:
    """Crops of which the `chosen` (B,) lack a rectangle of random size, place and grey."""
    count, _, height, width = crops.shape
    sides = (_LEAST_SIDE + torch.rand(count, 2, generator=generator) * max(side - _LEAST_SIDE, 0)) / 2
    middles = torch.rand(count, 2, generator=generator)
    fill = torch.rand(count, 1, 1, 1, generator=generator)
    sides = sides * chosen[:, None]  # a rectangle of no side takes nothing
    y, x = (torch.arange(n, dtype=torch.float32).add(0.5).div(n) for n in (height, width))
    inside = ((y - middles[:, :1]).abs() < sides[:, :1])[:, None, :, None] & (
        (x - middles[:, 1:]).abs() < sides[:, 1:]
    )[:, None, None, :]
    return torch.where(inside.to(crops.device), fill.to(crops.device), crops)
