"""One source read by one thread into one slot of a buffer."""

from __future__ import annotations

import threading
from types import TracebackType

from stream.buffer import FrameBuffer
from stream.frame import Frame
from stream.source import Source, StreamError

JOIN_TIMEOUT_S = 10.0
"""How long a stopped thread may take: longer than the read time-outs of the sources, which end a blocked read."""


class Capture:
    """Owns a source and reads it, from `start` on, on a thread of its own; leaving the context ends both."""

    def __init__(self, source: Source, buffer: FrameBuffer[Frame], slot: str) -> None:
        self._source = source
        self._buffer = buffer
        self._slot = slot
        # A daemon, because FFmpeg may hang inside C, and a program that was told to stop must end all the same.
        self._thread = threading.Thread(target=self._read, name=f"capture {slot}", daemon=True)

    def __enter__(self) -> Capture:
        return self

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._buffer.abandon()
        if self._thread.ident is not None:
            self._thread.join(JOIN_TIMEOUT_S)
        if self._thread.is_alive():
            if error is None:
                raise StreamError(
                    f"thread '{self._thread.name}' still reads {JOIN_TIMEOUT_S:.0f} s after it was told to stop"
                )
            return
        self._source.close()

    def _read(self) -> None:
        error: BaseException | None = None
        try:
            for frame in self._source.frames():
                if not self._buffer.put(self._slot, frame):
                    break
        except Exception as caught:  # noqa: BLE001 - not handled here, but handed to the reader, who raises it
            error = caught
        self._buffer.close(self._slot, error)
