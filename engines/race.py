"""How much faster one way to run a network is than another, in turns, so that a busy machine slows both."""

from __future__ import annotations

import time
from typing import Final

from engines.backends.base import Backend
from engines.cards import InputSpec, Task
from engines.guard import noise
from engines.verdict import Lap

ROWS: Final[dict[Task, tuple[int, ...]]] = {"detect": (1,), "pose": (1, 8)}
"""Batches that are timed: one frame a step, one person and a group."""
LEAST_ROUNDS, MOST_ROUNDS = 3, 30
SECONDS: Final = 0.6
"""Of a lap, once it had its least rounds."""


def race(own: Backend, other: Backend, spec: InputSpec, rows: int) -> Lap:
    """The best time of each over a batch of so many rows; the best, as all that disturbs makes it longer."""
    batch = noise(spec, rows)
    for backend in (own, other):  # the first run of a shape makes its buffers
        backend.infer(batch)
    best = [float("inf"), float("inf")]
    begun = time.perf_counter()
    for done in range(MOST_ROUNDS):
        if done >= LEAST_ROUNDS and time.perf_counter() - begun > SECONDS:
            break
        for lane, backend in enumerate((own, other)):
            start = time.perf_counter()
            backend.infer(batch)
            best[lane] = min(best[lane], time.perf_counter() - start)
    return Lap(rows, 1000 * best[0], 1000 * best[1])
