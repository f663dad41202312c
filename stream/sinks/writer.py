"""A thread around a slow sink, so that encoding and estimating go on side by side."""

from __future__ import annotations

import threading

from stream.age import AgeLimit, age_text
from stream.buffer import FrameBuffer
from stream.meter import Meter
from stream.pipeline import Result
from stream.sinks.base import Picture, Sink

QUEUE = 3
"""Frames that may wait: enough to even out the encoder's slow frames, few enough to stop within a moment."""


class Writer:
    """Passes everything on to a sink on a thread of its own; an error of the sink is raised at the next call.

    Whoever writes waits while `QUEUE` frames wait: nothing is dropped, but for frames that grew older than `limit`
    while they waited.
    """

    def __init__(self, sink: Sink, name: str, meter: Meter, limit: AgeLimit | None = None) -> None:
        self.needs_picture = sink.needs_picture
        self._sink = sink
        self._name = name
        self._meter = meter
        self._limit = limit or AgeLimit()
        self._late = 0
        self._queue: FrameBuffer[tuple[Result, Picture | None]] = FrameBuffer([name], QUEUE, drop_oldest=False)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"writer {name}")

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those of the sink, and how many frames it did not get."""
        if not self._late or self._limit.max_age_s is None:
            return self._sink.warnings
        frames, age = "1 frame" if self._late == 1 else f"{self._late} frames", age_text(self._limit.max_age_s)
        return (*self._sink.warnings, f"{self._name}: {frames} left out, older than {age} in its queue")

    def write(self, result: Result, picture: Picture | None) -> None:
        """Queue one result; the picture must not be written to afterwards."""
        if self._thread.ident is None:  # Not before: whoever breaks off while outputs are opened leaves no thread.
            self._thread.start()
        if not self._queue.put(self._name, (result, picture)):
            self._raise()

    def close(self, *, failed: bool = False) -> None:
        """Write what is queued, then finish the output."""
        self._queue.close(self._name)
        if self._thread.ident is not None:
            self._thread.join()
        try:
            self._raise()
        finally:
            self._sink.close(failed=failed)

    def _write(self, result: Result, picture: Picture | None) -> None:
        if self._limit.is_late(result.frame):
            self._late += 1
            return
        with self._meter.stage(f"write {self._name}"):
            self._sink.write(result, picture)
        self._meter.age_at(self._name).add(self._limit.age_s(result.frame))

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self) -> None:
        try:
            while items := self._queue.get():
                for result, picture in items:
                    self._write(result, picture)
        except Exception as error:  # noqa: BLE001 - not handled here, but raised in whoever writes next
            self._error = error
            self._queue.abandon()
