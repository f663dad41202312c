"""Crops and heat maps cut out of packed people by placements, all of a batch at once, on the device they are on."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

from engines.training.placement import Placements, Size


def cut_crops(packed: Tensor, placements: Placements) -> Tensor:
    """The crops (B, 3, h, w) float32 RGB in [0, 1] of packed people (B, H, W, 3) uint8 BGR; black beyond them.

    Where a crop shows several packed pixels in one, their mean is taken first.
    """
    pictures = packed.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    units = torch.linalg.vector_norm(placements.matrices[:, :, 1], dim=1)  # packed pixels per pixel
    factor = max(1, int(units.median().item() + 0.5))
    if factor > 1:
        pictures = avg_pool2d(pictures, factor)
    crops = _sample(pictures, placements.matrices, placements.size, 1.0, (factor - 1) / 2, factor)
    return crops.flip(1).div_(255)  # the crops are fewer pixels than what they are cut from


def cut_maps(maps: Tensor, placements: Placements, margin: tuple[float, float], cells: Size, stride: float) -> Tensor:
    """Heat maps (B, K, h, w) of the network's crop in the middle of packed people, as those of the placed crops.

    `margin` is where that crop's pixel (0, 0) lies in the packed one, xy; a cell of `maps` stands for `stride` packed
    pixels. `cells` is the size of the maps wanted. The joints keep their order.
    """
    step = placements.size[0] / cells[0]  # pixels of the crop per cell wanted
    matrices = placements.matrices.clone()
    matrices[:, :, 2] -= torch.tensor(margin, device=matrices.device)
    return _sample(maps, matrices, cells, step, 0.0, stride)


def _sample(pictures: Tensor, matrices: Tensor, size: Size, step: float, shift: float, unit: float) -> Tensor:
    """Pictures sampled bilinearly at (matrices (B, 2, 3) (step x, step y, 1) - shift) / unit, (B, C, *size)."""
    height, width = size
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    cells = torch.stack([x, y], -1).reshape(1, -1, 2).to(matrices.device, torch.float32) * step
    places = cells @ matrices[:, :, :2].transpose(1, 2) + matrices[:, None, :, 2]  # (B, h w, 2)
    sides = torch.tensor([pictures.shape[3], pictures.shape[2]], device=matrices.device)
    grid = (2 * (places - shift) / unit + 1) / sides - 1
    return grid_sample(pictures, grid.reshape(-1, height, width, 2), align_corners=False)
