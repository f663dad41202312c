from __future__ import annotations

from fractions import Fraction

import pytest

from stream.timeline import JoinedTimeline, Timeline


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


def joined(connections: list[list[tuple[int, int]]]) -> list[list[int]]:
    """The pts, in milliseconds, of frames (time of its connection, arrival), both in milliseconds."""
    timeline = JoinedTimeline(Fraction(1, 1000))
    placed = []
    for number, frames in enumerate(connections):
        if number:
            timeline.begin_connection()
        placed.append([timeline.place(Fraction(time, 1000), arrived * 1_000_000) for time, arrived in frames])
    return placed


def test_the_first_connection_keeps_its_times() -> None:
    assert joined([[(0, 9000), (40, 9041), (80, 9079)]]) == [[0, 40, 80]]


def test_the_next_connection_goes_on_by_the_time_that_passed_and_keeps_its_steps() -> None:
    assert joined([[(0, 9000), (40, 9040)], [(0, 12_040), (33, 12_090), (66, 12_100)]]) == [[0, 40], [3040, 3073, 3106]]


def test_a_frame_that_waited_for_the_time_out_does_not_shorten_the_loss() -> None:
    assert joined([[(0, 9000), (40, 9040), (80, 10_080)], [(0, 12_080)]]) == [[0, 40, 80], [3080]]


def test_what_a_server_sends_at_once_does_not_add_up_over_the_connections() -> None:
    # Each connection begins with a second of frames at once; the clock of arrivals starts at 9 s.
    def begun(at: int) -> list[tuple[int, int]]:
        return [(0, at), (500, at), (1000, at), (1500, at + 500)]

    first, second, third = joined([begun(9000), begun(20_000), begun(30_000)])
    assert first == [0, 500, 1000, 1500]
    # 10.5 s passed since the frame of 1,500 ms; how old this one is nobody knows yet.
    assert second == [12_000, 12_500, 13_000, 13_500]
    # 9.5 s passed, of which the last connection was 1 s ahead.
    assert third == [22_000, 22_500, 23_000, 23_500]


def test_a_clock_that_jumps_ahead_is_not_followed() -> None:
    hour = 3_600_000
    (first,) = joined([[(0, 1000), (40, 1040), (hour + 80, 1080), (hour + 120, 1120)]])
    assert first == [0, 40, 80, 120]
    first, second, third = joined([[(0, 1000)], [(0, 2000), (hour, 2040)], [(0, 3000), (40, 3040)]])
    assert (first, second, third) == ([0], [1000, 1040], [2000, 2040])


def test_a_pause_that_really_was_and_frames_that_come_at_once_are_no_jump() -> None:
    (paused,) = joined([[(0, 1000), (60_000, 61_000)]])
    assert paused == [0, 60_000]
    (at_once,) = joined([[(1000 * n, 9000) for n in range(30)]])
    assert at_once == [1000 * n for n in range(30)]


def test_time_never_goes_back_over_a_loss() -> None:
    first, second = joined([[(0, 1000), (5000, 1000)], [(0, 900), (40, 940)]])
    assert (first, second) == ([0, 5000], [5001, 5041])
