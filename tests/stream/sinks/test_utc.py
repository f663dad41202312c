"""Moments of the monotonic clock as the time of day."""

from __future__ import annotations

import time

import pytest

from stream.sinks.utc import STEP_NS, UtcClock, utc_of_stamp, utc_stamp, utc_text

NOON = 1_795_348_800_000_000_000
"""2026-11-22T12:00:00Z in nanoseconds."""
SECOND = 1_000_000_000


class Clocks:
    """Two clocks that are set by hand: UTC and monotonic."""

    def __init__(self) -> None:
        self.utc_ns, self.monotonic_ns = NOON, 5 * SECOND

    def __call__(self) -> tuple[int, int]:
        return self.utc_ns, self.monotonic_ns


def test_a_moment_has_the_utc_it_had_then() -> None:
    clocks = Clocks()
    clock = UtcClock(clocks)
    assert clock.utc_ns(5 * SECOND) == NOON
    assert clock.utc_ns(2 * SECOND) == NOON - 3 * SECOND
    assert clock.now_ns() == NOON


def test_the_real_clock_is_told_to_a_millisecond() -> None:
    assert abs(UtcClock().utc_ns(time.monotonic_ns()) - time.time_ns()) < 1_000_000


@pytest.mark.parametrize(("step_ns", "followed"), [
    (STEP_NS - 1, False), (STEP_NS, True), (-STEP_NS, True), (3600 * SECOND, True), (-3600 * SECOND, True),
])  # fmt: skip
def test_a_clock_that_is_set_is_followed_and_jitter_is_not(step_ns: int, followed: bool) -> None:
    clocks = Clocks()
    clock = UtcClock(clocks)
    clocks.utc_ns += step_ns
    assert clock.utc_ns(5 * SECOND) == NOON + (step_ns if followed else 0)


@pytest.mark.parametrize(("utc_ns", "text", "stamp"), [
    (NOON, "2026-11-22T12:00:00.000Z", "20261122T120000.000Z"),
    (NOON + 250_999_999, "2026-11-22T12:00:00.250Z", "20261122T120000.250Z"),
    (NOON + SECOND - 1, "2026-11-22T12:00:00.999Z", "20261122T120000.999Z"),
    (0, "1970-01-01T00:00:00.000Z", "19700101T000000.000Z"),
])  # fmt: skip
def test_texts_are_rounded_down_to_the_millisecond(utc_ns: int, text: str, stamp: str) -> None:
    assert (utc_text(utc_ns), utc_stamp(utc_ns)) == (text, stamp)
    assert utc_of_stamp(stamp) == utc_ns // 1_000_000 * 1_000_000


@pytest.mark.parametrize("stamp", ["20261322T120000.000Z", "20261122T250000.000Z", "20261122T120000Z", ""])
def test_no_moment_is_no_stamp(stamp: str) -> None:
    assert utc_of_stamp(stamp) is None
