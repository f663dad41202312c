"""SimCC vectors to key points in torch: against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from engines import simcc, simcc_torch  # noqa: E402

Floats = NDArray[np.float32]
PAIRS = ((0, 1), (3, 4))


def vectors(count: int, length: int, seed: int, *, ties: bool = False) -> Floats:
    values = np.random.default_rng(seed).normal(0, 1, (count, 5, length)).astype(np.float32)
    return np.round(values) if ties else values


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_torch_and_numpy_decode_alike(count: int, ties: bool) -> None:
    x, y = vectors(count, 384, 1, ties=ties), vectors(count, 512, 2, ties=ties)
    points, scores = simcc_torch.decode_simcc(torch.from_numpy(x), torch.from_numpy(y))
    wanted_points, wanted_scores = simcc.decode_simcc(x, y)
    assert points.dtype == scores.dtype == torch.float32
    np.testing.assert_array_equal(points.numpy(), wanted_points)
    np.testing.assert_array_equal(scores.numpy(), wanted_scores)


def test_place_is_half_a_pixel_and_the_score_the_smaller_maximum() -> None:
    x, y = torch.zeros(1, 1, 384), torch.zeros(1, 1, 512)
    x[0, 0, 383], y[0, 0, 7] = 0.5, 0.25
    points, scores = simcc_torch.decode_simcc(x, y)
    assert points.tolist() == [[[191.5, 3.5]]]
    assert scores.tolist() == [[0.25]]


def test_half_precision_gives_float32() -> None:
    x, y = (torch.from_numpy(vectors(2, length, 3)).half() for length in (64, 96))
    points, scores = simcc_torch.decode_simcc(x, y)
    assert points.dtype == scores.dtype == torch.float32
    assert torch.equal(points[..., 0], x.float().argmax(-1) / 2)


@pytest.mark.parametrize("count", [0, 3])
def test_torch_and_numpy_flip_back_alike(count: int) -> None:
    x, y = vectors(count, 384, 4), vectors(count, 512, 5)
    kept = x.copy()
    back = simcc_torch.flip_back_simcc(torch.from_numpy(x), torch.from_numpy(y), PAIRS)
    for one, wanted in zip(back, simcc.flip_back_simcc(x, y, PAIRS), strict=True):
        np.testing.assert_array_equal(one.numpy(), wanted)
    np.testing.assert_array_equal(x, kept)
