"""How a batch of any size is cut into those that networks are prepared for."""

from __future__ import annotations

import pytest

from engines.buckets import BUCKETS, buckets_for


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        (1, [1]),
        (2, [2]),
        (3, [4]),
        (5, [8]),
        (17, [32]),
        (32, [32]),
        (33, [32, 1]),
        (37, [32, 8]),
        (64, [32, 32]),
        (100, [32, 32, 32, 4]),
    ],
)
def test_full_ones_come_first_and_the_smallest_that_holds_the_rest_last(rows: int, wanted: list[int]) -> None:
    assert buckets_for(rows) == wanted


def test_no_batch_is_padded_to_twice_its_size() -> None:
    for rows in range(1, 200):
        buckets = buckets_for(rows)
        assert set(buckets) <= set(BUCKETS)
        assert rows <= sum(buckets) < 2 * rows or rows == sum(buckets)


@pytest.mark.parametrize("rows", [0, -1])
def test_no_rows_are_refused(rows: int) -> None:
    with pytest.raises(ValueError, match=f"batch must be one row or more, got {rows}"):
        buckets_for(rows)
