"""Where the crops that a network learns from lie in packed people: turned, scaled, shifted, mirrored, half a body.

Pixel convention: that of engines/crop.py, so that the middle of a crop is (width / 2, height / 2), and a mirrored pixel
x is width - 1 - x, as in the flip test.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

Size = tuple[int, int]
"""(height, width) in pixels."""

HALF_BODY_JOINTS = 8
"""So many known joints has a person of whom half may be shown, as in the reference code."""
HALF_BODY_LEAST = 3
HALF_BODY_PADDING = 1.5
"""How much larger than the half's joints its crop is (the reference code)."""


@dataclass(frozen=True, slots=True)
class PlacementOptions:
    """How far crops are moved.

    The turn is normal with `turn_deg` degrees, at most twice that, for a share `turn_share`; the scale is normal around
    1 with `scale`, at most 1 + `scale`; the shift is normal with `shift` of the crop's sides; `flip` and `half_body`
    are shares. The reference code has 40 degrees, 0.6, 0.35, no shift, 0.5 and 0.3.
    """

    turn_deg: float = 40.0
    turn_share: float = 0.6
    scale: float = 0.35
    shift: float = 0.04
    flip: float = 0.5
    half_body: float = 0.3

    def __post_init__(self) -> None:
        for name, share in (("turn_share", self.turn_share), ("flip", self.flip), ("half_body", self.half_body)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {share}")
        if min(self.turn_deg, self.scale, self.shift) < 0 or self.scale >= 1:
            raise ValueError(f"turn_deg, scale (below 1) and shift must be 0 or more, got {self}")


STILL = PlacementOptions(turn_deg=0, scale=0, shift=0, flip=0, half_body=0)
"""The crop as a running network sees it."""


@dataclass(frozen=True, slots=True, eq=False)
class Placements:
    """Where B crops of `size` lie: pixel q of a crop is pixel `matrices` (B, 2, 3) float32 (q, 1) of the packed one.

    `mirrored` (B,) says which show left as right.
    """

    matrices: Tensor
    mirrored: Tensor
    size: Size

    def to(self, device: torch.device) -> Placements:
        """The same on `device`."""
        return Placements(self.matrices.to(device), self.mirrored.to(device), self.size)

    def to_crops(self, points: Tensor) -> Tensor:
        """Points (B, K, 2) xy of the packed crops in pixels of the crops; the joints keep their order."""
        turned = points - self.matrices[:, None, :, 2]
        found: Tensor = torch.linalg.solve(self.matrices[:, None, :, :2], turned[..., None])[..., 0]
        return found


def place(
    options: PlacementOptions,
    packed: Size,
    inner: Size,
    size: Size,
    points: Tensor,
    known: Tensor,
    lower: Tensor,
    generator: Generator,
) -> Placements:
    """Place crops of `size` in people packed at `packed`, of which `inner` in the middle is a network's crop.

    `points` (B, K, 2) in packed pixels, `known` (B, K) where they mean something, and `lower` (K,), the joints of the
    lower body, choose the halves. All chance is the generator's, on the CPU; the result is where `points` is.
    """
    count = len(points)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def happens(share: float) -> Tensor:
        return torch.rand(count, generator=generator) < share

    turn = normal(count).mul(options.turn_deg).clamp(-2 * options.turn_deg, 2 * options.turn_deg)
    turn = torch.where(happens(options.turn_share), turn, 0) * (math.pi / 180)
    scale = 1 + normal(count).mul(options.scale).clamp(-options.scale, options.scale)
    shift = normal(count, 2).mul(options.shift)
    mirrored, halved = happens(options.flip), happens(options.half_body)
    of_lower = happens(0.5)

    inner_xy = torch.tensor(inner[::-1], dtype=torch.float32)
    centers = torch.tensor(packed[::-1], dtype=torch.float32).div(2).expand(count, 2)
    heights = torch.full((count,), float(inner[0]))
    if options.half_body:
        half = _halves(points.cpu(), known.cpu(), lower.cpu(), of_lower, inner[0] / inner[1])
        halved &= half.possible
        centers = torch.where(halved[:, None], half.centers, centers)
        heights = torch.where(halved, half.heights, heights)
    unit = heights / size[0] * scale  # packed pixels per pixel of the crop
    centers = centers + shift * inner_xy * (heights / inner[0])[:, None]

    cosine, sine = (torch.cos(turn) * unit), (torch.sin(turn) * unit)
    rotation = torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2)  # (B, 2, 2)
    signs = torch.where(mirrored, -1.0, 1.0)
    rotation = torch.stack([rotation[:, :, 0] * signs[:, None], rotation[:, :, 1]], -1)
    middle = torch.tensor([size[1] / 2, size[0] / 2]).expand(count, 2).clone()
    middle[:, 0] -= torch.where(mirrored, 1.0, 0.0)  # pixel x of a mirrored crop is width - 1 - x
    offset = centers - (rotation @ middle[..., None])[..., 0]
    matrices = torch.cat([rotation, offset[..., None]], -1)
    return Placements(matrices.to(points.device), mirrored.to(points.device), size)


@dataclass(frozen=True, slots=True, eq=False)
class _Halves:
    """Centre (B, 2) and height (B,) of a crop around half of a body, and whether (B,) that can be."""

    centers: Tensor
    heights: Tensor
    possible: Tensor


def _halves(points: Tensor, known: Tensor, lower: Tensor, of_lower: Tensor, aspect: float) -> _Halves:
    """The upper or the lower half of each person's known joints; `aspect` is the crop's height over its width."""
    chosen = known & (lower == of_lower[:, None])  # (B, K)
    counts = chosen.sum(1)
    centers = (points * chosen[..., None]).sum(1) / counts.clamp_min(1)[:, None]
    low = torch.where(chosen[..., None], points, math.inf).amin(1)
    high = torch.where(chosen[..., None], points, -math.inf).amax(1)
    sides = (high - low).nan_to_num(0, 0, 0)
    heights = torch.maximum(sides[:, 1], sides[:, 0] * aspect) * HALF_BODY_PADDING
    possible = (known.sum(1) >= HALF_BODY_JOINTS) & (counts >= HALF_BODY_LEAST) & (heights > 1)
    return _Halves(centers, heights, possible)
