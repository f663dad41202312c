"""When the frames of a file are due on a screen, and how many frames a second come."""

from __future__ import annotations

from collections import deque

RATE_S = 1.0
"""Over how long frames a second are counted."""
SLACK_S = 0.5
"""A file that is behind by less makes up for it; by more, it goes on from where it is."""


class Pace:
    """When the frames of a file are due, so that it plays no faster than it was taken."""

    def __init__(self) -> None:
        self._start_s: float | None = None
        self._last_s = 0.0

    def due(self, media_s: float, now_s: float) -> float:
        """The time on the clock of `now_s` at which the frame of media time `media_s` is to be shown."""
        if self._start_s is None or media_s < self._last_s or now_s - (self._start_s + media_s) > SLACK_S:
            self._start_s = now_s - media_s
        self._last_s = media_s
        return self._start_s + media_s

    def restart(self) -> None:
        """Take the next frame as due at once."""
        self._start_s = None


class Rate:
    """Frames a second over the last `RATE_S`."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def count(self, now_s: float) -> float:
        """Count a frame; the rate up to now, 0 for the first."""
        self._times.append(now_s)
        while len(self._times) > 2 and now_s - self._times[0] > RATE_S:
            self._times.popleft()
        span_s = now_s - self._times[0]
        return (len(self._times) - 1) / span_s if span_s > 0 else 0.0
