"""A thread around a slow sink, so that encoding and estimating go on side by side."""

from __future__ import annotations

import threading

from stream.buffer import FrameBuffer
from stream.meter import Meter
from stream.pipeline import Result
from stream.sinks.base import Picture, Sink

QUEUE = 3
"""Frames that may wait: enough to even out the encoder's slow frames, few enough to stop within a moment."""


class Writer:
    """Passes everything on to a sink on a thread of its own; an error of the sink is raised at the next call.

    Whoever writes waits while `QUEUE` frames wait: nothing is dropped.
    """

    def __init__(self, sink: Sink, name: str, meter: Meter) -> None:
        self.needs_picture = sink.needs_picture
        self._sink = sink
        self._name = name
        self._meter = meter
        self._queue: FrameBuffer[tuple[Result, Picture | None]] = FrameBuffer([name], QUEUE, drop_oldest=False)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"writer {name}")

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those of the sink."""
        return self._sink.warnings

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

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self) -> None:
        try:
            while items := self._queue.get():
                for result, picture in items:
                    with self._meter.stage(f"write {self._name}"):
                        self._sink.write(result, picture)
        except Exception as error:  # noqa: BLE001 - not handled here, but raised in whoever writes next
            self._error = error
            self._queue.abandon()
