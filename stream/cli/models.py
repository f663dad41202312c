"""`run.py models`: the catalogue, fetching from it, checkpoints made ONNX, and models in lower precisions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, get_args

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from engines.backends.base import CHECKPOINTS
from engines.cards import Accuracy
from engines.catalog import EMBEDDED, Catalog, FoundModel, Model
from engines.download import fetch
from engines.export import ExportOptions, Precision, export_found, put_export
from engines.shelf import kept_verdicts
from engines.transfer import Offer
from engines.wording import card_words, size_words
from stream.cli import models_build

PIPED_WIDTH = 250
"""Columns where nobody looks at a screen: one line for each model."""
LEGEND = (
    "AP: COCO AP, of 80 classes or of key points in detected boxes; person: AP of people's boxes; gt-box: AP of key"
    " points in ground-truth boxes; PCKh: of MPII's joints. By the authors; * measured by us. ~ is about how large, ?"
    " is guessed when opened. Checkpoints (HRNet, .pth .pt .weights) become ONNX on first use, which takes torch."
)


def add_parser(subparsers: Any) -> None:
    """Add `models` to the commands of the parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "models",
        help="list the models, fetch one, make a checkpoint an ONNX, build one in a lower precision",
        description="List the models, fetch some, make checkpoints ONNX files, or build models in a lower precision.",
    )
    parser.set_defaults(run=run, action="list")
    actions = parser.add_subparsers(dest="action", metavar="list|fetch|export|build")
    actions.add_parser("list", help="what is known, and where it is (the default)")
    fetching = actions.add_parser("fetch", help="download models, go on with what was cut short, verify them")
    fetching.add_argument("names", nargs="+", metavar="NAME", help="as `models list` calls it")
    fetching.add_argument("--to", type=Path, metavar="FOLDER", help="another folder than the user's cache")
    exporting = actions.add_parser("export", help="make checkpoints ONNX files, checked against torch; takes torch")
    exporting.add_argument("names", nargs="+", metavar="NAME|PATH", help="of the catalogue, or .pth .pt .weights")
    exporting.add_argument("--precision", choices=get_args(Precision), default="fp32", help="of the weights (fp32)")
    exporting.add_argument("--size", type=_size, metavar="HxW", help="of the input (the network's own)")
    exporting.add_argument("--cfg", type=Path, metavar="FILE", help="darknet's description (that beside the weights)")
    exporting.add_argument("--to", type=Path, metavar="FOLDER", help="put NAME.onnx and its card there, too")
    models_build.add_parser(actions)


def run(args: argparse.Namespace) -> int:
    """Do what `models` was asked for; 0, or an error on the way out."""
    catalog = Catalog.load()
    if args.action == "fetch":
        models = [catalog.find(name) for name in args.names]
        for model in models:
            _fetch(model, args.to or catalog.cache, elsewhere=args.to is not None)
    elif args.action == "export":
        options = ExportOptions(args.size, args.precision, args.cfg)
        for found in [catalog.locate(name) for name in args.names]:
            _export(found, catalog.cache, options, args.to)
    elif args.action == "build":
        models_build.run(args, catalog)
    else:
        _list(catalog)
    return 0


def _list(catalog: Catalog) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    ours = {EMBEDDED: "embedded", catalog.cache: "cache"}
    folders = dict.fromkeys(model.path.parent for model in catalog.models if model.path is not None)
    places = {folder: f"({i})" for i, folder in enumerate((f for f in folders if f not in ours), 1)} | ours
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("name", overflow="fold")
    for column in ("task", "input", "licence"):
        table.add_column(column, no_wrap=True)
    table.add_column("MB", justify="right", no_wrap=True)
    table.add_column("accuracy", no_wrap=True)
    table.add_column("where", no_wrap=True)
    for model in catalog.models:
        where = places[model.path.parent] if model.path is not None else "fetch"
        table.add_row(*_row(model), where, style=None if model.path is not None else "dim")
    console.print(table)
    console.print()
    for folder, label in places.items():
        hint = "; fetch: python run.py models fetch NAME" if folder == catalog.cache else ""
        console.print(f"{label}: {_short(folder)}{hint}", markup=False, soft_wrap=True)
    for fault in catalog.faults.values():
        console.print(f"not read: {fault}", markup=False, soft_wrap=True)
    for name, verdict in kept_verdicts(catalog.cache):
        console.print(f"{name}: {verdict}", markup=False, soft_wrap=True)
    console.print(LEGEND)


