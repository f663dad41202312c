"""What several live sources get of a machine that is too slow for them all, on a clock that only the fakes move."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fakes import FakeDetector, FakeEstimator, FakeSource, FakeTracker, make_frame
from numpy.typing import NDArray

from engines.results import Detections, Image, Poses
from stream.age import AgeLimit
from stream.buffer import FrameBuffer, Taken
from stream.delivery import Delivery
from stream.feed import Feed
from stream.frame import Frame
from stream.meter import Meter
from stream.pace import DetectionPace
from stream.painter import Painter
from stream.pipeline import Pipeline
from stream.render import Style
from stream.session import Session
from stream.turns import Turns

MS = 1_000_000


class Machine(FakeDetector):
    """A clock, and a detector and an estimator for which it goes on by so many milliseconds an image."""

    def __init__(self, detect_ms: int, pose_ms: int) -> None:
        super().__init__()
        self.now_ns = 10**12
        self._detect_ms, self._pose_ms = detect_ms, pose_ms
        self._estimator = FakeEstimator()

    def clock(self) -> int:
        return self.now_ns

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        self.now_ns += self._detect_ms * len(images) * MS
        return super().detect(images)

    def estimate(self, images: Sequence[Image], boxes: Sequence[NDArray[np.float32]]) -> list[Poses]:
        self.now_ns += self._pose_ms * len(images) * MS
        return self._estimator.estimate(images, boxes)


class Arrivals:
    """A buffer into which frames come by the machine's clock: from source i one every `intervals_ms[i]`."""

    def __init__(self, machine: Machine, intervals_ms: Sequence[int], duration_s: float) -> None:
        self.names = [f"s{i}" for i in range(len(intervals_ms))]
        self._machine = machine
        self._until_ns = machine.now_ns + round(duration_s * 1e9)
        self._buffer: FrameBuffer[Frame] = FrameBuffer(self.names, 1, drop_oldest=True)
        self._intervals_ns = [ms * MS for ms in intervals_ms]
        self._next_ns = [machine.now_ns + (7 * i + 1) * MS for i in range(len(intervals_ms))]
        self.offered = [0] * len(intervals_ms)

    def take(self, most: int = 1, timeout_s: float | None = None, *, slots: int | None = None) -> Taken[Frame]:
        while self._machine.now_ns <= self._until_ns:
            self._put()
            try:
                return self._buffer.take(most, 0, slots=slots)
            except TimeoutError:
                self._machine.now_ns = min(self._next_ns)
        return Taken([], {})

    def _put(self) -> None:
        """Put in what has come up to now."""
        for i, name in enumerate(self.names):
            while self._next_ns[i] <= self._machine.now_ns:
                frame = replace(make_frame(self.offered[i], source_id=name), captured_ns=self._next_ns[i])
                self._buffer.put(name, frame)
                self.offered[i] += 1
                self._next_ns[i] += self._intervals_ns[i]

    def close(self, slot: str, error: BaseException | None = None) -> None:
        """The captures of the fakes end at once; the frames come from here."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._buffer, name)


def run(
    machine: Machine, intervals_ms: Sequence[int], max_age_s: float | None, duration_s: float = 120,
    files: Sequence[str] = (),
) -> Session:  # fmt: skip
    """The session after all frames; those of `files` may be of any age."""
    arrivals: Any = Arrivals(machine, intervals_ms, duration_s)
    feeds = tuple(
        Feed(name, FakeSource(0, live=True), arrivals, Painter(Style()), lambda _: None) for name in arrivals.names
    )
    meter, limit = Meter(), AgeLimit(max_age_s, machine.clock)
    for name in files:
        limit.spare(name)
    session = Session(
        models="",
        feeds=feeds,
        meter=meter,
        notes=(),
        outputs=(),
        _most=1,
        _buffer=arrivals,
        _pipeline=Pipeline(machine, machine, FakeTracker, lambda _: None, meter),
        _shared=Delivery(),
        _screen=None,
        _stopped=threading.Event(),
        _limit=limit,
        _pace=DetectionPace(1, 8),
        _turns=Turns(len(feeds)),
        _say=lambda _: None,
    )
    for result in session:
        assert not limit.holds_for(result.frame) or limit.age_s(result.frame) <= (max_age_s or 0)
    for feed, offered in zip(feeds, arrivals.offered, strict=True):
        assert offered - feed.meter.frames - feed.drops.total in (0, 1)  # the one that waits at the end
    return session


def shares(session: Session) -> list[float]:
    """Of each source how much of what it offered was shown."""
    return [feed.meter.frames / (feed.meter.frames + feed.drops.total) for feed in session.feeds]


def jain(shares: Sequence[float]) -> float:
    """Jain's index of fairness: 1 where all get the same, 1 / n where one gets all."""
    return sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))


@pytest.mark.parametrize("max_age_s", [0.3, 0.4])
@pytest.mark.parametrize("sources", [4, 8])
def test_at_three_times_overload_all_get_the_same_and_none_is_late(sources: int, max_age_s: float) -> None:
    session = run(Machine(50, 25), [25 * sources] * sources, max_age_s)
    assert jain(shares(session)) > 0.999
    assert sum(shares(session)) / sources == pytest.approx(1 / 3, abs=0.01)
    assert session.drops.before_detection == 0
    assert session.drops.before_output < 0.02 * session.meter.frames


def test_sources_that_share_a_step_too_long_for_any_of_them_take_turns() -> None:
    session = run(Machine(10, 65), [100] * 8, 0.3)  # 8 x 75 ms: together every frame would be too old
    assert min(shares(session)) > 0.16
    assert session.slowed_to is None


def test_a_fast_source_takes_nothing_from_slow_ones() -> None:
    session = run(Machine(50, 25), [20, 250, 250, 250], 0.3)
    fast, *slow = (feed.meter.frames for feed in session.feeds)
    assert shares(session)[1:] == pytest.approx([0.75] * 3, abs=0.15)
    assert min(slow) > 0.9 * fast / 2


def test_without_a_promise_all_share_each_step() -> None:
    session = run(Machine(50, 25), [100] * 4, None)
    assert jain(shares(session)) > 0.999
    assert session.drops.total == session.drops.newer


def test_files_which_are_never_late_do_not_hide_that_a_camera_is() -> None:
    session = run(Machine(400, 1), [300, 300, 300], 0.3, files=["s1", "s2"])  # detection alone is too slow for it
    assert session.feeds[0].meter.frames > 150
    assert session.slowed_to == 4
