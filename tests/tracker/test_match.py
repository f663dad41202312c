"""Pairs of least cost within a gate."""

from __future__ import annotations

import numpy as np
import pytest

from tracker.match import match


@pytest.mark.parametrize(
    ("cost", "limit", "wanted"),
    [
        ([[0.1]], 0.5, [[0, 0]]),
        ([[0.5]], 0.5, []),  # the limit itself is too much
        ([[0.9, 0.1], [0.1, 0.9]], 0.5, [[0, 1], [1, 0]]),
        ([[0.1, 0.2], [0.2, 0.9]], 0.5, [[0, 1], [1, 0]]),  # 0.4 together beats 0.1 and one alone at 0.5
        ([[0.0, 0.4], [0.4, 0.9]], 0.5, [[0, 0]]),  # two poor pairs are not bought with a good one
        ([[0.0, 0.48], [0.48, 0.4]], 0.45, [[0, 0], [1, 1]]),
        ([[0.3, 0.1, 0.2]], 0.5, [[0, 1]]),
        ([[0.3], [0.1], [0.2]], 0.5, [[1, 0]]),
        ([[np.nan, 0.2], [0.3, np.nan]], 0.5, [[0, 1], [1, 0]]),
        ([[np.nan]], 0.5, []),
    ],
)
def test_the_least_total_wins_within_the_limit(cost: list[list[float]], limit: float, wanted: list[list[int]]) -> None:
    np.testing.assert_array_equal(match(np.array(cost), limit), np.array(wanted, int).reshape(-1, 2))


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (2, 0)])
def test_nobody_is_matched_with_nobody(shape: tuple[int, int]) -> None:
    assert match(np.zeros(shape), 1.0).shape == (0, 2)


def test_each_row_and_column_is_used_once_and_no_swap_is_better() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        cost = rng.random((rng.integers(1, 8), rng.integers(1, 8)))
        pairs = match(cost, 0.6)
        assert (np.diff(pairs[:, 0]) > 0).all()
        assert len(np.unique(pairs[:, 1])) == len(pairs)
        assert (cost[pairs[:, 0], pairs[:, 1]] < 0.6).all()
        for i, a in pairs:
            for j, b in pairs:
                assert cost[i, a] + cost[j, b] <= min(cost[i, b], 0.6) + min(cost[j, a], 0.6) + 1e-12
        free_rows = np.setdiff1d(np.arange(cost.shape[0]), pairs[:, 0])
        free_columns = np.setdiff1d(np.arange(cost.shape[1]), pairs[:, 1])
        assert (cost[np.ix_(free_rows, free_columns)] >= 0.6).all()