def _row(model: Model) -> list[str]:
    """Name, task, input, licence, size and accuracy of a model as far as they are known."""
    card = model.card
    about = card.source.megabytes if card is not None and card.source is not None else None
    if model.path is not None:
        size = _megabytes(model.path.stat().st_size / 1e6)
    else:
        size = f"~{_megabytes(about)}" if about is not None else "?"
    if card is None:
        return [model.name, "?", "?", "?", size, "?"]
    accuracy = _accuracy(card.accuracy) if card.accuracy is not None else "?"
    return [model.name, card.task, size_words(card.input.size), card.license or "?", size, accuracy]


def _megabytes(number: float) -> str:
    return f"{number:.1f}" if number < 10 else f"{number:.0f}"


def _accuracy(accuracy: Accuracy) -> str:
    """`AP 25.8`, in hundredths as the papers print it, a star where we measured it."""
    for name, value in (
        ("AP", accuracy.ap),
        ("person", accuracy.person_ap),
        ("gt-box", accuracy.gt_box_ap),
        ("PCKh", accuracy.pckh),
    ):
        if value is not None:
            return f"{name} {100 * value:.1f}" + ("" if accuracy.published else "*")
    return "?"


def _short(folder: Path) -> str:
    """A folder with ~ for the user's own."""
    home = Path.home()
    return f"~/{folder.relative_to(home).as_posix()}" if folder.is_relative_to(home) else str(folder)


def _fetch(model: Model, folder: Path, *, elsewhere: bool) -> None:
    console = Console(highlight=False)
    if model.path is not None and not elsewhere:
        console.print(f"{model.name}: is there already: {model.path}", markup=False, soft_wrap=True)
        return
    if model.card is None:
        console.print(f"{model.name}: has no card; copy {model.path}", markup=False, soft_wrap=True)
        return
    with _Bar(console, model.name, folder) as bar:
        fetched = fetch(model.card, folder, bar)
    console.print(f"{model.name}: {fetched.path}: {fetched.remark}", markup=False, soft_wrap=True)


def _export(found: FoundModel, cache: Path, options: ExportOptions, folder: Path | None) -> None:
    console = Console(highlight=False)
    if found.path.suffix not in CHECKPOINTS:
        raise ValueError(f"{found.path}: is no checkpoint; wanted a file that ends in {' '.join(CHECKPOINTS)}")

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    exported = export_found(found, cache, None, options, say)
    path = exported.path if folder is None else put_export(exported, folder)
    say(f"{exported.card.name}: {path}: {card_words(exported.card)}; {exported.remark}")


def _size(text: str) -> tuple[int, int]:
    """`256x192` as (height, width); `416` is a square."""
    height, by, width = text.partition("x")
    return int(height), int(width if by else height)


class _Bar:
    """Says what comes from where and how large it is, then draws a bar where somebody looks."""

    def __init__(self, console: Console, name: str, folder: Path) -> None:
        self._name = name
        self._folder = folder
        self._bar = Progress(
            BarColumn(None),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def start(self, offer: Offer) -> None:
        size = f"{offer.size / 1e6:.1f} MB" if offer.size is not None else "the server does not say how large"
        on = f", going on at {offer.have / 1e6:.1f} MB" if offer.have else ""
        line = f"{self._name}: fetching {offer.url} ({size}{on}) into {self._folder}"
        self._bar.console.print(line, markup=False, soft_wrap=True)
        self._bar.start()
        self._task = self._bar.add_task(self._name, total=offer.size, completed=offer.have)

    def advance(self, count: int) -> None:
        if self._task is not None:
            self._bar.advance(self._task, count)
