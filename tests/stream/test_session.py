"""The loop of one run: which frames reach the sinks, and which are too old."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import pytest
from fakes import FakeDetector, FakeEstimator, FakeSink, FakeSource, FakeTracker, make_frame

from engines.results import Detections, Image
from stream.age import AgeLimit, Drops
from stream.buffer import Taken
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


@dataclass
class Clock:
    """A monotonic clock that stands still until it is moved."""

    now_ns: int = 1_000_000_000_000

    def __call__(self) -> int:
        return self.now_ns

    def pass_ms(self, ms: int) -> None:
        self.now_ns += ms * MS


@dataclass
class ScriptedBuffer:
    """A buffer that gives a frame every 40 ms, each as old as `ages_ms` says when it is taken."""

    clock: Clock
    ages_ms: Iterator[int]
    newer: int = 0
    _taken: int = 0

    def take(self, most: int = 1, timeout_s: float | None = None, *, slots: int | None = None) -> Taken[Frame]:
        age_ms = next(self.ages_ms, None)
        if age_ms is None:
            return Taken([], {})
        self._taken += 1
        self.clock.pass_ms(40)
        frame = replace(make_frame(self._taken - 1), captured_ns=self.clock.now_ns - age_ms * MS)
        return Taken([("fake", frame)], {})

    def dropped(self, slot: str) -> int:
        return self.newer

    def put(self, slot: str, item: Frame) -> bool:
        return True

    def close(self, slot: str, error: BaseException | None = None) -> None:
        pass

    def abandon(self) -> None:
        self.ages_ms = iter(())


@dataclass
class TimedDetector(FakeDetector):
    """A detector for which `cost_ms` pass at each call."""

    clock: Clock
    cost_ms: Callable[[], int]
    seen: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        self.clock.pass_ms(self.cost_ms())
        self.seen += [int(image[0, 0, 0]) for image in images]
        return super().detect(images)


class Rig:
    """A session of fakes: frames of `ages_ms`, a detector that takes `cost_ms`, one sink."""

    def __init__(self, ages_ms: Sequence[int], max_age_s: float | None, cost_ms: int = 0) -> None:
        self.clock = Clock()
        self.cost_ms = cost_ms
        self.said: list[str] = []
        self.sink = FakeSink()
        self.detector = TimedDetector(self.clock, lambda: self.cost_ms)
        self.buffer = ScriptedBuffer(self.clock, iter(ages_ms))
        meter = Meter()
        buffer: Any = self.buffer
        feed = Feed("fake", FakeSource(0, live=True), buffer, Painter(Style()), lambda _: None)
        feed.outputs.add(self.sink)
        self.session = Session(
            feeds=(feed,),
            meter=meter,
            notes=(),
            outputs=(),
            models="",
            _most=1,
            _buffer=buffer,
            _pipeline=Pipeline(self.detector, FakeEstimator(), FakeTracker, lambda _: None, meter),
            _shared=Delivery(),
            _screen=None,
            _stopped=threading.Event(),
            _limit=AgeLimit(max_age_s, self.clock),
            _pace=DetectionPace(1, 8),
            _turns=Turns(1),
            _say=self.said.append,
        )
        self._results = iter(self.session)

    def run(self, most: int | None = None) -> list[int]:
        """The indices of the frames shown, `most` of them at most."""
        return [result.frame.index for result in islice(self._results, most)]


def test_a_frame_that_comes_too_old_is_dropped_before_detection() -> None:
    rig = Rig([0, 250, 200, 201], max_age_s=0.2)
    assert rig.run() == rig.sink.indices == [0, 2]
    assert rig.detector.seen == [0, 2]
    assert rig.session.drops == Drops(0, 2, 0)
    assert rig.session.meter.frames == 2


def test_a_frame_that_grows_too_old_in_the_networks_is_never_shown() -> None:
    rig = Rig([50, 151, 150, 50], max_age_s=0.2, cost_ms=50)
    assert rig.run() == rig.sink.indices == [0, 2, 3]
    assert rig.detector.seen == [0, 1, 2, 3]
    assert rig.session.drops == Drops(0, 0, 1)


def test_without_a_promise_every_frame_is_shown_however_old() -> None:
    rig = Rig([10**6] * 5, max_age_s=None, cost_ms=10**6)
    assert rig.run() == [0, 1, 2, 3, 4]
    assert rig.session.drops == Drops()
    assert rig.said == []


def test_frames_that_gave_way_to_newer_ones_are_counted_apart() -> None:
    rig = Rig([0, 300], max_age_s=0.2)
    rig.buffer.newer = 7
    rig.run()
    assert rig.session.drops == Drops(7, 1, 0)
    assert rig.session.drops.total == 8


def test_a_run_of_which_nothing_was_shown_has_failed_and_says_so() -> None:
    rig = Rig([300] * 3, max_age_s=0.2)
    assert rig.run() == []
    assert rig.session.damaged
    assert rig.session.warnings == ("no frame was shown: all 3 were too old",)


@pytest.mark.parametrize("ages_ms", [[], [0, 300]])
def test_a_run_of_which_something_was_shown_or_that_had_nothing_has_not_failed(ages_ms: list[int]) -> None:
    rig = Rig(ages_ms, max_age_s=0.2)
    rig.run()
    assert not rig.session.damaged
    assert rig.session.warnings == ()


def test_a_detector_that_is_too_slow_runs_on_fewer_frames_until_it_is_fast_again() -> None:
    rig = Rig([0] * 2000, max_age_s=0.2, cost_ms=250)
    rig.run(100)
    assert rig.session.slowed_to == 4
    assert rig.said == [
        "too slow: most frames are older than 200 ms and are not shown; people are now detected in one frame of 2, "
        "if need be in one of 8"
    ]
    assert rig.session.drops.before_output < 50
    rig.cost_ms = 20
    rig.run()
    assert rig.session.slowed_to is None
    assert rig.said[1:] == ["in time again: people are detected in every frame"]
    assert rig.detector.seen[-3:] == [1997 % 256, 1998 % 256, 1999 % 256]


def test_what_less_detection_does_not_mend_is_told_with_the_remedy() -> None:
    rig = Rig([300] * 500, max_age_s=0.2)
    assert rig.run() == []
    assert rig.said[1:] == [
        "too slow even with detection in one frame of 8: most frames are older than 200 ms and are not shown; "
        "allow more by --max-age, or take smaller models"
    ]
