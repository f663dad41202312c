"""What a run came to, on one screen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stream.age import Drops
from stream.config import Config
from stream.feed import FeedState
from stream.meter import Histogram, StageTime
from stream.session import Session
from stream.source import is_network


def print_summary(session: Session, config: Config) -> None:
    """Print frames, people, identities, speed, models, the time of each stage and where the outputs are."""
    console = Console(highlight=False)
    if len(session.feeds) > 1:
        console.print(feed_table(session.states()))
    meter = session.meter
    people = meter.people / max(meter.frames, 1)
    known = [feed.info for feed in session.feeds if feed.is_known]
    live = any(feed.is_live for feed in session.feeds)
    figures = Table.grid(padding=(0, 2))
    figures.add_row("frames", str(meter.frames))
    if live:
        figures.add_row("dropped", dropped_text(session.drops))
    figures.add_row("people", f"{meter.people} ({people:.1f} a frame)")
    if not all(info.still for info in known):
        figures.add_row("identities", str(meter.identities))
    figures.add_row("speed", f"{meter.fps:.1f} fps")
    # The oldest frames of a file are those that waited for the models to load.
    if not live or config.show or not session.outputs:
        figures.add_row("frame age", ages_text(meter.age, (50, 95, 99) if live else (50, 95)))
    figures.add_row("models", Text(session.models))
    for output in session.outputs:
        shown = output if is_network(output) else str(Path(output))
        figures.add_row("output", Text(shown, overflow="fold"))
        if live:  # As old as it was when this output had taken it.
            figures.add_row("  frame age", ages_text(meter.age_at(output), (50, 95, 99)))
    console.print(figures)
    console.print(stage_table(meter.stages()))


def feed_table(states: Iterable[FeedState]) -> Table:
    """A row for each source: what was shown of it, what gave way to newer frames or was too old, how it ended."""
    table = Table(box=None, pad_edge=False)
    table.add_column("source", overflow="fold")
    for name in ("frames", "ids", "newer", "old in", "old out", "age ms\np50/95/99", "losses"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for state in states:
        drops = state.drops
        counts = (state.frames, state.identities, drops.newer, drops.before_detection, drops.before_output)
        ages = "/".join(f"{age_s * 1e3:.0f}" for age_s in state.ages_s) if state.frames else "-"
        table.add_row(Text(state.name), *map(str, counts), ages, str(state.reconnects), str(state.state))
    return table


def dropped_text(drops: Drops) -> str:
    """How many frames were not shown, and why."""
    causes = (
        (drops.newer, "for newer ones"),
        (drops.before_detection, "too old before detection"),
        (drops.before_output, "too old before the output"),
    )
    parts = [f"{count} {cause}" for count, cause in causes if count]
    return f"{drops.total} ({', '.join(parts)})" if parts else "0"


def ages_text(ages: Histogram, percents: Sequence[int]) -> str:
    """Percentiles of frame ages."""
    figures = " / ".join(f"{ages.percentile_s(percent) * 1e3:.0f}" for percent in percents)
    return f"{figures} ms ({' / '.join(f'p{percent}' for percent in percents)})"


def stage_table(stages: Iterable[StageTime]) -> Table:
    """Calls, median and 95th percentile of each stage."""
    table = Table(box=None, pad_edge=False)
    for name in ("stage", "calls", "median ms", "p95 ms"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for stage in stages:
        table.add_row(Text(stage.name), str(stage.calls), f"{stage.median_ms:.2f}", f"{stage.p95_ms:.2f}")
    return table
