"""What a run came to, on one screen."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stream.config import Config
from stream.meter import StageTime
from stream.session import Session


def print_summary(session: Session, config: Config) -> None:
    """Print frames, people, identities, speed, the time of each stage and where the outputs are."""
    console = Console(highlight=False)
    meter = session.meter
    people = meter.people / max(meter.frames, 1)
    still = session.infos[0].still
    figures = Table.grid(padding=(0, 2))
    figures.add_row("frames", f"{meter.frames}" + (f" ({session.dropped} dropped)" if session.infos[0].live else ""))
    figures.add_row("people", f"{meter.people} ({people:.1f} a frame)")
    if not still:
        figures.add_row("identities", str(meter.identities))
    figures.add_row("speed", f"{meter.fps:.1f} fps")
    # The oldest frames of a file are those that waited for the models to load.
    percents = (50, 95, 99) if session.infos[0].live else (50, 95)
    ages = " / ".join(f"{meter.age.percentile_s(percent) * 1e3:.0f}" for percent in percents)
    figures.add_row("frame age", f"{ages} ms ({' / '.join(f'p{percent}' for percent in percents)})")
    for output in config.output:
        figures.add_row("output", Text(str(Path(output)), overflow="fold"))
    console.print(figures)
    console.print(stage_table(meter.stages()))


def stage_table(stages: Iterable[StageTime]) -> Table:
    """Calls, median and 95th percentile of each stage."""
    table = Table(box=None, pad_edge=False)
    for name in ("stage", "calls", "median ms", "p95 ms"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for stage in stages:
        table.add_row(Text(stage.name), str(stage.calls), f"{stage.median_ms:.2f}", f"{stage.p95_ms:.2f}")
    return table
