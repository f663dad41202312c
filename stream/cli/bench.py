"""How fast a clip goes through, stage by stage, and how much of that is bare work."""

from __future__ import annotations

import argparse
import os
import platform
from typing import Any

from rich.console import Console

from stream.bench import Efficiency, measure
from stream.cli.bench_gpu import print_gpu_bench
from stream.cli.play import add_model_flags, config_of
from stream.cli.summary import stage_table


def add_parser(commands: Any) -> None:
    """Add `bench`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "bench",
        help="time the stages on a clip, or the networks on a GPU",
        description="Runs a clip file to file, then its decode, inference and encode alone on the same frames. "
        "Efficiency is the time of the three alone over the time of the run. Without a clip, with --device cuda:0: the "
        "speed of HRNet-W32, W48, YOLOX-s and m on that GPU, against its matrix rate and memory bandwidth.",
    )
    parser.add_argument("clip", nargs="?", help="a video file")
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="measure N times, tell all (1)")
    parser.add_argument("--no-encode", action="store_true", help="write records instead of a video")
    add_model_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    if args.rounds < 1:
        raise ValueError(f"--rounds must be 1 or more, got {args.rounds}")
    config = config_of(args)
    models = config.models
    if args.clip is None and not models.device.startswith("cuda"):
        raise ValueError(f"nothing to time: name a clip, or --device cuda:0 for the networks, got {models.device}")
    console = Console(highlight=False)
    console.print(
        f"machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        soft_wrap=True,
    )
    if args.clip is None:
        print_gpu_bench(console, models.device, "fp16" if models.precision == "auto" else models.precision)
        return 0
    for _ in range(args.rounds):
        print_efficiency(console, measure(args.clip, config, encode=not args.no_encode))
    return 0


def print_efficiency(console: Console, found: Efficiency) -> None:
    """One measurement on one screen."""
    for note in found.notes:
        console.print(note, markup=False, soft_wrap=True)
    console.print(stage_table(found.stages))
    parts = f"decode {found.decode_s:.2f} + inference {found.inference_s:.2f} + encode {found.encode_s:.2f}"
    if found.copies:
        console.print(found.copies)
    console.print(f"{found.frames} frames in {found.wall_s:.2f} s: {found.fps:.1f} fps")
    console.print(f"alone: {parts} = {found.bare_s:.2f} s; efficiency {found.efficiency:.2f}")
