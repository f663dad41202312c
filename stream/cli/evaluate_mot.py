"""`run.py eval mot`: how well identities last on MOTChallenge sequences."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from stream.build import open_pipeline
from stream.build_pipeline import box_tracker
from stream.cli.models import PIPED_WIDTH
from stream.cli.play import add_model_flags, config_of
from stream.cli.score_table import mot_table
from stream.config import Config
from stream.mot import (
    MotRow,
    MotSequence,
    kept_frames,
    read_results,
    read_sequence,
    replay,
    rows_of,
    run_pictures,
    score,
)
from tracker.results import Tracks

Found = Iterable[tuple[int, Tracks]]


def add_parser(parser: argparse.ArgumentParser) -> None:
    """Fill the parser of `eval mot`."""
    parser.set_defaults(evaluate=run)
    parser.add_argument("sequences", nargs="+", type=Path, metavar="SEQUENCE",
                        help="a MOTChallenge folder: gt/gt.txt, det/det.txt, img1/, seqinfo.ini")  # fmt: skip
    parser.add_argument("--boxes", action="append", metavar="WHICH",
                        help="det (det.txt replayed), detector (the networks on the pictures), or a file of "
                        "results, as out.mot.txt, to be scored as it is; repeatable (what there is)")  # fmt: skip
    parser.add_argument("--fps", type=Fraction, metavar="RATE", help="frames a second (seqinfo.ini's, else 25)")
    parser.add_argument("--drop", type=float, default=0.0, metavar="SHARE",
                        help="of the frames, by chance, as a slow machine drops them (0)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of that chance (0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the scores")
    parser.add_argument("--overwrite", action="store_true", help="write over what is there")
    add_model_flags(parser)
    # Scores are compared from machine to machine, and no network may give way to another within a sequence.
    parser.set_defaults(**{"models.precision": "fp32"})


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Score, print, and return what is written as JSON."""
    if not 0 <= args.drop < 1:
        raise ValueError(f"--drop must be a share from 0 to under 1, got {args.drop}")
    config = config_of(args)
    sequences = [read_sequence(folder, args.fps) for folder in args.sequences]
    names = [sequence.name for sequence in sequences]
    if len(set(names)) < len(names):
        raise ValueError(f"sequences must have names of their own, got {', '.join(names)}")
    frames = {sequence.name: kept_frames(sequence, args.drop, args.seed) for sequence in sequences}
    rows: list[MotRow] = []
    notes: dict[str, None] = {}
    for which in args.boxes or _what_there_is(sequences):
        found, about = _found(which, sequences, frames, config)
        notes |= dict.fromkeys(about)
        rows += score({s.name: (s, frames[s.name], found[s.name]) for s in sequences}, Path(which).name)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    for note in notes:
        console.print(note, markup=False, soft_wrap=True)
    console.print(mot_table(rows))
    rates = {sequence.name: float(sequence.rate) for sequence in sequences}
    return {
        "drop": args.drop,
        "seed": args.seed,
        "fps": rates,
        "models": list(notes),
        "rows": [asdict(row) for row in rows],
    }


def _what_there_is(sequences: Sequence[MotSequence]) -> list[str]:
    kinds = {"det": all(s.detections for s in sequences), "detector": all(s.pictures for s in sequences)}
    there = [kind for kind, is_there in kinds.items() if is_there]
    if not there:
        raise ValueError("the sequences have neither det/det.txt nor pictures all of them; name --boxes")
    return there


def _found(
    which: str, sequences: Sequence[MotSequence], frames: dict[str, list[int]], config: Config
) -> tuple[dict[str, list[tuple[float, ...]]], list[str]]:
    """The rows of results of each sequence, and what is to be said of the models."""
    if which == "det":
        return _each(sequences, frames, lambda s, own: replay(s, box_tracker(config), own)), []
    if which == "detector":
        with open_pipeline(config) as (pipeline, notes):
            return _each(sequences, frames, lambda s, own: run_pictures(s, pipeline, own)), list(notes)
    if len(sequences) > 1:
        raise ValueError(f"a file of results is of one sequence, got {len(sequences)}")
    (sequence,) = sequences
    return {sequence.name: read_results(Path(which), frames[sequence.name])}, []


def _each(
    sequences: Sequence[MotSequence],
    frames: dict[str, list[int]],
    follow: Callable[[MotSequence, Iterable[int]], Found],
) -> dict[str, list[tuple[float, ...]]]:
    """The rows of every sequence, with a progress bar on a terminal."""
    console = Console(stderr=True)
    found = {}
    for sequence in sequences:
        own = track(
            frames[sequence.name], sequence.name, console=console, transient=True, disable=not console.is_terminal
        )
        found[sequence.name] = rows_of(follow(sequence, own))
    return found
