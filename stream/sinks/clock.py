"""How long each frame of a film stands on the screen."""

from __future__ import annotations

from fractions import Fraction

USUAL_RATE = Fraction(25)
"""Frames a second where the source names none: it steers the encoder's bit rate, never the time stamps."""


class FrameClock:
    """How long each frame stands: until the next one, and the last one as long as frames usually do.

    `rate` is frames a second, None where it is to be learned; durations and time stamps are in ticks of `time_base`.
    """

    def __init__(self, rate: Fraction | None, time_base: Fraction) -> None:
        self._usual = max(1, round(1 / ((rate or USUAL_RATE) * time_base)))
        self._learns = rate is None
        self._last = 0
        self._waiting: dict[int, int] = {}

    def saw(self, pts: int) -> None:
        """A frame went into the encoder."""
        if self._last in self._waiting:
            self._waiting[self._last] = pts - self._last
            if self._learns:
                self._usual = pts - self._last
        self._waiting[pts] = self._usual
        self._last = pts

    def duration(self, pts: int | None) -> int:
        """The duration, in ticks, of a frame that comes out of the encoder."""
        return self._waiting.pop(pts, self._usual) if pts is not None else self._usual

    def stretch(self, pts: int) -> None:
        """Let a frame that is still in the encoder stand until the end."""
        self._waiting[pts] = self.end - pts

    @property
    def end(self) -> int:
        """When the last frame ends, in ticks."""
        return self._last + self._usual
