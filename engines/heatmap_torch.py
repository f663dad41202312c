"""Heat maps to key points in torch: what engines/heatmap.py does, on the device where the heat maps are.

The pixel convention is told there. No step waits for an answer of the device: which maps are refined is not asked for,
all are, and those that should not be are left as they were.
"""

from __future__ import annotations

from functools import cache

import cv2
import torch
from torch import Tensor
from torch.nn.functional import pad

from engines.heatmap import DARK_KERNEL, REFERENCE_SHIFT, Decode, mirrored_order

_SHIFT = 0.25
_REACH = 2  # cells to each side of the maximum that DARK's second derivatives look at
_FLOOR = 1e-10  # of the logarithm


def decode_heatmaps(
    heatmaps: Tensor, decode: Decode = "quarter", dark_kernel: int = DARK_KERNEL
) -> tuple[Tensor, Tensor]:
    """The key points (N, K, 2) xy in heat-map cells and their scores (N, K) of heat maps (N, K, h, w).

    The heat maps may be float32, float16 or bfloat16, the results are float32 on the same device. Scores and the three
    ways to decode are those of `engines.heatmap.decode_heatmaps`.
    """
    count, joints, height, width = heatmaps.shape
    maps = heatmaps.reshape(count * joints, height, width).float()
    xs, ys, scores = _highest_cells(maps)
    points = torch.stack([xs, ys], dim=-1).float()
    if decode == "quarter":
        points += _quarter_shifts(maps, xs, ys)
    elif decode == "dark":
        points += _dark_shifts(maps, xs, ys, dark_kernel)
    return points.reshape(count, joints, 2), scores.reshape(count, joints)


def flip_back(heatmaps: Tensor, pairs: tuple[tuple[int, int], ...], shift: float = REFERENCE_SHIFT) -> Tensor:
    """The heat maps (N, K, h, w) of mirrored crops, as those of the crops: see `engines.heatmap.flip_back`.

    Returns a new tensor of the same dtype, on the same device.
    """
    order = mirrored_order_on(heatmaps.device, heatmaps.shape[1], pairs)
    back = heatmaps.index_select(1, order).flip(-1)
    if not shift:
        return back
    moved = torch.cat([back[..., :1], back[..., :-1]], dim=-1)
    return torch.cat([back[..., :1], (1 - shift) * back[..., 1:] + shift * moved[..., 1:]], dim=-1)


@cache
def mirrored_order_on(device: torch.device, joints: int, pairs: tuple[tuple[int, int], ...]) -> Tensor:
    """`mirrored_order` on the device, from the first use on: to send it each time would be to wait for it."""
    return torch.as_tensor(mirrored_order(joints, pairs), device=device)


def _highest_cells(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Column, row and value, each (M,), of the highest cell of maps (M, h, w); cell (0, 0) where none is above 0."""
    width = maps.shape[-1]
    values, cells = maps.flatten(1).max(dim=1)
    cells = torch.where(values > 0, cells, 0)
    return cells % width, cells.div(width, rounding_mode="floor"), values


def _quarter_shifts(maps: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """A quarter of a cell toward the higher neighbour in each direction, (M, 2), but not near the border."""
    height, width = maps.shape[-2:]
    inside = (xs > 1) & (xs < width - 1) & (ys > 1) & (ys < height - 1)
    window = _windows(maps, xs, ys, 1)  # (M, 3, 3)
    slopes = torch.stack([window[:, 1, 2] - window[:, 1, 0], window[:, 2, 1] - window[:, 0, 1]], dim=-1)
    return torch.where(inside[:, None], slopes.sign() * _SHIFT, 0)


def _dark_shifts(maps: Tensor, xs: Tensor, ys: Tensor, kernel: int) -> Tensor:
    """The step (M, 2) from the highest cell to the top of the Gaussian through its blurred neighbourhood.

    One Newton step on the logarithm, in float64 as there, but not near the border nor longer than the neighbourhood.
    """
    height, width = maps.shape[-2:]
    inside = (xs > 1) & (xs < width - 2) & (ys > 1) & (ys < height - 2)
    weights = _gaussian(kernel, maps.device)
    windows = _windows(maps, xs, ys, _REACH + kernel // 2).double()
    rows = windows.unfold(1, kernel, 1) @ weights  # (M, 5, columns)
    logs = (rows.unfold(2, kernel, 1) @ weights).clamp_min(_FLOOR).log()  # (M, 5, 5)

    def at(dx: int, dy: int) -> Tensor:
        return logs[:, _REACH + dy, _REACH + dx]

    slope_x, slope_y = (at(1, 0) - at(-1, 0)) / 2, (at(0, 1) - at(0, -1)) / 2
    bend_xx = (at(2, 0) - 2 * at(0, 0) + at(-2, 0)) / 4
    bend_yy = (at(0, 2) - 2 * at(0, 0) + at(0, -2)) / 4
    bend_xy = (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / 4
    determinant = bend_xx * bend_yy - bend_xy**2
    safe = torch.where(determinant == 0, torch.inf, determinant)  # no curvature: no step
    newton = [bend_xy * slope_y - bend_yy * slope_x, bend_xy * slope_x - bend_xx * slope_y]
    steps = torch.stack(newton, dim=-1) / safe[:, None]
    taken = inside & (steps.abs().amax(dim=-1) <= _REACH)
    return torch.where(taken[:, None], steps, 0).float()


@cache
def _gaussian(kernel: int, device: torch.device) -> Tensor:
    """The weights (kernel,) float64 of DARK's blur, on the device from the first use on."""
    return torch.as_tensor(cv2.getGaussianKernel(kernel, 0)[:, 0], device=device)


def _windows(maps: Tensor, xs: Tensor, ys: Tensor, reach: int) -> Tensor:
    """The squares (M, 2 reach + 1, same) about the cells (xs, ys) of maps (M, h, w), which are 0 outside."""
    padded = pad(maps, (reach, reach, reach, reach))
    span = torch.arange(2 * reach + 1, device=maps.device)  # of the padded map: its cell x + reach is cell x
    rows, columns = (ys[:, None] + span)[:, :, None], (xs[:, None] + span)[:, None, :]
    return padded[torch.arange(len(maps), device=maps.device)[:, None, None], rows, columns]
