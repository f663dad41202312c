"""Who is who: pairs one to one, of the greatest likeness in all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tracker.kalman import Floats

Rows = NDArray[np.intp]

SMALL = 64
"""Up to so many rows and columns one assignment over all costs less than to look for groups, and comes to the same."""


def match(rows: Rows, columns: Rows, likeness: Floats) -> Rows:
    """Which of P pairs to make, as indices, so that each row and column is in one pair at most.

    `rows`, `columns` and `likeness` are (P,), each pair there once; the sum of the likenesses, all above 0, is the
    greatest possible. Pairs that compete, directly or through others, are one group, and each group is an assignment
    problem of its own.
    """
    if not len(rows):
        return np.zeros(0, np.intp)
    if max(rows.max(), columns.max()) < SMALL:
        return np.sort(_assigned(rows, columns, likeness))
    chosen = []
    for pairs in _groups(rows, columns):
        (_, r), (_, c) = (np.unique(side[pairs], return_inverse=True) for side in (rows, columns))
        chosen.append(pairs[_assigned(r, c, likeness[pairs])])
    return np.sort(np.concatenate(chosen))


def _groups(rows: Rows, columns: Rows) -> list[Rows]:
    """The pairs that compete with each other, as indices, group by group."""
    first = rows.max() + 1
    size = first + columns.max() + 1
    graph = coo_array((np.ones(len(rows), np.int8), (rows, first + columns)), shape=(size, size))
    labels = connected_components(graph, directed=False)[1][rows]
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)


def _assigned(rows: Rows, columns: Rows, likeness: Floats) -> Rows:
    """The indices of the pairs made, one assignment over a table of all rows and columns up to the highest."""
    table = np.zeros((rows.max() + 1, columns.max() + 1))
    which = np.full(table.shape, -1)
    table[rows, columns], which[rows, columns] = likeness, np.arange(len(rows))
    made = which[linear_sum_assignment(table, maximize=True)]
    return made[made >= 0]
