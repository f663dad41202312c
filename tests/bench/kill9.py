"""What is left of recordings when the program is killed with -9: a film of each kind, and records.

    python tests/bench/kill9.py --kills 50

Each run records the test device in all containers at once, and is killed at a random moment after its first frame. A
file's lost tail is the time from the kill back to the arrival of the last frame that can be read in it; what the file
holds is decoded whole. Prints median, 95th percentile and worst, how many files had no frame yet when the kill came in
their first second, and how many were broken.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import av
import numpy as np

ROOT = Path(__file__).parents[2]
CONTAINERS = ("mp4", "mov", "mkv", "webm", "ts")
START_S = 60.0
"""The longest time that a run may take to its first frame."""
FIRST_S = 1.0
"""A film that is younger when the run is killed may hold no frame yet."""
LOOK_EVERY_S = 0.02


@dataclass(frozen=True, slots=True)
class Tail:
    """What can be read of a recording: its frames, and the seconds from the last of them to the kill."""

    frames: int
    lost_s: float


def killed_run(folder: Path, delay_s: float, *, flags: Sequence[str] = (), rate: int = 25) -> float:
    """Record `out` in all containers and as JSONL, and kill the run so long after its first frame; UTC of the kill."""
    with recorder(folder, *flags, source=f"lavfi:testsrc2=size=640x360:rate={rate},realtime") as process:
        try:
            give_up_at = time.monotonic() + START_S
            while not any(path.stat().st_size for path in folder.glob("out*.jsonl")):
                if process.poll() is not None or time.monotonic() > give_up_at:
                    process.kill()  # it would record for ever
                    raise RuntimeError(f"no frame came: {process.communicate()[0]}")
                threading.Event().wait(LOOK_EVERY_S)
            threading.Event().wait(delay_s)
        finally:
            process.kill()
            killed_s = time.time()
    return killed_s


def recorder(folder: Path, *flags: str, source: str) -> subprocess.Popen[str]:
    """The program, recording `source` in all containers and as JSONL."""
    outputs = [word for ending in (*CONTAINERS, "jsonl") for word in ("-o", str(folder / f"out.{ending}"))]
    command = [sys.executable, str(ROOT / "run.py"), "-s", source, *outputs, *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def records(folder: Path) -> list[dict[str, Any]]:
    """The rows of all JSONL files, each of which must be valid up to its last whole line."""
    lines = [line for path in sorted(folder.glob("out*.jsonl")) for line in path.read_text().splitlines(keepends=True)]
    return [json.loads(line) for line in lines if line.endswith("\n")]


def tail_of(folder: Path, ending: str, killed_s: float, rows: Sequence[dict[str, Any]]) -> Tail | None:
    """What can be read of the files of one container; None where there is nothing, or one but the last is broken."""
    counts = [frames_in(path) for path in sorted(folder.glob(f"out*.{ending}"))]
    frames = sum(counts)
    if not frames or not all(counts[:-1]):
        return None
    arrived = datetime.fromisoformat(rows[min(frames, len(rows)) - 1]["utc"])
    return Tail(frames, killed_s - arrived.timestamp())


def frames_in(path: Path) -> int:
    """How many frames a file has, up to its end or to where it was cut off; their times must rise."""
    count, last = 0, -1.0
    with suppress(av.error.InvalidDataError, av.error.EOFError), av.open(str(path)) as film:
        for frame in film.decode(video=0):
            if frame.time <= last:
                raise RuntimeError(f"{path}: time goes back from {last} to {frame.time}")
            count, last = count + 1, frame.time
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--longest", type=float, default=6.0, help="seconds from the first frame to the kill, at most")
    parser.add_argument("--rate", type=int, default=25, help="frames a second")
    parser.add_argument("flags", nargs="*", help="more flags of the program, after --")
    args = parser.parse_args()
    draw = np.random.default_rng(0)
    lost: dict[str, list[float]] = {ending: [] for ending in CONTAINERS}
    early, broken = dict.fromkeys(CONTAINERS, 0), dict.fromkeys(CONTAINERS, 0)
    for _ in range(args.kills):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            killed_s = killed_run(folder, draw.uniform(0.0, args.longest), flags=args.flags, rate=args.rate)
            rows = records(folder)
            for ending in CONTAINERS:
                tail = tail_of(folder, ending, killed_s, rows)
                if tail is None:
                    age_s = killed_s - datetime.fromisoformat(rows[0]["utc"]).timestamp()
                    counts = broken if age_s > FIRST_S else early
                    counts[ending] += 1
                else:
                    lost[ending].append(tail.lost_s)
    for ending, tails_s in lost.items():
        p50, p95, worst = np.percentile(tails_s, (50, 95, 100))
        print(f"{ending:5} n={len(tails_s):3}  lost p50 {p50:.2f}  p95 {p95:.2f}  worst {worst:.2f} s  "
              f"no frame yet: {early[ending]}  broken: {broken[ending]}")  # fmt: skip


if __name__ == "__main__":
    main()
