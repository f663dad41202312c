"""One connection to a source: opened, read and closed by a thread of its own, which may hang without harm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

from stream.buffer import FrameBuffer
from stream.capture import Capture
from stream.frame import Frame
from stream.source import Interruptible, Source, SourceInfo, StreamError

HAND_OVER = 2
"""Frames between the thread that reads and the one that waits for it."""

Connect = Callable[[], Source]


class Link:
    """A connection that is being made; whoever made it closes it."""

    def __init__(self, connect: Connect, name: str) -> None:
        self._name = name
        self._source = _OpenedLater(connect, name)
        self._buffer: FrameBuffer[Frame] = FrameBuffer([name], HAND_OVER, drop_oldest=False)
        self._stack = ExitStack()
        self._capture = self._stack.enter_context(Capture(self._source, self._buffer, name))
        self._capture.start()

    @property
    def info(self) -> SourceInfo:
        """What is known of the source, once there was a frame."""
        return self._source.info

    @property
    def damage(self) -> str | None:
        """What could not be read, in one line; None where all was."""
        return self._source.damage

    def next(self, timeout_s: float) -> Frame | None:
        """The next frame; None at the end. Raises what opening and reading raise, and TimeoutError."""
        frames = self._buffer.get(timeout_s=timeout_s)
        return frames[0] if frames else None

    def interrupt(self) -> None:
        """Let whoever waits for a frame go, as at the end; any thread may ask."""
        self._buffer.abandon()
        self._source.interrupt()

    def close(self) -> bool:
        """End the connection; False where its thread hangs and is left behind."""
        self._source.interrupt()
        self._stack.close()
        return not self._capture.abandoned


class _OpenedLater:
    """A Source that is opened when its first frame is asked for, and closed after its last, by whoever asks."""

    def __init__(self, connect: Connect, name: str) -> None:
        self._connect = connect
        self._name = name
        self._source: Source | None = None

    @property
    def info(self) -> SourceInfo:
        if self._source is None:
            raise StreamError(f"{self._name}: nothing is known of it before it is connected")
        return self._source.info

    @property
    def damage(self) -> str | None:
        return None if self._source is None else self._source.damage

    def frames(self) -> Iterator[Frame]:
        with closing(self._connect()) as self._source:
            yield from self._source.frames()

    def interrupt(self) -> None:
        """Wake the thread that waits until a frame is due."""
        if self._source is not None and isinstance(self._source, Interruptible):
            self._source.interrupt()

    def close(self) -> None:
        pass
