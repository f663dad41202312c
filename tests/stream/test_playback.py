from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import islice

import pytest
from fakes import FakeSource

from stream.frame import Frame
from stream.playback import Looped, RealTime

MS = 1_000_000


class Clock:
    """A clock that only moves when someone waits, or when `cost_ms` of work pass at each frame that is read."""

    def __init__(self) -> None:
        self.now_ns = 5000 * MS
        self.waits: list[float] = []

    def __call__(self) -> int:
        return self.now_ns

    def wait(self, seconds: float) -> bool:
        self.waits.append(round(seconds * 1e3, 6))
        self.now_ns += round(seconds * 1e9)
        return False


class Slow(FakeSource):
    """Takes as long as told to read each of its frames."""

    def __init__(self, clock: Clock, costs_ms: list[int]) -> None:
        super().__init__(len(costs_ms))
        self._clock, self._costs_ms = clock, costs_ms

    def frames(self) -> Iterator[Frame]:
        for cost_ms, frame in zip(self._costs_ms, super().frames(), strict=True):
            self._clock.now_ns += cost_ms * MS
            yield frame


def arrivals_ms(clock: Clock, source: Slow, **options: float) -> list[tuple[float, float]]:
    """When each frame was given out and when it is said to have arrived, since the first was asked for."""
    frames = RealTime(source, clock=clock, wait=clock.wait, **options).frames()
    return [(clock.now_ns / MS - 5000, frame.captured_ns / MS - 5000) for frame in frames]


def test_each_frame_comes_when_it_is_due() -> None:
    clock = Clock()
    assert arrivals_ms(clock, Slow(clock, [0, 10, 10])) == [(0, 0), (40, 40), (80, 80)]
    assert clock.waits == [30, 30]


def test_a_slow_source_shows_in_the_age() -> None:
    clock = Clock()
    assert arrivals_ms(clock, Slow(clock, [0, 100, 0, 0])) == [(0, 0), (100, 40), (100, 80), (120, 120)]


@pytest.mark.parametrize(("catch_up_s", "last"), [(1.0, [(2000, 2000), (2040, 2040)]), (2.0, [(2000, 40), (2000, 80)])])
def test_who_is_too_late_goes_on_from_there(catch_up_s: float, last: list[tuple[float, float]]) -> None:
    clock = Clock()
    assert arrivals_ms(clock, Slow(clock, [0, 2000, 0]), catch_up_s=catch_up_s) == [(0, 0), *last]


def test_a_file_in_real_time_is_live_and_has_no_end() -> None:
    source = FakeSource(3)
    played = RealTime(source)
    assert (played.info.live, played.info.frame_count, played.info.sound_url) == (True, None, None)
    assert replace(played.info, live=False, frame_count=3) == source.info
    played.close()
    assert source.closed.is_set()


def test_whoever_waits_for_a_frame_is_let_go() -> None:
    class Rare(FakeSource):
        def frames(self) -> Iterator[Frame]:
            yield from (replace(frame, pts=frame.pts * 200) for frame in super().frames())

    played = RealTime(Rare(3))
    frames = played.frames()
    assert next(frames).index == 0
    played.interrupt()
    assert list(frames) == []


def test_a_loop_goes_on_in_time_and_opens_and_closes_each_time() -> None:
    opened: list[FakeSource] = []

    def open_again() -> FakeSource:
        opened.append(FakeSource(3))
        return opened[-1]

    looped = Looped(open_again, 3)
    assert looped.info.frame_count == 9
    frames = list(looped.frames())
    looped.close()
    assert [frame.index for frame in frames] == list(range(9))
    assert [frame.pts for frame in frames] == list(range(9))
    assert [source.closed.is_set() for source in opened] == [True] * 3
    assert len(opened) == 3


class Late(FakeSource):
    """A source that is read from its 15th frame on."""

    def frames(self) -> Iterator[Frame]:
        return islice(super().frames(), 15, None)


def test_a_loop_from_a_later_start_on_leaves_no_hole() -> None:
    looped = Looped(lambda: Late(20), 3)
    assert [frame.pts for frame in looped.frames()] == list(range(15, 30))
    looped.close()


def test_a_loop_for_ever_has_no_end() -> None:
    looped = Looped(lambda: FakeSource(2))
    assert looped.info.frame_count is None
    assert [frame.pts for frame in islice(looped.frames(), 100)] == list(range(100))
    looped.close()


def test_a_loop_of_one_frame_is_as_fast_as_its_rate() -> None:
    looped = Looped(lambda: FakeSource(1), 4)
    assert [frame.time for frame in looped.frames()] == pytest.approx([0, 0.04, 0.08, 0.12])
    assert looped.info.rate == Fraction(25)
    looped.close()


def test_what_is_played_once_keeps_its_sound_and_less_than_once_is_refused() -> None:
    def with_sound() -> FakeSource:
        source = FakeSource(1)
        source.info = replace(source.info, sound_url="file:a")
        return source

    assert [Looped(with_sound, times).info.sound_url for times in (1, 2, None)] == ["file:a", None, None]
    with pytest.raises(ValueError, match="got 0"):
        Looped(with_sound, 0)


def test_an_interrupted_loop_ends_with_the_next_frame() -> None:
    looped = Looped(lambda: FakeSource(1))
    frames = looped.frames()
    next(frames)
    looped.interrupt()
    assert list(frames) == []
    looped.close()


class Jumping(FakeSource):
    """Its time jumps by an hour before the third frame, as HLS may at a discontinuity."""

    def frames(self) -> Iterator[Frame]:
        for frame in super().frames():
            yield replace(frame, pts=frame.pts + (90_000 if frame.index >= 2 else 0))


def test_an_hour_that_is_not_there_is_not_waited_for() -> None:
    clock = Clock()
    played = RealTime(Jumping(4), clock=clock, wait=clock.wait)
    assert [clock.now_ns / MS - 5000 for _ in played.frames()] == [0, 40, 40, 80]
