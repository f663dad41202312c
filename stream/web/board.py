"""The hand-over from the session to the web server: the newest result of each source, and a few for who wants all.

The session's thread pins up and goes on, whatever the other side does; the loop of the server reads. What is shared are
single assignments and a deque, each done in one step, so there is no lock.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stream.pipeline import Result

INBOX = 256
"""Results that may wait for the loop, which takes them in milliseconds: of more the oldest are lost."""
CLIENT_QUEUE = 64
"""Results that may wait for one listener."""

_NO_IMAGE = np.zeros((1, 1, 3), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Pinned:
    """A result under the name of its source; `number` counts those of the source from 1."""

    source: str
    number: int
    result: Result


@dataclass(frozen=True, slots=True)
class Told:
    """A result as a line of JSON, under the name of its source."""

    source: str
    text: str


class Listener:
    """One who wants every result; of more than `CLIENT_QUEUE` that wait the oldest are dropped and counted."""

    def __init__(self, source: str | None = None) -> None:
        self.dropped = 0
        self._source = source
        self._queue: deque[Told] = deque()
        self._has_news = asyncio.Event()

    def hear(self, told: Told) -> None:
        """Queue one result."""
        if self._source not in (None, told.source):
            return
        if len(self._queue) == CLIENT_QUEUE:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(told)
        self._has_news.set()

    async def take(self, timeout_s: float) -> Told | None:
        """The next result, None where there was none in time."""
        if not self._queue:
            self._has_news.clear()
            try:
                await asyncio.wait_for(self._has_news.wait(), timeout_s)
            except TimeoutError:
                return None
        return self._queue.popleft()


class Board:
    """Holds the newest result of each of `sources`; `to_json` writes those that are told to listeners, once for all.

    `pin` is for one thread of any kind; all else is for the loop that `attach` was given, and its thread.
    """

    def __init__(self, sources: Sequence[str], to_json: Callable[[Result], str]) -> None:
        self.sources = tuple(sources)
        self._to_json = to_json
        self._newest: dict[str, Pinned] = {}
        self._pinned_ns: dict[str, int] = {}
        self._inbox: deque[Pinned] = deque(maxlen=INBOX)
        self._listeners: set[Listener] = set()
        self._changes: dict[str, asyncio.Event] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_waking = False

    def pin(self, source: str, result: Result) -> None:
        """Make a result the newest of its source; never waits."""
        before = self._newest.get(source)
        pinned = Pinned(source, 1 if before is None else before.number + 1, result)
        self._newest[source] = pinned
        self._pinned_ns[source] = time.monotonic_ns()
        if self._listeners:
            self._inbox.append(_without_picture(pinned))
        loop = self._loop
        if loop is not None and not self._is_waking:
            self._is_waking = True
            loop.call_soon_threadsafe(self._wake)

    def newest(self, source: str) -> Pinned | None:
        """The newest result of a source, if there is one."""
        return self._newest.get(source)

    def silent_s(self, source: str, since_ns: int) -> float:
        """Seconds without a result of a source, as counted from `since_ns` before the first; any thread may ask."""
        return (time.monotonic_ns() - self._pinned_ns.get(source, since_ns)) / 1e9

    def attach(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """From now on tell this loop of what is new; None tells no more."""
        self._changes = {source: asyncio.Event() for source in self.sources}
        self._loop = loop

    async def newer(self, source: str, number: int) -> Pinned:
        """The newest result of a source, once there is one of a higher number."""
        while (pinned := self._newest.get(source)) is None or pinned.number <= number:
            await self._changes[source].wait()
        return pinned

    def add(self, listener: Listener) -> None:
        """Let a listener hear every result from now on."""
        self._listeners.add(listener)

    def remove(self, listener: Listener) -> None:
        """Let it hear no more."""
        self._listeners.discard(listener)

    def _wake(self) -> None:
        """Pass on what came since the last time."""
        self._is_waking = False  # before anything is read: what is pinned from here on wakes again
        for source, event in self._changes.items():
            if not event.is_set():
                self._changes[source] = asyncio.Event()
                event.set()
        while self._inbox:
            pinned = self._inbox.popleft()
            told = Told(pinned.source, self._to_json(pinned.result))
            for listener in self._listeners:
                listener.hear(told)


def _without_picture(pinned: Pinned) -> Pinned:
    """The same without the pixels, of which a queue would keep hundreds."""
    frame = replace(pinned.result.frame, image=_NO_IMAGE, planes=None)
    return replace(pinned, result=replace(pinned.result, frame=frame))
