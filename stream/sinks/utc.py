"""The time of day of what arrived: moments of the monotonic clock by the system's."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

STEP_NS = 100_000_000
"""The system's clock was set where the two differ by this much more than before: 0.1 s, as chrony's `makestep`."""
_STAMP = "%Y%m%dT%H%M%S.%fZ"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _clocks() -> tuple[int, int]:
    return time.time_ns(), time.monotonic_ns()


class UtcClock:
    """Tells the UTC of moments of the monotonic clock, as exactly as the system's clock is set.

    The difference of the two is taken once, to some microseconds, so that what was a second apart stays so; where the
    system's clock is set anew by `STEP_NS` or more it is taken again. `clocks` reads both, UTC and monotonic, in
    nanoseconds. Threads may share it.
    """

    def __init__(self, clocks: Callable[[], tuple[int, int]] = _clocks) -> None:
        self._clocks = clocks
        self._ahead_ns = self._difference_ns()

    def utc_ns(self, moment_ns: int) -> int:
        """Nanoseconds since 1970, UTC."""
        ahead_ns = self._difference_ns()
        if abs(ahead_ns - self._ahead_ns) >= STEP_NS:
            self._ahead_ns = ahead_ns
        return moment_ns + self._ahead_ns

    def now_ns(self) -> int:
        """The UTC of now."""
        return self.utc_ns(self._clocks()[1])

    def _difference_ns(self) -> int:
        utc_ns, monotonic_ns = self._clocks()
        return utc_ns - monotonic_ns


def utc_text(utc_ns: int) -> str:
    """RFC 3339 to the millisecond, rounded down: 2026-11-22T21:15:00.250Z."""
    return _moment(utc_ns).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc_stamp(utc_ns: int) -> str:
    """The same for names of files, which sort by it (ISO 8601, basic): 20261122T211500.250Z."""
    return f"{_moment(utc_ns):%Y%m%dT%H%M%S}.{utc_ns // 1_000_000 % 1000:03}Z"


def utc_of_stamp(stamp: str) -> int | None:
    """What `utc_stamp` was given, to the millisecond; None for a text that is no such stamp."""
    try:
        moment = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def _moment(utc_ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=utc_ns // 1000)
