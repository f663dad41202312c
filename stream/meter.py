"""How long things take and how many there were, in constant memory however long the run."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from stream.pipeline import Result

SHORTEST_S = 1e-6
BIN_RATIO = 1.02
"""Bins grow by 2 %, so a percentile is right to 1 %."""
BINS = 1200
"""1.02 ** 1200 spans 1 microsecond to five hours."""
RECENT_S = 2.0
"""Over how long the rate of a source that is watched is counted."""


class Histogram:
    """Durations in logarithmic bins."""

    def __init__(self) -> None:
        self.count = 0
        self.total_s = 0.0
        self.latest_s = 0.0
        self._bins = np.zeros(BINS, np.int64)

    def add(self, duration_s: float) -> None:
        """Count one duration."""
        position = int(np.log(max(duration_s, SHORTEST_S) / SHORTEST_S) / np.log(BIN_RATIO))
        self._bins[min(position, BINS - 1)] += 1
        self.count += 1
        self.total_s += duration_s
        self.latest_s = duration_s

    def percentile_s(self, percent: float) -> float:
        """The duration that `percent` of 100 do not exceed, to 1 %; 0 where none was counted."""
        if self.count == 0:
            return 0.0
        position = int(np.searchsorted(np.cumsum(self._bins), self.count * percent / 100))
        return float(SHORTEST_S * BIN_RATIO ** (min(position, BINS - 1) + 0.5))


@dataclass(frozen=True, slots=True)
class StageTime:
    """What one stage took per call."""

    name: str
    calls: int
    median_ms: float
    p95_ms: float
    total_s: float


class SourceMeter:
    """Counts the frames of one source that were shown, the people in them, and `identities` that came up.

    `age` is that of frames when they were handed to the outputs. One thread counts; any may read.
    """

    def __init__(self) -> None:
        self.started_ns = time.monotonic_ns()
        self.first_ns: int | None = None
        self.last_ns = self.started_ns
        self.frames = 0
        self.people = 0
        self.people_now = 0
        self.identities = 0
        self.age = Histogram()
        self._shown: dict[str, bytearray] = {}
        self._recent: deque[int] = deque()

    def saw(self, result: Result) -> None:
        """Count a result that has reached its sinks."""
        self.last_ns = time.monotonic_ns()
        self.first_ns = self.first_ns or self.last_ns
        self.frames += 1
        self.people_now = len(result.tracks.ids)
        self.people += self.people_now
        self.age.add((self.last_ns - result.frame.captured_ns) / 1e9)
        self._recent.append(self.last_ns)
        while self._recent[0] < self.last_ns - RECENT_S * 1e9:
            self._recent.popleft()
        if result.frame.still:
            return
        shown = self._shown.setdefault(result.frame.source_id, bytearray())
        for identity in result.tracks.ids.tolist():
            shown.extend(bytes(max(0, identity + 1 - len(shown))))
            self.identities += not shown[identity]
            shown[identity] = 1

    @property
    def fps(self) -> float:
        """Frames a second from the first result to the last."""
        if self.frames < 2 or self.first_ns is None or self.last_ns == self.first_ns:
            return 0.0
        return (self.frames - 1) / ((self.last_ns - self.first_ns) / 1e9)

    def fps_now(self, now_ns: int) -> float:
        """Frames a second over the last `RECENT_S`, or since the first frame where that is less."""
        if self.first_ns is None:
            return 0.0
        since_ns = max(now_ns - round(RECENT_S * 1e9), self.first_ns)
        count = sum(seen_ns > since_ns for seen_ns in self._recent.copy())  # a copy is made in one step
        return count / ((now_ns - since_ns) / 1e9) if now_ns > since_ns else 0.0


class Meter(SourceMeter):
    """Counts one run, of all its sources. A stage belongs to one thread and shares nothing with others.

    `age_at` tells the age of frames when an output had taken them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._stages: dict[str, Histogram] = {}
        self._ages: dict[str, Histogram] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what is done inside."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.stages_of(name).add(time.perf_counter() - begun)

    def stages_of(self, name: str) -> Histogram:
        """The histogram of one stage, made at its first use."""
        return self._stages.setdefault(name, Histogram())

    def age_at(self, output: str) -> Histogram:
        """The histogram of frame ages at the end of one output, made at its first use."""
        return self._ages.setdefault(output, Histogram())

    def stages(self) -> list[StageTime]:
        """Every stage in the order of first use."""
        return [
            StageTime(name, h.count, h.percentile_s(50) * 1e3, h.percentile_s(95) * 1e3, h.total_s)
            for name, h in self._stages.items()
        ]
