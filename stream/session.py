"""The loop of one run: frames in, results out, each delivered to every sink."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from engines.export import Say
from engines.images import Copies
from stream.age import AgeLimit, Drops, age_text
from stream.buffer import FrameBuffer, Taken
from stream.delivery import Delivery
from stream.feed import Feed, FeedState, State
from stream.frame import Frame
from stream.meter import Meter
from stream.pace import Change, DetectionPace
from stream.pipeline import Pipeline, Result
from stream.sinks.base import Picture, Sink
from stream.turns import Turns

ATTEND_S = 0.1
"""How often a window is attended to where no frame comes: its keys, and what it says of sources that are lost."""


class Screen(Sink, Protocol):
    """A sink that must be attended to by the thread of the session, whether frames come or not."""

    def refresh(self) -> None: ...


@dataclass(slots=True)
class Session:
    """One run, ready to go; iterate over it once.

    `notes` are lines worth telling before the first frame, `warnings` those that came up on the way, `outputs` the
    names of the outputs, without credentials, `models` says in a line which networks run. The frames of all feeds that
    are ready go through the networks together, at most `frames_a_step` of each, of one that is live the newest: so none
    crowds out another. Where that takes too long, they take turns. A frame that is older than its limit is dropped
    before detection or before the outputs. A source or an output that fails ends alone, while there are others. The
    `_shared` outputs and the `_screen` take the results of all. `copies` counts what went to a GPU and came back.
    """

    feeds: tuple[Feed, ...]
    meter: Meter
    notes: tuple[str, ...]
    outputs: tuple[str, ...]
    models: str
    _most: int
    _buffer: FrameBuffer[Frame]
    _pipeline: Pipeline
    _shared: Delivery
    _screen: Screen | None
    _stopped: threading.Event
    _limit: AgeLimit
    _pace: DetectionPace
    _turns: Turns
    _say: Say
    copies: Copies = field(default_factory=Copies)
    is_at_end: bool = False
    _raised: BaseException | None = None

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
            going_on = [(by_name[name], frame) for name, frame in taken.items if not by_name[name].is_over]
            yield from self._step(going_on)
            for name, error in taken.ended.items():
                if not by_name[name].is_over:
                    self._end(by_name[name], error)

    @property
    def frames_a_step(self) -> int:
        """How many frames of a source go through the networks together: of one that is live each at once."""
        return 1 if any(feed.is_live for feed in self.feeds) else self._most

    def _take(self) -> Taken[Frame] | None:
        """What the buffer has next; None where there is nothing yet and the screen was attended to."""
        try:
            timeout_s = None if self._screen is None else ATTEND_S
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
            if self._limit.holds_for(frame):
                self._adapt(is_late=is_late)
            if is_late:
                feed.late_before_output += 1
                late += 1
            elif not feed.is_over:
                self._deliver(feed, result)
                yield result
        if any(self._limit.holds_for(frame) for _, frame in fresh):  # files alone are never late
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
        """Hand a result to the outputs of its source, to those for all, and to the screen."""
        picture: Picture | None = None
        if self._screen is not None or feed.outputs.needs_picture or self._shared.needs_picture:
            with self.meter.stage("draw"):
                picture = feed.painter.paint(result)
        with self.meter.stage("output"):
            errors = [*feed.write(result, picture), *self._shared.write(result, picture)]
            if self._screen is not None:
                self._screen.write(result, picture)
        self.meter.saw(result)
        for error in errors:
            self._lose_output(error)

    def _lose_output(self, error: Exception) -> None:
        """An output has failed: sources that have none left end by it; raises it where that is all of them."""
        going = [feed for feed in self.feeds if not feed.is_over]
        heard = [feed for feed in going if self._is_heard(feed)]
        if going and not heard and not self._stopped.is_set():
            self._raised = error
            raise error
        for feed in going:
            if feed not in heard:
                self._buffer.close(feed.name)
                feed.interrupt()
                self._end(feed, error)
        if len(heard) == len(going):
            self._say(f"this output ends, the others go on: {error}")

    def _is_heard(self, feed: Feed) -> bool:
        """Whether the results of a source still go anywhere."""
        return feed.outputs.is_open or self._shared.is_open or self._screen is not None

    def _end(self, feed: Feed, error: BaseException | None) -> None:
        """One source is over; raises its error where no other is left to go on or has come to a good end."""
        feed.end(error, self._tell_unfinished if len(self.feeds) > 1 else None)
        if error is None or self._stopped.is_set():
            return
        others = [other.state for other in self.feeds if other is not feed]
        if all(state is State.FAILED for state in others):
            self._raised = error
            raise error
        goes_on = any(state not in (State.FAILED, State.ENDED) for state in others)
        self._say(f"source {feed.name} has failed{', the others go on' if goes_on else ''}: {error}")

    def _tell_unfinished(self, error: Exception) -> None:
        self._say(f"an output could not be finished: {error}")

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
        """What was lost or left out so far, a line each; not the error that was raised."""
        damage = [feed.damage for feed in self.feeds if feed.damage]
        failed = [f"{feed.name}: {feed.error}" for feed in self.feeds if feed.error not in (None, self._raised)]
        deliveries = (*(feed.outputs for feed in self.feeds), self._shared)
        sources = [feed.error for feed in self.feeds]
        broken = [str(error) for each in deliveries for error in each.failures if error not in (self._raised, *sources)]
        left_out = [line for each in deliveries for line in each.warnings]
        screen = () if self._screen is None else self._screen.warnings
        captures = [feed.capture for feed in self.feeds]
        hung = [f"{c.name}: still blocked in a read, left behind" for c in captures if c.abandoned]
        unseen = [f"no frame was shown: all {self.drops.total} were too old"] if self._is_unseen else []
        return (*damage, *failed, *broken, *left_out, *screen, *hung, *unseen)

    @property
    def damaged(self) -> bool:
        """Whether a source failed or could not be read whole, an output failed, or all came too late to be shown."""
        has_failures = any(each.failures for each in (*(feed.outputs for feed in self.feeds), self._shared))
        return has_failures or self._is_unseen or any(feed.damage or feed.error is not None for feed in self.feeds)

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
