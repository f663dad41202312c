"""What a pose network is to learn: heat maps of labelled joints, and how far off the ones that it gives are.

Pixel convention: that of engines/heatmap.py, cell (x, y) stands for pixel (x * stride, y * stride) of the crop.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

SIGMA = 2.0
"""Cells of 64 rows, of the Gaussian around a labelled joint (the reference code)."""
SIGMA_ROWS = 64
LOWEST = 0.1
"""Height below which all heat maps are sharpened alike: there is no joint in them."""


def gaussians(points: Tensor, cells: tuple[int, int]) -> Tensor:
    """Heat maps (B, K, *cells), 1 at the points (B, K, 2) xy in cells, whether they lie on a cell or between."""
    height, width = cells
    sigma = SIGMA * height / SIGMA_ROWS
    x = torch.arange(width, device=points.device) - points[..., :1]  # (B, K, w)
    y = torch.arange(height, device=points.device) - points[..., 1:]
    column, row = (torch.exp(-(part**2) / (2 * sigma**2)) for part in (x, y))
    return row[..., :, None] * column[..., None, :]


def within(points: Tensor, cells: tuple[int, int]) -> Tensor:
    """Which points (B, K, 2) xy in cells lie on maps of that size, (B, K)."""
    limits = torch.tensor([cells[1] - 0.5, cells[0] - 0.5], device=points.device)
    return ((points > -0.5) & (points < limits)).all(-1)


def heatmap_loss(given: Tensor, wanted: Tensor, weights: Tensor, temperature: float, square: float) -> Tensor:
    """How far heat maps (B, K, h, w) are from those wanted, both about 0 to 1; `weights` (B, K) of the joints.

    The maps, times `temperature` by the height of the one wanted, are taken for the logarithms of where the joint is;
    the divergence (Kullback-Leibler) of one distribution from the other finds the place, from scratch, where squares of
    differences learn nothing, as nearly all cells want 0. It counts by that height, so that all joints pull alike but
    those of which the teacher knows nothing. `square` times the sum of the squares makes the height right, which is the
    score. Both are least where the maps are alike.
    """
    maps, targets = given.flatten(2), wanted.flatten(2)
    heights = targets.amax(-1, keepdim=True).clamp_min(LOWEST)
    sharpness = temperature / heights
    logs, truth = log_softmax(maps * sharpness, -1), log_softmax(targets * sharpness, -1)
    divergence = (truth.exp() * (truth - logs)).sum(-1) * heights[..., 0]  # (B, K)
    squares = (maps - targets).square().sum(-1)
    total: Tensor = ((divergence + square * squares) * weights).sum() / weights.sum().clamp_min(1)
    return total
