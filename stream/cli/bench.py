"""How fast a clip goes through, stage by stage, and how much of that is bare work."""

from __future__ import annotations

import argparse
import os
import platform
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.table import Table

from stream.bench import Efficiency, measure
from stream.bench_smoothing import MIN_SPEEDS, PACES, around, price, references, without_pictures
from stream.build import open_session
from stream.cli.bench_gpu import print_gpu_bench
from stream.cli.models import PIPED_WIDTH
from stream.cli.play import add_model_flags, config_of
from stream.cli.summary import stage_table
from stream.config import Config


def add_parser(commands: Any) -> None:
    """Add `bench`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "bench",
        help="time the stages on a clip, or the networks on a GPU",
        description="Runs a clip file to file, then its decode, inference and encode alone on the same frames. "
        "Efficiency is the time of the three alone over the time of the run. Without a clip, with --device cuda:0: the "
        "speed of HRNet-W32, W48, YOLOX-s and m on that GPU, against its matrix rate and memory bandwidth. With "
        "--smoothing: how far smoothed poses lag behind, and how much of their jitter is gone.",
    )
    parser.add_argument("clip", nargs="?", help="a video file")
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="measure N times, tell all (1)")
    parser.add_argument("--no-encode", action="store_true", help="write records instead of a video")
    parser.add_argument("--smoothing", action="store_true", help="the price of smoothing on the clip instead")
    add_model_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    if args.rounds < 1:
        raise ValueError(f"--rounds must be 1 or more, got {args.rounds}")
    config = config_of(args)
    models = config.models
    if args.clip is None and not models.device.startswith("cuda"):
        raise ValueError(f"nothing to time: name a clip, or --device cuda:0 for the networks, got {models.device}")
    if args.smoothing and args.clip is None:
        raise ValueError("nothing to smooth: name a clip")
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    console.print(
        f"machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        soft_wrap=True,
    )
    if args.clip is None:
        print_gpu_bench(console, models.device, "fp16" if models.precision == "auto" else models.precision)
        return 0
    if args.smoothing:
        print_smoothing(console, args.clip, config)
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


def print_smoothing(console: Console, clip: str, config: Config) -> None:
    """What the setting does to the poses of a clip, and one that follows faster and one that is steadier."""
    bare = replace(config, source=(clip,), output=(), show=False, smooth="off", angles=False)
    with open_session(bare) as session:
        results = without_pictures(session)
    joints = references(results, config.smoothing.min_score)
    prices = [price(results, joints, options) for options in around(config.smoothing)]
    frames = sum(len(joint.frames) for joint in joints)
    title = f"{frames} joints in {len(results)} frames, beside a local parabola; jitter and error in % of the height"
    table = Table(title=title, box=None, padding=(0, 1, 0, 0), header_style="bold", title_justify="left")
    slow, usual, fast = PACES
    paces = (f"slow ({slow:g}-{usual:g}/s)", f"usual (-{fast:g}/s)", "fast")
    for name in ("min_cutoff_hz", "beta", "lag ms", *paces, "jitter", "less by", "error"):
        table.add_column(name, justify="right")
    first = prices[0]
    table.add_row("off", "", "0", "0", "0", "0", f"{first.raw_jitter:.2f}", "0 %", f"{first.raw_error:.2f}")
    for each in prices:
        lags = ("-" if lag != lag else f"{lag:.0f}" for lag in (each.lag_ms, *each.lags_ms))
        table.add_row(
            f"{each.options.min_cutoff_hz:g}", f"{each.options.beta:g}", *lags,
            f"{each.jitter:.2f}", f"{100 * each.reduction:.0f} %", f"{each.error:.2f}",
        )  # fmt: skip
    console.print(table)
    console.print(f"paces in heights a second; - is a pace with fewer than {MIN_SPEEDS} joints", markup=False)
