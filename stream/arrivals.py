"""When the packets of a live stream arrived: FFmpeg hands them over later, and says nothing of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from stream.source import StreamError

P = TypeVar("P")

_WAIT_NS = 10_000_000
"""A read that took so long waited for the network: threads of Python keep one another waiting for half of it."""
_WAITS = 3
"""So many reads in a row that waited show that nothing lies in a queue; a busy machine may make one or two look so."""
_DRIFT = 200e-6
"""The clock of a camera is off by less than this share: crystals are good to 100 parts in a million, and so is ours."""
_JUMP_NS = 10_000_000_000
"""A step of the stream's own time by more is a new beginning of its clock."""
_FIRST, _FIRST_NS = 600, 1_000_000_000
"""No more packets than these, and for no longer, are collected at first; a stream that is waited for has far fewer."""


@dataclass(frozen=True, slots=True)
class Read:
    """A packet as it was read: its own time (None: unknown), when it was in hand, and how long that took."""

    time_ns: int | None
    at_ns: int
    took_ns: int

    @property
    def waited(self) -> bool:
        """Whether nothing was there to be read before."""
        return self.took_ns >= _WAIT_NS


class Arrivals:
    """Tells when each packet of one connection arrived, on the clock by which it was read.

    Two things come between. A parser that knows the end of a picture only by the beginning of the next holds
    `held_back` packets: each arrived, or began to, when the one so many before it was in hand. And where packets are
    read more slowly than they come, they lie in a queue: what was read without waiting for it arrived when its own time
    says, counted from a packet that was on time. Nothing arrived before the connection was `opened_ns`.
    """

    def __init__(self, opened_ns: int, held_back: int = 0) -> None:
        self._opened_ns = opened_ns
        self._before: deque[Read] = deque(maxlen=held_back + 1)
        self._waits = 0
        self._lateness_ns: int | None = None  # of a packet that is on time: its arrival less its own time
        self._last_ns: int | None = None  # the last packet's own time

    def begin(self, reads: list[Read]) -> list[int]:
        """When the first packets arrived: those read without waiting, and the one that was waited for.

        They lay there while the stream was looked into; the last of them has only just come.
        """
        arrived = [self.stamp(read) for read in reads]
        for i, (read, later) in reversed(list(enumerate(pairwise(reads)))):
            if read.time_ns is not None and later.time_ns is not None:
                between_ns = min(max(later.time_ns - read.time_ns, 0), _JUMP_NS)
                arrived[i] = min(arrived[i], arrived[i + 1] - between_ns)
            else:
                arrived[i] = min(arrived[i], arrived[i + 1])
        return [max(each_ns, self._opened_ns) for each_ns in arrived]

    def stamp(self, read: Read) -> int:
        """When the packet arrived that was just read."""
        self._before.append(read)
        first = self._before[0]
        self._waits = self._waits + 1 if first.waited else 0
        return self._line_up(read.time_ns, first.at_ns)

    def _line_up(self, time_ns: int | None, at_ns: int) -> int:
        """The moment on the line of the stream's own time, where a queue may have held the packet up until `at_ns`."""
        last_ns, self._last_ns = self._last_ns, time_ns
        if time_ns is None:
            return at_ns
        lateness_ns = at_ns - time_ns
        if self._lateness_ns is not None and last_ns is not None and self._waits < _WAITS:
            step_ns = time_ns - last_ns
            if 0 <= step_ns <= _JUMP_NS:
                lateness_ns = min(lateness_ns, self._lateness_ns + round(_DRIFT * step_ns))
        self._lateness_ns = lateness_ns
        return time_ns + lateness_ns


def arriving(reads: Iterator[tuple[P, Read]], arrivals: Arrivals) -> Iterator[tuple[P, int]]:
    """Each packet of a connection, with when it arrived.

    The first ones, which lay there, are collected until one is waited for: only that one tells how old they are.
    """
    packets: list[P] = []
    first: list[Read] = []
    try:
        for packet, read in reads:
            packets.append(packet)
            first.append(read)
            if read.waited or len(first) >= _FIRST or read.at_ns - first[0].at_ns > _FIRST_NS:
                break
    except StreamError:
        yield from zip(packets, arrivals.begin(first), strict=True)
        raise
    yield from zip(packets, arrivals.begin(first), strict=True)
    for packet, read in reads:
        yield packet, arrivals.stamp(read)
