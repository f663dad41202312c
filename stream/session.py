"""The loop of one run: frames in, results out, each delivered to every sink."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from engines.results import Image
from stream.buffer import FrameBuffer
from stream.capture import Capture
from stream.frame import Frame
from stream.meter import Meter
from stream.pipeline import Pipeline, Result
from stream.render import Style, draw
from stream.sinks.base import Picture, Sink
from stream.sinks.writer import QUEUE
from stream.source import Source, SourceInfo


@dataclass(slots=True)
class Session:
    """One run, ready to go; iterate over it once.

    `notes` are lines worth telling before the first frame, `warnings` those that came up on the way. At most
    `frames_a_step` frames of a source go through the networks together.
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
    is_at_end: bool = False

    def __iter__(self) -> Iterator[Result]:
        """Every result after it has reached every sink, until the sources end or the session is stopped."""
        for capture in self._captures:
            capture.start()
        while not self._stopped.is_set():
            if not (frames := self._buffer.get(self.frames_a_step)):
                self.is_at_end = not self._stopped.is_set()
                return
            for result in self._pipeline.step(frames):
                self._deliver(result)
                yield result

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
        return (*damage, *sinks, *hung)

    @property
    def damaged(self) -> bool:
        """Whether a source could not be read whole."""
        return any(source.damage for source in self._sources)

    @property
    def dropped(self) -> int:
        """Frames of live sources that gave way to newer ones."""
        return sum(self._buffer.dropped(info.source_id) for info in self.infos)


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
