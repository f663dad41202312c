"""SimCC outputs to key points in torch: what engines/simcc.py does, on the device where the vectors are."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from engines.heatmap import mirrored_order
from engines.simcc import BINS_PER_PIXEL


def decode_simcc(simcc_x: Tensor, simcc_y: Tensor) -> tuple[Tensor, Tensor]:
    """The key points (N, K, 2) xy in pixels of the crop and their scores (N, K) of SimCC vectors.

    `simcc_x` is (N, K, 2 * width), `simcc_y` (N, K, 2 * height), of any float type; the results are float32 on the
    same device. The score is the smaller of the two highest values.
    """
    high_x, place_x = simcc_x.max(dim=-1)
    high_y, place_y = simcc_y.max(dim=-1)
    return torch.stack([place_x, place_y], dim=-1) / float(BINS_PER_PIXEL), torch.minimum(high_x, high_y).float()


def flip_back_simcc(simcc_x: Tensor, simcc_y: Tensor, pairs: tuple[tuple[int, int], ...]) -> tuple[Tensor, Tensor]:
    """The SimCC vectors of mirrored crops, as those of the crops: see `engines.simcc.flip_back_simcc`.

    Returns new tensors of the same type, on the same device.
    """
    order = _mirrored_order(simcc_x.shape[1], pairs, simcc_x.device)
    back = simcc_x.index_select(1, order).flip(-1)
    return torch.cat([back[..., 1:], back[..., -1:]], dim=-1), simcc_y.index_select(1, order)


@cache
def _mirrored_order(joints: int, pairs: tuple[tuple[int, int], ...], device: torch.device) -> Tensor:
    """`mirrored_order` on the device, from the first use on."""
    return torch.as_tensor(mirrored_order(joints, pairs), device=device)
