from __future__ import annotations

from fractions import Fraction

import pytest

from stream.timeline import Timeline


def placed(stamps: list[int | None], *, origin: int | None = 0, durations: int = 0) -> list[int]:
    """At 25 frames a second in milliseconds: a frame's interval is 40, a reset is a step back of more than 1000."""
    timeline = Timeline(Fraction(1, 1000), Fraction(1, 25), origin)
    return [timeline.place(stamp, durations) for stamp in stamps]


@pytest.mark.parametrize(
    ("stamps", "pts"),
    [
        ([0, 40, 80], [0, 40, 80]),
        ([7, 8, 500, 9000], [7, 8, 500, 9000]),
        ([-40, 0, 40], [-40, 0, 40]),
        ([None, None, None], [0, 40, 80]),
        ([0, None, 80], [0, 40, 80]),
        ([0, 40, 40, 80], [0, 40, 41, 80]),
        ([0, 40, 20, 80], [0, 40, 41, 80]),
        ([0, 40, 40, 40, 42], [0, 40, 41, 42, 43]),
        ([5000, 5040, 0, 40, 80], [5000, 5040, 5080, 5120, 5160]),
        ([5000, 4000, 5040], [5000, 5001, 5040]),
    ],
)
def test_time_stamps_rise_and_are_kept_where_they_rise(stamps: list[int | None], pts: list[int]) -> None:
    assert placed(stamps) == pts


def test_origin_is_taken_off() -> None:
    assert placed([1400, 1440], origin=1400) == [0, 40]


def test_clock_without_origin_starts_at_its_first_stamp() -> None:
    assert placed([123_456, 123_496, None], origin=None) == [0, 40, 80]


def test_missing_stamp_follows_by_the_duration_of_the_frame() -> None:
    assert placed([0, None, None], durations=33) == [0, 33, 66]


def test_interval_below_a_tick_counts_as_one() -> None:
    timeline = Timeline(Fraction(1, 10), Fraction(1, 25), 0)
    assert [timeline.place(None, 0) for _ in range(3)] == [0, 1, 2]
