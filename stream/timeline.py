"""The time line of a source: pts always there and always rising."""

from __future__ import annotations

from fractions import Fraction

_RESET_S = 1
"""A step back by more seconds than this is a new beginning of the clock, by less a fault of one frame."""


class Timeline:
    """Gives every frame a pts, in ticks of `time_base` since `origin`, greater than the one before.

    Time stamps that rise are kept exactly. One that is missing is a frame's duration after the last, one that repeats
    or steps back a little is a tick after it; where the clock starts again, the time line goes on from the last frame.
    An `origin` of None stands for the first time stamp that comes.
    """

    def __init__(self, time_base: Fraction, interval_s: Fraction, origin: int | None) -> None:
        self._interval = max(1, round(interval_s / time_base))
        self._reset = round(_RESET_S / time_base)
        self._origin = origin
        self._last: int | None = None

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
