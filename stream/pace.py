"""How often people are detected where the machine is too slow for the age that was promised: less often, step by step.

Pure arithmetic on what happened to each frame; whoever asks passes the time.
"""

from __future__ import annotations

from enum import Enum, auto

WINDOW_S = 2.0
"""Over how long frames are judged together: a hiccup of the machine is no reason, a viewer's patience is."""
FEWEST = 4
"""Frames that a window must hold; it lasts longer where they come slowly. It begins with its first frame."""
MOST = 0.5
"""From this share of frames too old on, detection slows down."""
RARE = 0.05
"""Up to this share of frames too old a window is calm. Detection that is always late stays above it, at every 8th."""
CALM_WINDOWS = 3
"""Calm windows in a row after which detection speeds up again; twice as many after each relapse."""
MOST_CALM_WINDOWS = 300
"""No more than these, ten minutes: an overload that comes and goes must not be told of again and again."""


class Change(Enum):
    """What is worth telling of the pace."""

    SLOWER = auto()
    """Detection runs less often than usual, and will go on so step by step."""
    TOO_SLOW = auto()
    """Detection runs as seldom as it may, and most frames are too old all the same."""
    USUAL = auto()
    """Detection runs as often as was asked for again."""


class DetectionPace:
    """Says on every how many frames people are detected: on each `usual`-th, under load up to each `slowest`-th.

    The interval doubles after a window in which most frames were too old, and halves after some calm ones.
    """

    def __init__(self, usual: int, slowest: int) -> None:
        self.every = usual
        self.slowest = max(usual, slowest)
        self._usual = usual
        self._begun_s: float | None = None
        self._frames = 0
        self._late = 0
        self._calm = 0
        self._wanted_calm = CALM_WINDOWS
        self._has_sped_up = False
        self._is_too_slow = False

    @property
    def is_slowed(self) -> bool:
        """Whether people are detected less often than usual."""
        return self.every > self._usual

    def saw(self, is_late: bool, now_s: float) -> Change | None:
        """Count a frame, which was or was not too old to be shown; the change, if it is worth telling."""
        self._begun_s = now_s if self._begun_s is None else self._begun_s
        self._frames += 1
        self._late += is_late
        if self._frames < FEWEST or now_s - self._begun_s < WINDOW_S:
            return None
        share = self._late / self._frames
        self._begun_s, self._frames, self._late = None, 0, 0
        if share >= MOST:
            return self._slow_down()
        self._calm = self._calm + 1 if share <= RARE else 0
        if self._calm < self._wanted_calm or not self.is_slowed:
            return None
        return self._speed_up()

    def _slow_down(self) -> Change | None:
        self._calm = 0
        if self._has_sped_up:
            self._has_sped_up = False
            self._wanted_calm = min(2 * self._wanted_calm, MOST_CALM_WINDOWS)
        if self.every == self.slowest:
            told, self._is_too_slow = self._is_too_slow, True
            return None if told else Change.TOO_SLOW
        was_slowed = self.is_slowed
        self.every = min(2 * self.every, self.slowest)
        return None if was_slowed else Change.SLOWER

    def _speed_up(self) -> Change | None:
        self._calm = 0
        self._has_sped_up = True
        self.every = max(self.every // 2, self._usual)
        if self.is_slowed:
            return None
        self._is_too_slow = False
        return Change.USUAL
