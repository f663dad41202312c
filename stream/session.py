"""The loop of one run: frames in, results out, each delivered to every sink."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from engines.export import Say
from stream.age import AgeLimit, Drops, age_text
from stream.buffer import FrameBuffer, Taken
from stream.feed import Feed, FeedState, State
from stream.frame import Frame
from stream.meter import Meter
from stream.pace import Change, DetectionPace
from stream.pipeline import Pipeline, Result
from stream.sinks.base import Sink
from stream.turns import Turns

REFRESH_S = 0.1
"""How often a window is attended to where no frame comes: its keys, and what it says of sources that are lost."""


class Screen(Protocol):
    """What must be attended to by the thread of the session, whether frames come or not."""

    def refresh(self) -> None: ...


@dataclass(slots=True)
class Session:
    """One run, ready to go; iterate over it once.

    `notes` are lines worth telling before the first frame, `warnings` those that came up on the way, `outputs` the
    names of the outputs, without credentials. The frames of all feeds that are ready go through the networks together,
    at most `frames_a_step` of each, of one that is live the newest: so none crowds out another. Where that takes too
    long, they take turns. A frame that is older than its limit is dropped before detection or before the outputs. A
    source that fails ends alone, while there are others. The `_shared` sinks take the results of all.
    """

    feeds: tuple[Feed, ...]
    meter: Meter
    notes: tuple[str, ...]
    outputs: tuple[str, ...]
    _most: int
    _buffer: FrameBuffer[Frame]
    _pipeline: Pipeline
    _shared: tuple[Sink, ...]
    _screen: Screen | None
    _stopped: threading.Event
    _limit: AgeLimit
    _pace: DetectionPace
    _turns: Turns
    _say: Say
    is_at_end: bool = False

    def __iter__(self) -> Iterator[Result]:
        """Every result after it has reached every sink, until the sources end or the session is stopped."""
        for feed in self.feeds:
            feed.capture.start()
        by_name = {feed.name: feed for feed in self.feeds}
        while not self._stopped.is_set():
            taken = self._take()
            if taken is None:
                continue
            if not taken.items and not taken.ended:
                self.is_at_end = not self._stopped.is_set()
                return
            yield from self._step([(by_name[name], frame) for name, frame in taken.items])
            for name, error in taken.ended.items():
                self._end(by_name[name], error)

    @property
    def frames_a_step(self) -> int:
        """How many frames of a source go through the networks together: of one that is live each at once."""
        return 1 if any(feed.is_live for feed in self.feeds) else self._most

    def _take(self) -> Taken[Frame] | None:
        """What the buffer has next; None where there is nothing yet and the screen was attended to."""
        try:
            timeout_s = None if self._screen is None else REFRESH_S
            return self._buffer.take(self.frames_a_step, timeout_s, slots=self._turns.sources_a_step)
        except TimeoutError:
            if self._screen is not None:
                self._screen.refresh()
            return None

    def _step(self, taken: Sequence[tuple[Feed, Frame]]) -> Iterator[Result]:
        fresh = []
        for feed, frame in taken:
            if self._limit.is_late(frame):
                feed.late_before_detection += 1
                self._adapt(is_late=True)
            else:
                fresh.append((feed, frame))
        results = self._pipeline.step([frame for _, frame in fresh]) if fresh else []
        late = 0
        for (feed, frame), result in zip(fresh, results, strict=True):
            is_late = self._limit.is_late(frame)
            self._adapt(is_late=is_late)
            if is_late:
                feed.late_before_output += 1
                late += 1
                continue
            self._deliver(feed, result)
            yield result
        self._turns.saw(len({feed.name for feed, _ in fresh}), late)
        if self._screen is not None:
            self._screen.refresh()

    def _adapt(self, *, is_late: bool) -> None:
        """Let one more frame, which was or was not too old, set the pace of detection."""
        change = self._pace.saw(is_late, self._limit.now_s())
        self._pipeline.detect_every = self._pace.every
        if change is not None and self._limit.max_age_s is not None:
            self._say(_told(change, self._pace, age_text(self._limit.max_age_s)))

    def _deliver(self, feed: Feed, result: Result) -> None:
        picture = None
        if feed.needs_picture or any(sink.needs_picture for sink in self._shared):
            with self.meter.stage("draw"):
                picture = feed.painter.paint(result)
        with self.meter.stage("output"):
            feed.write(result, picture)
            for sink in self._shared:
                sink.write(result, picture if sink.needs_picture else None)
        self.meter.saw(result)

    def _end(self, feed: Feed, error: BaseException | None) -> None:
        """One source is over; raises its error where no other is left to go on or has come to a good end."""
        others = [other for other in self.feeds if other is not feed]
        feed.end(error)
        if error is None:
            return
        if all(other.state is State.FAILED for other in others):
            raise error
        self._say(f"source {feed.name} has failed, the others go on: {error}")

    def stop(self) -> None:
        """End the run after the frame at hand; what was written is finished. May be called in a signal handler."""
        self._stopped.set()
        # Not here and now: the thread that a signal interrupts may hold the buffer's lock half-way through a change.
        threading.Thread(target=self._buffer.abandon, name="stop").start()

    def states(self) -> tuple[FeedState, ...]:
        """How it stands with each source; any thread may ask."""
        return tuple(feed.snapshot() for feed in self.feeds)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was lost or left out so far, a line each."""
        damage = [feed.damage for feed in self.feeds if feed.damage]
        failed = [f"{feed.name}: {feed.error}" for feed in self.feeds if feed.error is not None]
        sinks = [line for feed in self.feeds for sink in feed.sinks for line in sink.warnings]
        shared = [line for sink in self._shared for line in sink.warnings]
        captures = [feed.capture for feed in self.feeds]
        hung = [f"{c.name}: still blocked in a read, left behind" for c in captures if c.abandoned]
        unseen = [f"no frame was shown: all {self.drops.total} were too old"] if self._is_unseen else []
        return (*damage, *failed, *sinks, *shared, *hung, *unseen)

    @property
    def damaged(self) -> bool:
        """Whether a source failed or could not be read whole, or all came too late to be shown."""
        return self._is_unseen or any(feed.damage or feed.error is not None for feed in self.feeds)

    @property
    def _is_unseen(self) -> bool:
        return self.meter.frames == 0 and self.drops.total > self.drops.newer

    @property
    def drops(self) -> Drops:
        """The frames that were not shown."""
        return sum((feed.drops for feed in self.feeds), Drops())

    @property
    def slowed_to(self) -> int | None:
        """Of how many frames people are detected in one, where that is fewer than was asked for; else None."""
        return self._pace.every if self._pace.is_slowed else None


def _told(change: Change, pace: DetectionPace, age: str) -> str:
    """What is said of a change of pace, in one line."""
    if change is Change.SLOWER:
        return (
            f"too slow: most frames are older than {age} and are not shown; people are now detected in one frame of "
            f"{pace.every}, if need be in one of {pace.slowest}"
        )
    if change is Change.TOO_SLOW:
        return (
            f"too slow even with detection in one frame of {pace.every}: most frames are older than {age} and are not "
            "shown; allow more by --max-age, or take smaller models"
        )
    return f"in time again: people are detected in {'every frame' if pace.every == 1 else f'one frame of {pace.every}'}"
