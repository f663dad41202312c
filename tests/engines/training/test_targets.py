"""Heat maps around joints and the loss, by hand-worked numbers."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from engines.training.targets import gaussians, heatmap_loss, within  # noqa: E402


def test_a_gaussian_between_cells_is_alike_on_both_sides() -> None:
    maps = gaussians(torch.tensor([[[10.5, 20.0]]]), (64, 48))
    assert maps.shape == (1, 1, 64, 48)
    # Two cells of sigma: exp(-d^2 / 8).
    assert maps[0, 0, 20, 10] == pytest.approx(math.exp(-0.25 / 8))
    assert maps[0, 0, 20, 11] == pytest.approx(math.exp(-0.25 / 8))
    assert maps[0, 0, 22, 12] == pytest.approx(math.exp(-(1.5**2 + 2**2) / 8))


def test_a_gaussian_on_a_cell_is_1_there_and_narrower_on_smaller_maps() -> None:
    maps = gaussians(torch.tensor([[[3.0, 5.0]]]), (16, 12))
    assert maps[0, 0, 5, 3] == 1
    assert maps[0, 0, 6, 3] == pytest.approx(math.exp(-1 / (2 * 0.5**2)))  # 2 / 64 of the 16 rows


def test_a_point_is_within_up_to_half_a_cell_beyond_the_outermost() -> None:
    points = torch.tensor([[[-0.4, 0.0], [-0.6, 0.0], [11.4, 15.4], [11.6, 3.0], [3.0, 15.6]]])
    assert within(points, (16, 12)).tolist() == [[True, False, True, False, False]]


def test_the_loss_of_equal_maps_is_0_and_so_is_its_slope() -> None:
    wanted = gaussians(torch.tensor([[[3.0, 5.0], [7.2, 9.1]]]), (16, 12))
    given = wanted.clone().requires_grad_()
    loss = heatmap_loss(given, wanted, torch.ones(1, 2), temperature=16, square=0.1)
    (slope,) = torch.autograd.grad(loss, given)
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert slope.abs().max() < 1e-5


def test_the_loss_by_hand() -> None:
    # Sharpened by ln 3 / 0.5, wanted is 3 to 1 and given 1 to 1: 3/4 ln(3/4 / 1/2) + 1/4 ln(1/4 / 1/2) = 0.130812,
    # which counts by the height of 0.5.
    wanted = torch.tensor([[[[0.5, 0.0]], [[9.0, 9.0]]]])
    given = torch.zeros(1, 2, 1, 2)
    weights = torch.tensor([[3.0, 0.0]])  # of the second joint nothing is known
    temperature, divergence = math.log(3), 0.130812 * 0.5
    assert heatmap_loss(given, wanted, weights, temperature, 0.0).item() == pytest.approx(divergence, abs=1e-6)
    together = divergence + 0.1 * 0.5**2
    assert heatmap_loss(given, wanted, weights, temperature, 0.1).item() == pytest.approx(together, abs=1e-6)


def test_maps_of_next_to_no_height_are_not_sharpened_further() -> None:
    # Half of LOWEST: by ln 9 / 0.1 the distribution wanted is sqrt(9) to 1, as in the test before.
    wanted = torch.tensor([[[[0.05, 0.0]]]])
    loss = heatmap_loss(torch.zeros(1, 1, 1, 2), wanted, torch.ones(1, 1), math.log(9), 0.0)
    assert loss.item() == pytest.approx(0.130812 * 0.1, abs=1e-6)


def test_weights_are_shares_and_a_joint_that_is_nowhere_costs_nothing() -> None:
    given, wanted = torch.zeros(1, 2, 4, 4), gaussians(torch.tensor([[[1.0, 1.0], [2.0, 2.0]]]), (4, 4))
    one = heatmap_loss(given[:, :1], wanted[:, :1], torch.ones(1, 1), 16, 0.1).item()
    other = heatmap_loss(given[:, 1:], wanted[:, 1:], torch.ones(1, 1), 16, 0.1).item()
    mixed = heatmap_loss(given, wanted, torch.tensor([[1.0, 3.0]]), 16, 0.1).item()
    assert mixed == pytest.approx((one + 3 * other) / 4, rel=1e-5)
    assert heatmap_loss(given, wanted, torch.zeros(1, 2), 16, 0.1).item() == 0


def test_the_slope_moves_the_peak_to_where_it_belongs() -> None:
    wanted = gaussians(torch.tensor([[[8.0, 3.0]]]), (16, 12))
    given = gaussians(torch.tensor([[[2.0, 12.0]]]), (16, 12)).requires_grad_()
    for _ in range(200):
        (slope,) = torch.autograd.grad(heatmap_loss(given, wanted, torch.ones(1, 1), 16, 0.1), given)
        given = (given - 0.02 * slope).detach().requires_grad_()
    assert given.flatten().argmax() == 3 * 12 + 8
