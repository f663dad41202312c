"""How old a frame of a live source may be when it is shown."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from stream.frame import Frame


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """What is promised of a live source.

    With the `policy` latest the newest frame wins where frames come faster than they can be worked on; with every none
    is lost, and its age grows. Of files every frame is shown.

    A frame older than `max_age_s`, counted from the arrival of its packet, is dropped and never shown; None promises
    nothing. Where most frames are too old, detection runs less and less often, down to every `slowest_detection`-th
    frame; an interval that is asked for by detect.every and longer stays as it is.
    """

    max_age_s: float | None = None
    slowest_detection: int = 8
    policy: Literal["latest", "every"] = "latest"

    def __post_init__(self) -> None:
        if self.max_age_s is not None and not (math.isfinite(self.max_age_s) and self.max_age_s > 0):
            raise ValueError(f"max_age_s must be above 0, got {self.max_age_s}; write for example 0.2")
        if self.max_age_s is not None and self.policy == "every":
            raise ValueError("the policy every shows all frames, and max_age_s drops some; leave one of them out")
        if self.slowest_detection < 1:
            raise ValueError(f"slowest_detection must be 1 or more, got {self.slowest_detection}")


@dataclass(frozen=True, slots=True)
class Drops:
    """Frames of live sources that were not shown, by cause.

    Those that gave way to a `newer` one, and those older than promised before detection and before the output.
    """

    newer: int = 0
    before_detection: int = 0
    before_output: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.newer + self.before_detection + self.before_output

    def __add__(self, other: Drops) -> Drops:
        return Drops(
            self.newer + other.newer,
            self.before_detection + other.before_detection,
            self.before_output + other.before_output,
        )


class AgeLimit:
    """Tells how old frames are and whether that is too old; without `max_age_s` nothing is, nor are still pictures.

    `clock` gives the monotonic time in nanoseconds, that of `captured_ns`. Any thread may ask.
    """

    def __init__(self, max_age_s: float | None = None, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.max_age_s = max_age_s
        self._clock = clock
        self._spared: set[str] = set()

    def spare(self, source_id: str) -> None:
        """From now on the frames of this source, which is not live, may be of any age."""
        self._spared.add(source_id)

    def now_s(self) -> float:
        """Seconds on the clock."""
        return self._clock() / 1e9

    def age_s(self, frame: Frame) -> float:
        """Seconds since the frame's packet arrived."""
        return (self._clock() - frame.captured_ns) / 1e9

    def holds_for(self, frame: Frame) -> bool:
        """Whether anything is promised of the frame."""
        return not (self.max_age_s is None or frame.still or frame.source_id in self._spared)

    def is_late(self, frame: Frame) -> bool:
        """Whether the frame is older than promised."""
        return self.max_age_s is not None and self.holds_for(frame) and self.age_s(frame) > self.max_age_s


def age_text(age_s: float) -> str:
    """An age as people write it: `200 ms`, from a second on `1.5 s`."""
    return f"{age_s:g} s" if age_s >= 1 else f"{age_s * 1e3:g} ms"
