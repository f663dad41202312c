from __future__ import annotations

import math

import pytest
import torch
from torch import Generator

from engines.training.placement import HALF_BODY_PADDING, STILL, PlacementOptions, Placements, place
from engines.training.sampling import cut_crops, cut_maps

PACKED, INNER = (384, 288), (256, 192)
MARGIN = (48.0, 64.0)
LOWER = torch.tensor([False] * 4 + [True] * 4)


def placed(options: PlacementOptions, size: tuple[int, int], points: torch.Tensor, seed: int = 0) -> Placements:
    known = torch.ones(points.shape[:2], dtype=torch.bool)
    return place(options, PACKED, INNER, size, points, known, LOWER, Generator().manual_seed(seed))


def dotted(points: torch.Tensor, radius: float = 3.0) -> torch.Tensor:
    """Packed people (B, H, W, 3) uint8 with a soft white dot at the one point (B, 1, 2) of each."""
    y, x = torch.meshgrid(torch.arange(PACKED[0]), torch.arange(PACKED[1]), indexing="ij")
    away = (x - points[..., 0:1]) ** 2 + (y - points[..., 1:2]) ** 2  # (B, H, W)
    return (255 * torch.exp(-away / (2 * radius**2))).round().to(torch.uint8)[..., None].expand(-1, -1, -1, 3)


def middle_of_mass(planes: torch.Tensor) -> torch.Tensor:
    """(B, 2) xy of planes (B, h, w)."""
    y, x = torch.meshgrid(torch.arange(planes.shape[1]), torch.arange(planes.shape[2]), indexing="ij")
    total = planes.sum((1, 2))
    return torch.stack([(planes * x).sum((1, 2)) / total, (planes * y).sum((1, 2)) / total], -1)


def test_the_still_crop_is_the_middle_of_the_packed_one() -> None:
    points = torch.tensor([[[48.0, 64.0], [144.0, 192.0]]])
    still = placed(STILL, INNER, points)
    assert still.matrices.tolist() == [[[1.0, 0.0, 48.0], [0.0, 1.0, 64.0]]]
    assert still.to_crops(points).tolist() == [[[0.0, 0.0], [96.0, 128.0]]]


def test_a_crop_of_half_the_size_shows_the_same() -> None:
    still = placed(STILL, (128, 96), torch.zeros(1, 1, 2))
    assert still.to_crops(torch.tensor([[[144.0, 192.0], [50.0, 70.0]]])).tolist() == [[[48.0, 64.0], [1.0, 3.0]]]


@pytest.mark.parametrize("size", [(256, 192), (128, 96)], ids=["full", "half"])
def test_points_lie_where_the_crops_show_them(size: tuple[int, int]) -> None:
    points = torch.tensor([[[150.0, 200.0]]] * 12) + torch.arange(12)[:, None, None] * 2
    placements = placed(PlacementOptions(half_body=0), size, points)
    shown = middle_of_mass(cut_crops(dotted(points), placements).mean(1))
    assert placements.mirrored.any()
    assert not placements.mirrored.all()
    torch.testing.assert_close(shown, placements.to_crops(points)[:, 0], atol=0.12, rtol=0)


def test_a_mirrored_crop_is_the_flip_of_the_crop() -> None:
    points = torch.rand(3, 1, 2, generator=Generator().manual_seed(0)) * 100 + 100
    people = dotted(points)
    still = placed(STILL, INNER, points)
    mirrored = placed(PlacementOptions(0, 0, 0, 0, flip=1, half_body=0), INNER, points)
    torch.testing.assert_close(cut_crops(people, mirrored), cut_crops(people, still).flip(-1))
    torch.testing.assert_close(mirrored.to_crops(points)[..., 0], 191 - still.to_crops(points)[..., 0])


def test_heat_maps_follow_the_crops() -> None:
    cells = torch.tensor([[20.0, 30.0], [31.0, 12.0], [24.0, 32.0], [10.0, 40.0]])
    y, x = torch.meshgrid(torch.arange(64), torch.arange(48), indexing="ij")
    away = (x - cells[:, 0, None, None]) ** 2 + (y - cells[:, 1, None, None]) ** 2
    maps = torch.exp(-away / 8)[:, None]
    points = cells[:, None] * 4 + torch.tensor(MARGIN)
    placements = placed(PlacementOptions(half_body=0, shift=0), INNER, points, seed=3)
    shown = middle_of_mass(cut_maps(maps, placements, MARGIN, (64, 48), 4.0)[:, 0])
    torch.testing.assert_close(shown, placements.to_crops(points)[:, 0] / 4, atol=0.05, rtol=0)


def test_half_a_body_fills_the_crop() -> None:
    points = torch.tensor([[[100.0, 100 + 10.0 * i] for i in range(8)]])
    options = PlacementOptions(0, 0, 0, 0, 0, half_body=1)
    halves = [placed(options, INNER, points, seed).matrices[0] for seed in range(8)]
    # Four joints, 30 pixels from first to last: 45 of the packed pixels on 256.
    assert [float(half[1, 1]) for half in halves] == pytest.approx([30 * HALF_BODY_PADDING / 256] * 8)
    middles = {round(float(half[1, 2] + half[1, 1] * 128)) for half in halves}
    assert middles == {115, 155}  # the upper and the lower four


def test_somebody_of_few_joints_stays_whole() -> None:
    points = torch.rand(1, 8, 2) * 100
    known = torch.tensor([[True] * 7 + [False]])
    options = PlacementOptions(0, 0, 0, 0, 0, half_body=1)
    whole = place(options, PACKED, INNER, INNER, points, known, LOWER, Generator())
    assert whole.matrices.tolist() == [[[1.0, 0.0, 48.0], [0.0, 1.0, 64.0]]]


def test_turns_and_scales_stay_within_their_bounds() -> None:
    options = PlacementOptions(turn_deg=10, turn_share=1, scale=0.2, shift=0, flip=0, half_body=0)
    matrices = placed(options, INNER, torch.zeros(4000, 1, 2)).matrices
    scales = torch.linalg.vector_norm(matrices[:, :, 0], dim=1)
    turns = torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0]) * 180 / math.pi
    assert scales.min() == pytest.approx(0.8)
    assert scales.max() == pytest.approx(1.2)
    assert turns.abs().max() == pytest.approx(20)
    assert turns.std() == pytest.approx(9.6, abs=0.4)  # of a normal distribution cut at two deviations


@pytest.mark.parametrize("wrong", [{"flip": 1.5}, {"scale": 1.0}, {"shift": -0.1}])
def test_what_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PlacementOptions(**wrong)
