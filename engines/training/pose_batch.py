"""What is known of packed people as tensors, and what a network is to learn of their crops."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.cards import IMAGENET_MEAN, IMAGENET_STD
from engines.training.placement import Placements, Size
from engines.training.pose_pack import CONTEXT, FULL, PosePack
from engines.training.sampling import cut_maps
from engines.training.targets import gaussians, within

STRIDE = 4
"""Pixels of the crop per cell of a heat map."""
SEEN = 0.3
"""Height of the teacher's heat map from which a joint is taken for seen."""


@dataclass(frozen=True, slots=True, eq=False)
class PoseBatch:
    """Crops (B, 3, h, w) normalised, heat maps wanted (B, K, h / 4, w / 4), and the weights of the joints (B, K)."""

    crops: Tensor
    maps: Tensor
    weights: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class KnownPeople:
    """What is known of B people: rows of a PosePack as tensors; `maps` None where there was no teacher."""

    points: Tensor
    labelled: Tensor
    taught: Tensor
    maps: Tensor | None

    @staticmethod
    def of(pack: PosePack, rows: NDArray[np.int64]) -> KnownPeople:
        """Those in `rows` of the pack, on the CPU."""
        return KnownPeople(
            torch.from_numpy(pack.points[rows]),
            torch.from_numpy(pack.labelled[rows]),
            torch.from_numpy(pack.taught[rows]),
            torch.from_numpy(pack.maps[rows]) if len(pack.maps) else None,
        )

    def to(self, device: torch.device) -> KnownPeople:
        """The same on `device`."""
        maps = self.maps if self.maps is None else self.maps.to(device)
        return KnownPeople(self.points.to(device), self.labelled.to(device), self.taught.to(device), maps)

    def seen(self, inner: Size) -> tuple[Tensor, Tensor]:
        """Where joints are (B, K, 2) in packed pixels, labelled or as the teacher says, and which are known (B, K)."""
        if self.maps is None:
            return self.points, self.labelled
        heights, cells = self.maps.flatten(2).max(-1)
        width, stride = self.maps.shape[3], inner[0] / self.maps.shape[2]
        at = torch.stack([cells % width, cells // width], -1) * stride
        return (
            torch.where(self.labelled[..., None], self.points, at + torch.tensor(margin(inner), device=at.device)),
            self.labelled | (self.taught & (heights >= SEEN * FULL)),
        )


def wanted_maps(people: KnownPeople, placements: Placements, inner: Size) -> tuple[Tensor, Tensor]:
    """The heat maps (B, K, h / 4, w / 4) of placed crops, and their weights (B, K); the joints keep their order.

    A labelled joint has its label, where it is in the crop; of the others the teacher tells what it may, also that a
    joint is not in the crop.
    """
    cells = (placements.size[0] // STRIDE, placements.size[1] // STRIDE)
    at = placements.to_crops(people.points) / STRIDE
    wanted, weights = gaussians(at, cells), (people.labelled & within(at, cells)).float()
    if people.maps is None:
        return wanted, weights
    stride = inner[0] / people.maps.shape[2]
    told = cut_maps(people.maps.float().div_(FULL), placements, margin(inner), cells, stride)
    return torch.where(people.labelled[..., None, None], wanted, told), weights + people.taught.float()


def margin(inner: Size) -> tuple[float, float]:
    """Where a network's crop of size `inner` begins in the packed one, xy in pixels."""
    return (CONTEXT - 1) / 2 * inner[1], (CONTEXT - 1) / 2 * inner[0]


def normalized(crops: Tensor) -> Tensor:
    """Crops (B, 3, h, w) RGB in [0, 1] as HRNet eats them."""
    mean, std = (torch.tensor(t, device=crops.device)[:, None, None] for t in (IMAGENET_MEAN, IMAGENET_STD))
    return crops.sub(mean).div_(std)
