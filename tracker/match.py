"""Who is who: pairs of least cost within a gate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment


def match(cost: NDArray[np.float64], limit: float) -> NDArray[np.intp]:
    """Pair rows and columns of `cost` (M, N) one to one so that the total is least; staying apart costs `limit`.

    So two poor pairs are not bought with a good one. Returns (P, 2) of row and column, rows rising. A pair whose cost
    is not below `limit` (or is NaN) is never made.
    """
    gain = np.where(cost < limit, cost - limit, 0.0)
    pairs = np.stack(linear_sum_assignment(gain), axis=1)
    return pairs[gain[pairs[:, 0], pairs[:, 1]] < 0]
