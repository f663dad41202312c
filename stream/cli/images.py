"""`run.py images`: a folder of pictures in; boxes, cuts, poses and drawings out, in one go or in two steps."""

from __future__ import annotations

import argparse
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress
from rich.table import Table
from rich.text import Text

from stream.cli.images_flags import both_parser, detect_parser, options_of, pose_parser
from stream.cli.play import EXIT_OF_SIGNAL, Live
from stream.cli.summary import stage_table
from stream.folder.build import FolderOptions, Folders, open_workflow
from stream.folder.experiment import Experiment, read_experiment
from stream.folder.workflow import Outcome, Workflow

STEPS = ("detect", "pose")
FAILED = 1
"""Exit code where a picture failed; the others are done."""
NAMED = 20
"""How many pictures that failed are named before the rest is only counted."""


def add_parser(commands: Any) -> None:
    """Add `images`, which parses its words itself: what follows may be a step or a folder."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "images", help="a folder of pictures: boxes, cuts, poses, drawings", add_help=False, prefix_chars="\0"
    )
    parser.add_argument("words", nargs=argparse.REMAINDER)


def run(args: argparse.Namespace) -> int:
    """Go through the folder; 0 where every picture is done, 1 where one failed."""
    words: list[str] = args.words
    step = words[0] if words and words[0] in STEPS else None
    if step == "detect":
        return _detect(detect_parser().parse_args(words[1:]))
    if step == "pose":
        return _pose(pose_parser().parse_intermixed_args(words[1:]))
    return _both(both_parser().parse_intermixed_args(words))


def _both(args: argparse.Namespace) -> int:
    root = Path(args.folder)
    file = args.cfg or _only_experiment(root)
    experiment = read_experiment(file, args.overrides)
    folders = Folders(
        images=f"{args.folder.rstrip('/') or args.folder}/images",
        annots=root / "annots",
        cuts=root / "cuts",
        inspect=root / "inspect",
        final=root / "final",
        output=root / "output",
    )
    return _go(folders, options_of(args), experiment)


def _detect(args: argparse.Namespace) -> int:
    folders = Folders(args.image_folder, args.annot_folder, args.cut_folder, args.inspect_folder)
    return _go(folders, options_of(args), None)


def _pose(args: argparse.Namespace) -> int:
    experiment = read_experiment(args.cfg, args.overrides)
    named = {name: getattr(experiment, name) for name in ("images", "annots", "cuts", "final")}
    for name, folder in named.items():
        if not folder:
            raise ValueError(f"{args.cfg}: DATASET.{name.upper()} is missing; it names a folder")
    folders = Folders(
        images=named["images"],
        annots=Path(named["annots"]),
        cuts=Path(named["cuts"]),
        final=Path(named["final"]),
        output=Path(experiment.output),
    )
    return _go(folders, options_of(args), experiment)


def _only_experiment(root: Path) -> Path | None:
    """The experiment file in a folder; ValueError where there are several."""
    files = sorted(file for file in root.glob("*.y*ml") if file.suffix in (".yaml", ".yml"))
    if len(files) > 1:
        raise ValueError(f"{root}: {files[0].name} and {files[1].name}: which experiment? Name it with --cfg")
    return files[0] if files else None


@dataclass(slots=True)
class _Count:
    """What came of a run so far."""

    done: int = 0
    people: int = 0
    left_out: int = 0
    passed: int = 0
    failed: list[str] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        self.done += outcome.state == "done"
        self.passed += outcome.state == "finished before"
        self.people += outcome.people
        self.left_out += outcome.left_out
        if outcome.state == "failed":
            self.failed.append(f"{outcome.picture.given}: {outcome.fault}")


def _go(folders: Folders, options: FolderOptions, experiment: Experiment | None) -> int:
    """Run, under a progress bar, and sum up."""
    console = Console(stderr=True, highlight=False)

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True, style="yellow" if line.startswith("warning") else None)

    for warning in experiment.warnings if experiment is not None else ():
        say(f"warning: {warning}")
    count = _Count()
    with _ended_by_sigterm(), open_workflow(folders, options, experiment, say) as workflow:
        begun = time.perf_counter()
        try:
            _follow(workflow, count, console)
        finally:
            _sum_up(workflow, folders, count, time.perf_counter() - begun)
    if count.left_out:
        say(f"warning: {count.left_out} boxes were left out: their cuts are not in {folders.cuts}")
    if not count.failed:
        return 0
    for line in count.failed[:NAMED]:
        say(f"error: {line}")
    rest = len(count.failed) - NAMED
    more = f", {rest} more than are named" if rest > 0 else ""
    say(f"error: {len(count.failed)} of {len(workflow.pictures)} pictures failed{more}")
    return FAILED


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """While open, SIGTERM ends the run as Ctrl-C does: what went through the networks is written."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(EXIT_OF_SIGNAL[signal.Signals(number)])

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _follow(workflow: Workflow, count: _Count, console: Console) -> None:
    bar = Progress(BarColumn(), MofNCompleteColumn(), Live(), console=console, transient=True)
    with closing(iter(workflow)) as outcomes, bar as progress:
        task = progress.add_task("", total=len(workflow.pictures))
        for outcome in outcomes:
            count.add(outcome)
            failed = f"  {len(count.failed)} failed" if count.failed else ""
            progress.update(task, advance=1, live=f"{count.people} people{failed}  {outcome.picture.path.name}")


def _sum_up(workflow: Workflow, folders: Folders, count: _Count, seconds: float) -> None:
    """Print pictures, people, speed, stages and where the files are."""
    console = Console(highlight=False)
    figures = Table.grid(padding=(0, 2))
    others = [f"{count.passed} finished before"] if count.passed else []
    others += [f"{len(count.failed)} failed"] if count.failed else []
    figures.add_row("pictures", f"{count.done}" + (f" ({', '.join(others)})" if others else ""))
    figures.add_row("people", f"{count.people} ({count.people / max(count.done, 1):.1f} a picture)")
    figures.add_row("speed", f"{count.done / max(seconds, 1e-9):.1f} pictures a second")
    written: Sequence[Path | None] = (folders.final, workflow.posing.files.output if workflow.posing else None)
    if folders.inspect is not None:
        written = (folders.annots, folders.cuts, folders.inspect, *written)
    for folder in written:
        if folder is not None:
            figures.add_row("output", Text(str(folder), overflow="fold"))
    console.print(figures)
    console.print(stage_table(workflow.meter.stages()))
