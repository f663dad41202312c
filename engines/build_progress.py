"""How far the build of an engine is: what TensorRT tells of its phases, as one number, and the wish to end it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from engines.export import Say

LINE_S: Final = 5.0
"""Between two lines on how far a build is: what somebody who waits takes for a sign of life."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a build is: `done` from 0 to 1, the name of what goes on, and the seconds since it began.

    `done` never goes back, but one part of the whole may take most of the time.
    """

    done: float
    phase: str
    elapsed_s: float


OnProgress = Callable[[Progress], None]


def progress_lines(say: Say, label: str, every_s: float = LINE_S) -> OnProgress:
    """Tells `say` each `every_s` how far a build is: `label: 40 % after 12 s (Timing graph nodes)`."""
    told_s = 0.0

    def tell(progress: Progress) -> None:
        nonlocal told_s
        if progress.elapsed_s >= told_s + every_s:
            told_s = progress.elapsed_s
            phase = f" ({progress.phase})" if progress.phase else ""
            say(f"{label}: {progress.done:.0%} after {progress.elapsed_s:.0f} s{phase}")

    return tell


class Watch:
    """What the thread that builds tells the one that waits: how far it is; and back: that it is to stop."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self._began_s = time.monotonic()
        self._lock = threading.Lock()
        self._phases: dict[str, _Phase] = {}
        self._now = ""
        self._done = 0.0

    def begin(self, phase: str, parent: str | None, steps: int) -> None:
        with self._lock:
            self._phases[phase] = _Phase(parent, max(1, steps))
            self._now = phase

    def step(self, phase: str, step: int) -> bool:
        """Note that a step is done; False where the build is to end."""
        with self._lock:
            if phase in self._phases:
                self._phases[phase].done = step + 1
                self._done = max(self._done, self._share(phase))
        return not self.stopped.is_set()

    def end(self, phase: str) -> None:
        with self._lock:
            ended = self._phases.pop(phase, None)
            if ended is not None and self._now == phase:
                self._now = ended.parent or ""

    def progress(self) -> Progress:
        with self._lock:
            return Progress(self._done, self._now, time.monotonic() - self._began_s)

    def _share(self, phase: str) -> float:
        """The share of the whole that is done, seen from a phase: of each step of its parent as much as of itself."""
        share = 0.0
        name: str | None = phase
        while name is not None and name in self._phases:
            at = self._phases[name]
            share = min(1.0, (at.done + share) / at.steps)
            name = at.parent
        return share


@dataclass(slots=True)
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


def monitor(module: Any, watch: Watch) -> Any:
    """The library's progress monitor, which tells `watch`."""

    class Monitor(module.IProgressMonitor):  # type: ignore[misc]
        """Called from any thread; must not raise, as the library would print that and end the build."""

        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            watch.begin(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return watch.step(phase_name, step)

        def phase_finish(self, phase_name: str) -> None:
            watch.end(phase_name)

    return Monitor()
