"""One source read by one thread into one slot of a buffer."""

from __future__ import annotations

import threading
from types import TracebackType

from stream.buffer import FrameBuffer
from stream.frame import Frame
from stream.source import Source

JOIN_TIMEOUT_S = 1.5
"""How long a stopped thread may take; whoever pressed Ctrl-C does not wait for a silent network to time out."""


class Capture:
    """Owns a source and reads it, from `start` on, on a thread of its own; leaving the context ends both.

    A thread that FFmpeg keeps inside C beyond the time-out is `abandoned`, its source left open.
    """

    def __init__(self, source: Source, buffer: FrameBuffer[Frame], slot: str) -> None:
        self._source = source
        self._buffer = buffer
        self._slot = slot
        self.abandoned = False
        # A daemon, because FFmpeg may hang inside C, and a program that was told to stop must end all the same.
        self._thread = threading.Thread(target=self._read, name=f"capture {slot}", daemon=True)

    @property
    def name(self) -> str:
        """The name of the thread."""
        return self._thread.name

    def __enter__(self) -> Capture:
        return self

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the thread and close the source; the buffer's reader wants no more of any source."""
        self._buffer.abandon()
        if self._thread.ident is not None:
            self._thread.join(JOIN_TIMEOUT_S)
        self.abandoned = self._thread.is_alive()
        if not self.abandoned:
            self._source.close()

    def _read(self) -> None:
        error: BaseException | None = None
        try:
            for frame in self._source.frames():
                if not self._buffer.put(self._slot, frame):
                    break
        except Exception as caught:  # noqa: BLE001 - not handled here, but handed to the reader, who raises it
            error = caught
        finally:
            self._buffer.close(self._slot, error)
