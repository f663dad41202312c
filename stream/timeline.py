"""The time line of a source: pts always there and always rising, over all its connections."""

from __future__ import annotations

from fractions import Fraction

_RESET_S = 1
"""A step back by more seconds than this is a new beginning of the clock, by less a fault of one frame."""
_JUMP_S = 10
"""A step by so many seconds more than really passed is a jump of the clock of a live source."""


class Timeline:
    """Gives every frame a pts, in ticks of `time_base` since `origin`, greater than the one before.

    Time stamps that rise are kept exactly. One that is missing is a frame's duration after the last, one that repeats
    or steps back a little is a tick after it; where the clock starts again, the time line goes on from the last frame.
    An `origin` of None stands for the first time stamp that comes.
    """

    def __init__(self, time_base: Fraction, interval_s: Fraction, origin: int | None) -> None:
        self._time_base = time_base
        self._interval = max(1, round(interval_s / time_base))
        self._reset = round(_RESET_S / time_base)
        self._origin = origin
        self._last: int | None = None

    @property
    def origin_s(self) -> Fraction:
        """The moment of the source's own clock at which the time line begins, as of the last frame."""
        return (self._origin or 0) * self._time_base

    def place(self, stamp: int | None, duration: int) -> int:
        """The pts of the next frame, from its time stamp and duration (0: unknown) in ticks."""
        if self._last is None:
            if self._origin is None:
                self._origin = stamp
            pts = 0 if stamp is None else stamp - (self._origin or 0)
        else:
            pts = self._follow(self._last, stamp, duration)
        self._last = pts
        return pts

    def _follow(self, last: int, stamp: int | None, duration: int) -> int:
        if stamp is None:
            return last + (duration or self._interval)
        pts = stamp - (self._origin or 0)
        if pts > last:
            return pts
        if last - pts <= self._reset:
            return last + 1
        following = last + (duration or self._interval)
        self._origin = stamp - following
        return following


class JoinedTimeline:
    """The times of one connection after another as one time line, in ticks of `time_base`, that always rises.

    The first connection keeps its times. Each later one goes on from the last frame by the time that really passed, and
    keeps its own steps. A clock that jumps ahead is another connection.

    A frame may arrive late, as what a server sends at once on connecting, or what waited for a time-out: when a frame
    was sent is told by the one of its connection that was the least late.
    """

    def __init__(self, time_base: Fraction) -> None:
        self._time_base = time_base
        self._offset: int | None = 0
        self._last_pts: int | None = None
        self._sent_ns = 0  # when the last frame was sent, by the clock of arrivals
        self._ahead_ns = 0  # how much the connection runs ahead, as its first frame was taken to be on time
        self._lateness_ns: tuple[int, int] | None = None  # of the first frame and the least; their difference counts
        self._last: tuple[int, int] | None = None  # time and arrival of the last frame of this connection

    def begin_connection(self) -> None:
        """The next frame is the first one of another connection."""
        was_joined = self._offset != 0
        first_ns, least_ns = self._lateness_ns or (0, 0)
        self._ahead_ns = first_ns - least_ns if was_joined else 0  # else it would add up over the connections
        self._offset = self._lateness_ns = self._last = None

    def place(self, time_s: Fraction, arrived_ns: int) -> int:
        """The pts of a frame at `time_s` of its connection, which arrived at `arrived_ns` of the monotonic clock."""
        ticks, time_ns = round(time_s / self._time_base), round(time_s * 10**9)
        if self._last is not None:
            last_ns, last_arrived_ns = self._last
            if (time_ns - last_ns) - (arrived_ns - last_arrived_ns) > _JUMP_S * 10**9:
                self.begin_connection()
        if self._offset is None:
            passed_s = Fraction(arrived_ns - self._sent_ns - self._ahead_ns, 10**9)
            self._offset = (self._last_pts or 0) + max(1, round(passed_s / self._time_base)) - ticks
        pts = ticks + self._offset
        if self._last_pts is not None:
            pts = max(pts, self._last_pts + 1)
        first_ns, least_ns = self._lateness_ns or (arrived_ns - time_ns, arrived_ns - time_ns)
        least_ns = min(least_ns, arrived_ns - time_ns)
        self._lateness_ns = (first_ns, least_ns)
        self._last_pts, self._sent_ns, self._last = pts, time_ns + least_ns, (time_ns, arrived_ns)
        return pts
