"""The loop of one run: frames in, results out, each delivered to every sink."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from engines.export import Say
from engines.results import Image
from stream.age import AgeLimit, Drops, age_text
from stream.buffer import FrameBuffer
from stream.capture import Capture
from stream.frame import Frame
from stream.meter import Meter
from stream.pace import Change, DetectionPace
from stream.pipeline import Pipeline, Result
from stream.render import Style, draw
from stream.sinks.base import Picture, Sink
from stream.sinks.writer import QUEUE
from stream.source import Source, SourceInfo


@dataclass(slots=True)
class Session:
    """One run, ready to go; iterate over it once.

    `notes` are lines worth telling before the first frame, `warnings` those that came up on the way. At most
    `frames_a_step` frames of a source go through the networks together. A frame that is older than its limit is dropped
    before detection or before the outputs.
    """

    infos: tuple[SourceInfo, ...]
    meter: Meter
    notes: tuple[str, ...]
    frames_a_step: int
    _sources: tuple[Source, ...]
    _captures: tuple[Capture, ...]
    _buffer: FrameBuffer[Frame]
    _pipeline: Pipeline
    _sinks: tuple[Sink, ...]
    _painter: Painter
    _stopped: threading.Event
    _limit: AgeLimit
    _pace: DetectionPace
    _say: Say
    is_at_end: bool = False
    _late_before_detection: int = 0
    _late_before_output: int = 0

    def __iter__(self) -> Iterator[Result]:
        """Every result after it has reached every sink, until the sources end or the session is stopped."""
        for capture in self._captures:
            capture.start()
        while not self._stopped.is_set():
            if not (frames := self._buffer.get(self.frames_a_step)):
                self.is_at_end = not self._stopped.is_set()
                return
            fresh = [frame for frame in frames if not self._limit.is_late(frame)]
            self._drop(before_detection=len(frames) - len(fresh))
            for result in self._pipeline.step(fresh) if fresh else ():
                if self._limit.is_late(result.frame):
                    self._drop(before_output=1)
                    continue
                self._adapt(is_late=False)
                self._deliver(result)
                yield result

    def _drop(self, *, before_detection: int = 0, before_output: int = 0) -> None:
        """Count frames that are too old to be shown."""
        self._late_before_detection += before_detection
        self._late_before_output += before_output
        for _ in range(before_detection + before_output):
            self._adapt(is_late=True)

    def _adapt(self, *, is_late: bool) -> None:
        """Let one more frame, which was or was not too old, set the pace of detection."""
        change = self._pace.saw(is_late, self._limit.now_s())
        self._pipeline.detect_every = self._pace.every
        if change is not None and self._limit.max_age_s is not None:
            self._say(_told(change, self._pace, age_text(self._limit.max_age_s)))

    def _deliver(self, result: Result) -> None:
        picture = None
        if any(sink.needs_picture for sink in self._sinks):
            with self.meter.stage("draw"):
                picture = self._painter.paint(result)
        with self.meter.stage("output"):
            for sink in self._sinks:
                sink.write(result, picture if sink.needs_picture else None)
        self.meter.saw(result)

    def stop(self) -> None:
        """End the run after the frame at hand; what was written is finished. May be called in a signal handler."""
        self._stopped.set()
        # Not here and now: the thread that a signal interrupts may hold the buffer's lock half-way through a change.
        threading.Thread(target=self._buffer.abandon, name="stop").start()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was lost or left out so far, a line each."""
        damage = [source.damage for source in self._sources if source.damage]
        sinks = [line for sink in self._sinks for line in sink.warnings]
        hung = [f"{c.name}: still blocked in a read, left behind" for c in self._captures if c.abandoned]
        unseen = [f"no frame was shown: all {self.drops.total} were too old"] if self._is_unseen else []
        return (*damage, *sinks, *hung, *unseen)

    @property
    def damaged(self) -> bool:
        """Whether a source could not be read whole, or all of it came too late to be shown."""
        return self._is_unseen or any(source.damage for source in self._sources)

    @property
    def _is_unseen(self) -> bool:
        return self.meter.frames == 0 and self.drops.total > self.drops.newer

    @property
    def drops(self) -> Drops:
        """The frames that were not shown."""
        newer = sum(self._buffer.dropped(info.source_id) for info in self.infos)
        return Drops(newer, self._late_before_detection, self._late_before_output)

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


class Painter:
    """Draws results on buffers of its own, which it uses again once no sink can hold them any more."""

    def __init__(self, style: Style) -> None:
        self._style = style
        self._canvases: list[Image] = []
        self._next = 0

    def paint(self, result: Result) -> Picture:
        """The picture of a result; valid until QUEUE + 3 more were painted."""
        canvas = self._canvas(result.frame.image.shape)
        if self._style.background == "video":
            np.copyto(canvas, result.frame.image)
        return Picture(canvas, draw(canvas, result, self._style))

    def _canvas(self, shape: tuple[int, ...]) -> Image:
        if not self._canvases or self._canvases[0].shape != shape:
            self._canvases = [np.empty(shape, np.uint8) for _ in range(QUEUE + 3)]
        self._next = (self._next + 1) % len(self._canvases)
        return self._canvases[self._next]
