"""The networks' speed on a GPU as a table: `run.py bench --device cuda:0`, without a clip.

`python -m stream.cli.bench_gpu --device cuda:0` does the same where neither PyAV nor pydantic is installed.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from rich.console import Console

from engines.backends.base import EngineError
from stream.bench_gpu import Speed, by_torch, ceilings_of, device_words, speeds, subjects

if TYPE_CHECKING:
    from engines.nets.roofline import Ceilings

PRECISIONS = ("fp16", "bf16")
HEADER = (
    f"{'network':<10}{'batch':>6}{'ms':>9}{'p95':>9}{'waited':>9}"
    f"{'a second':>10}{'TFLOP/s':>9}{'least ms':>10}{'share':>7}"
)
LEGEND = (
    "ms and p95: the GPU's own time for a batch; waited: the host's until the answer is there; a second: crops or"
    " pictures; least: per layer the larger of its arithmetic and its bytes by the two ceilings, summed; share: least"
    " by ms"
)


def print_gpu_bench(console: Console, device: str, precision: str) -> None:
    """Measure the two ceilings of a GPU, then each network, and print a line for each batch when it is measured.

    Raises EngineError where there is no such GPU, ValueError for a precision whose numbers have not 16 bits.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be {' or '.join(PRECISIONS)} on a GPU's bench, got {precision}")
    console.print(f"{device_words(device)}; random weights, {precision}, torch with CUDA graphs", soft_wrap=True)
    ceilings = ceilings_of(device)
    console.print(ceilings_text(ceilings), soft_wrap=True)
    console.print(HEADER, style="bold")
    for speed in speeds(subjects(), ceilings, by_torch(device, precision)):
        console.print(speed_text(speed), soft_wrap=True)
    console.print(LEGEND)


def ceilings_text(ceilings: Ceilings) -> str:
    """Both ceilings in the units of data sheets."""
    rate, bandwidth = ceilings.rate / 1e12, ceilings.bandwidth / 1e12
    return f"ceilings, measured now: {rate:.0f} TFLOP/s (matrices in fp16), {bandwidth:.2f} TB/s (a copy, both ways)"


def speed_text(speed: Speed) -> str:
    """A line under HEADER."""
    return (
        f"{speed.network:<10}{speed.rows:>6}{speed.median_ms:>9.3f}{speed.p95_ms:>9.3f}{speed.waited_ms:>9.3f}"
        f"{speed.per_second:>10.0f}{speed.rate / 1e12:>9.1f}{speed.least_ms:>10.3f}{speed.share:>7.0%}"
    )


def main() -> int:
    """The bench alone, for a machine that lacks what the other commands import."""
    parser = argparse.ArgumentParser(prog="python -m stream.cli.bench_gpu", description="The networks' speed on a GPU.")
    parser.add_argument("--device", default="cuda:0", metavar="D", help="cuda:0")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp16", help="of the arithmetic")
    args = parser.parse_args()
    try:
        print_gpu_bench(Console(highlight=False), args.device, args.precision)
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
