"""How fast a clip goes through, stage by stage, and how much of that is bare work."""

from __future__ import annotations

import argparse
import os
import platform
from typing import Any

from rich.console import Console

from stream.bench import Efficiency, measure
from stream.cli.play import add_model_flags, config_of
from stream.cli.summary import stage_table


def add_parser(commands: Any) -> None:
    """Add `bench`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "bench",
        help="time the stages on a clip",
        description="Runs a clip file to file, then its decode, inference and encode alone on the same frames. "
        "Efficiency is the time of the three alone over the time of the run.",
    )
    parser.add_argument("clip", help="a video file")
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="measure N times, tell all (1)")
    add_model_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    if args.rounds < 1:
        raise ValueError(f"--rounds must be 1 or more, got {args.rounds}")
    config = config_of(args)
    console = Console(highlight=False)
    console.print(
        f"machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        soft_wrap=True,
    )
    for _ in range(args.rounds):
        print_efficiency(console, measure(args.clip, config))
    return 0


def print_efficiency(console: Console, found: Efficiency) -> None:
    """One measurement on one screen."""
    for note in found.notes:
        console.print(note, markup=False, soft_wrap=True)
    console.print(stage_table(found.stages))
    parts = f"decode {found.decode_s:.2f} + inference {found.inference_s:.2f} + encode {found.encode_s:.2f}"
    console.print(f"{found.frames} frames in {found.wall_s:.2f} s: {found.fps:.1f} fps")
    console.print(f"alone: {parts} = {found.bare_s:.2f} s; efficiency {found.efficiency:.2f}")
