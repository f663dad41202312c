"""The log of a training run: a table (CSV), and TensorBoard's events where that is installed."""

from __future__ import annotations

import csv
import importlib.util
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

TABLE = "log.csv"


class Log:
    """Figures by step, in `log.csv` of a folder; a context manager.

    A run that resumes at `step` goes on with the table it finds, without the rows of later steps, which come again; one
    that begins at 0 begins it anew. The columns are `step` and the figures of the first row.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / TABLE
        self._columns = _cut_back(self._path, step)
        self._file = self._path.open("a", encoding="utf-8", newline="")
        self._events = _open_events(folder, step)

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Add a row; it is on the disk when this returns. A figure that is left out, or is not a number, stays empty.

        Raises ValueError for a figure that has no column.
        """
        table = csv.writer(self._file, lineterminator="\n")
        if not self._columns:
            self._columns = ("step", *figures)
            table.writerow(self._columns)
        unknown = [name for name in figures if name not in self._columns]
        if unknown:
            columns = ", ".join(self._columns)
            raise ValueError(f"{self._path}: has no column {unknown[0]}, only {columns}; name all in the first row")
        known = {name: figure for name, figure in figures.items() if not math.isnan(figure)}
        table.writerow([step, *(f"{known[name]:.6g}" if name in known else "" for name in self._columns[1:])])
        self._file.flush()
        if self._events is not None:
            for name, figure in known.items():
                self._events.add_scalar(name, figure, step)

    def close(self) -> None:
        """Close the table and the events; once is enough."""
        self._file.close()
        if self._events is not None:
            self._events.close()
            self._events = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_log(file: Path) -> list[dict[str, float]]:
    """The rows of a table, without what is empty."""
    with file.open(encoding="utf-8", newline="") as lines:
        return [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(lines)]


def _cut_back(file: Path, step: int) -> tuple[str, ...]:
    """Drop the rows after `step`, and one that a kill cut short; the columns, none where there is no table."""
    lines = file.read_text(encoding="utf-8").split("\n")[:-1] if step and file.is_file() else []
    rows = list(csv.reader(lines))
    kept = [
        line
        for line, row in zip(lines[1:], rows[1:], strict=True)
        if len(row) == len(rows[0]) and row[0].isdigit() and int(row[0]) <= step
    ]
    part = file.with_name(f"{file.name}.part")
    part.write_text("".join(f"{line}\n" for line in [*lines[:1], *kept]), encoding="utf-8", newline="\n")
    os.replace(part, file)  # noqa: PTH105  # atomic, on Windows too
    return tuple(rows[0]) if rows else ()


def _open_events(folder: Path, step: int) -> SummaryWriter | None:
    """A writer of TensorBoard's events that hides those after `step`; None where it is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)
