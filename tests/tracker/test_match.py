"""Pairs of the greatest likeness, one to one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from tracker.match import SMALL, match


def pairs_of(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs of a table that may be made, those above 0."""
    rows, columns = np.nonzero(table > 0)
    return rows, columns, table[rows, columns]


@pytest.mark.parametrize(
    ("likeness", "wanted"),
    [
        ([[0.9]], [[0, 0]]),
        ([[0.0]], []),
        ([[0.1, 0.9], [0.9, 0.1]], [[0, 1], [1, 0]]),
        ([[0.9, 0.8], [0.8, 0.1]], [[0, 1], [1, 0]]),  # 1.6 together beats 1.0
        ([[0.9, 0.3], [0.3, 0.0]], [[0, 0]]),  # two poor pairs are not bought with a good one
        ([[0.7, 0.9, 0.8]], [[0, 1]]),
        ([[0.7], [0.9], [0.8]], [[1, 0]]),
        ([[0.0, 0.8], [0.7, 0.0]], [[0, 1], [1, 0]]),
    ],
)
def test_the_greatest_total_wins(likeness: list[list[float]], wanted: list[list[int]]) -> None:
    rows, columns, values = pairs_of(np.array(likeness))
    chosen = match(rows, columns, values)
    made = np.stack([rows[chosen], columns[chosen]], axis=1)
    np.testing.assert_array_equal(made, np.array(wanted, int).reshape(-1, 2))


def test_no_pairs_are_none() -> None:
    none = np.zeros(0, np.intp)
    assert match(none, none, np.zeros(0)).shape == (0,)


@pytest.mark.parametrize("density", [0.01, 0.03, 0.1, 0.5])
@pytest.mark.parametrize("size", [6, SMALL, 3 * SMALL])
def test_groups_apart_come_to_the_same_as_all_at_once(size: int, density: float) -> None:
    rng = np.random.default_rng(size)
    for _ in range(10):
        table = rng.random((size, size + 3)) * (rng.random((size, size + 3)) < density)
        rows, columns, values = pairs_of(table)
        chosen = match(rows, columns, values)
        assert len(set(rows[chosen])) == len(set(columns[chosen])) == len(chosen)
        assert values[chosen].sum() == pytest.approx(table[linear_sum_assignment(-table)].sum())
        assert (np.diff(chosen) > 0).all()
