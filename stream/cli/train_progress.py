"""How far a training is: a bar with the time left, a line for each validation, and the log."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    track,
)

if TYPE_CHECKING:
    from engines.training.logs import Log
    from engines.training.loop import Figures
    from engines.training.loop import Progress as Learnt

MARKS = "validation"
"""The folder of the log of validations."""
LOGGED_EVERY = 10
"""Steps between the rows of the log; their figures are means."""


class Follower:
    """Tells of a training, and writes its log; `follow` hands on pictures under a bar."""

    def __init__(self, console: Console, *, is_quiet: bool) -> None:
        self._console = console
        self._is_quiet = is_quiet
        self._bar: Progress | None = None
        self._logs: tuple[Log, Log] | None = None
        self._sums: dict[str, float] = {}
        self._count = 0
        self._marks = ""

    def say(self, line: str) -> None:
        """Print a line."""
        if not self._is_quiet:
            self._console.print(line, markup=False, soft_wrap=True)

    def follow(self, paths: Sequence[Path], words: str) -> Iterable[Path]:
        """Hand on the pictures one by one and show how far they are."""
        is_shown = self._console.is_terminal and not self._is_quiet
        if not is_shown:
            self.say(f"{words}: {len(paths):,} pictures")
        return track(paths, words, console=self._console, transient=True, disable=not is_shown)

    @contextmanager
    def watching(self, folder: Path, steps: int, done: int) -> Iterator[None]:
        """While open, `tell` moves the bar and writes `log.csv` and `validation/log.csv` in `folder`."""
        from engines.training.logs import Log

        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        is_shown = self._console.is_terminal and not self._is_quiet
        with ExitStack() as stack:
            if not self._is_quiet:
                self._logs = stack.enter_context(Log(folder, done)), stack.enter_context(Log(folder / MARKS, done))
            bar = Progress(*columns, TimeRemainingColumn(), console=self._console, disable=not is_shown)
            self._bar = stack.enter_context(bar)
            self._bar.add_task("", total=steps, completed=done)
            yield
        self._bar = self._logs = None

    def tell(self, progress: Learnt, figures: Figures) -> None:
        """Note the figures of a step, or of a validation."""
        if "loss" not in figures:
            self._validated(progress, figures)
            return
        for name, value in figures.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        if progress.step % LOGGED_EVERY == 0:
            means = {name: total / self._count for name, total in self._sums.items()}
            if self._logs is not None:
                self._logs[0].write(progress.step, {**means, "seconds": progress.seconds})
            self._sums, self._count = {}, 0
            self._move(progress, f"loss {means['loss']:.3f}  {self._marks}")

    def _validated(self, progress: Learnt, figures: Figures) -> None:
        names = {name.removeprefix("val/"): value for name, value in figures.items()}
        self._marks = f"score {names['score']:.3f} (best {progress.best:.3f})"
        words = ", ".join(f"{name} {value:.4f}" for name, value in names.items())
        best = "  best" if progress.best_step == progress.step else ""
        self.say(f"step {progress.step:,}, {_time(progress.seconds)}: {words}{best}")
        if self._logs is not None:
            self._logs[1].write(progress.step, {**names, "seconds": progress.seconds})

    def _move(self, progress: Learnt, words: str) -> None:
        if self._bar is not None:
            task = self._bar.tasks[0]
            self._bar.update(task.id, completed=progress.step, description=words)


def _time(seconds: float) -> str:
    minutes, rest = divmod(math.floor(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
