"""How far two outputs are apart, and the noise that they are compared on."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engines.cards import InputSpec
from engines.guard import Difference, compare, noise


def test_the_largest_and_the_relative_difference() -> None:
    wanted = np.array([[3, 4], [0, 0]], np.float32)  # of norm 5
    assert compare(wanted, wanted) == Difference(0, 0)
    assert compare(wanted + np.float32([[0.3, 0], [0, -0.4]]), wanted) == Difference(
        pytest.approx(0.4, rel=1e-6), pytest.approx(0.1, rel=1e-6)
    )
    assert str(Difference(0.00012, 3e-7)) == "1.2e-04 (relative 3.0e-07)"


@pytest.mark.parametrize("shape", [(0, 6), (2, 3)])
def test_nothing_and_zeros_differ_by_nothing(shape: tuple[int, int]) -> None:
    assert compare(np.zeros(shape, np.float32), np.zeros(shape, np.float32)) == Difference(0, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_within_no_bound(bad: float) -> None:
    broken, sound = np.full((1, 2), bad, np.float32), np.ones((1, 2), np.float32)
    for got, wanted in ((broken, sound), (sound, broken), (broken, broken)):
        assert math.isnan(compare(got, wanted).relative)


def test_outputs_of_two_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one shape, got \(1, 2\) and \(2, 1\)"):
        compare(np.zeros((1, 2), np.float32), np.zeros((2, 1), np.float32))


def test_noise_fills_the_range_of_the_network_and_is_always_the_same() -> None:
    plain = noise(InputSpec((40, 30), "bgr"), 3)
    assert (plain.shape, plain.dtype) == ((3, 3, 40, 30), np.float32)
    assert 0 <= plain.min() < 1
    assert 254 < plain.max() <= 255
    np.testing.assert_array_equal(noise(InputSpec((40, 30), "bgr"), 3), plain)
    spec = InputSpec((40, 30), "rgb", 1 / 255, (0.5, 0.25, 0), (1, 1, 0.5))
    normal = noise(spec, 3)
    np.testing.assert_allclose(normal[:, 0], plain[:, 0] / 255 - 0.5, atol=1e-6)
    np.testing.assert_allclose(normal[:, 2], plain[:, 2] / 255 * 2, atol=1e-6)
