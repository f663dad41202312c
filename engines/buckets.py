"""Batch sizes that networks are prepared for, and how a batch of any size is cut into them."""

from __future__ import annotations

from itertools import repeat
from typing import Final

BUCKETS: Final = (1, 2, 4, 8, 16, 32)
"""A CUDA graph holds for one shape, so each has its own; between them a batch is filled up, by half at most."""


def buckets_for(rows: int) -> list[int]:
    """The buckets that `rows` rows are cut into, in their order: 37 into 32 and 8, of which the last three are padding.

    As many of the largest as are full, then the smallest that holds the rest. Raises ValueError for less than one row.
    """
    if rows < 1:
        raise ValueError(f"batch must be one row or more, got {rows}")
    full, rest = divmod(rows, BUCKETS[-1])
    return [
        *repeat(BUCKETS[-1], full),
        *(next(bucket for bucket in BUCKETS if bucket >= rest) for _ in range(rest > 0)),
    ]
