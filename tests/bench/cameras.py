"""Several RTSP cameras at once, one of them killed now and then: ages, losses, fairness, memory.

    python tests/bench/cameras.py --seconds 600 --kill-every 30      # four of 640x360 at 5 frames a second
    python tests/bench/cameras.py --seconds 60 --rate 25             # more than two cores can do

Each camera is a GStreamer server of its own and shows one person, cut from a clip. A camera that is killed is back
after a few seconds. Prints a table with a row for each camera: frames shown of those offered, frames missing while it
was there, the most of them in one fault of another camera, ages; then how long after a fault the camera was seen
again, the fairness (Jain's index of the shares shown, R. Jain 1984), and how age and resident memory went.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from one_person import cut_people  # noqa: E402
from servers.rtsp import RtspServer  # noqa: E402

from stream.build import Models, open_models, open_session  # noqa: E402
from stream.config import Config, load_config  # noqa: E402
from stream.memory import use_few_arenas  # noqa: E402
from stream.session import Session  # noqa: E402

ASSETS = Path(os.environ.get("POSESTREAM_ASSETS", ROOT.parent / "shared" / "assets"))
WARM_S = 10.0
"""Not counted: until every camera is connected and the first batches have taken their memory."""
DOWN_S = (2.0, 6.0)
"""How long a killed camera is away."""
SETTLED_S = 5.0
"""After a camera is back: until then a loss of another is put down to its fault."""


@dataclass
class Fault:
    """A camera that was away, by the monotonic clock."""

    camera: str
    begun_ns: int
    back_ns: int


@dataclass
class Log:
    """What was seen of the frames of one camera: when they were handed out, how old they were, their time."""

    at_ns: list[int] = field(default_factory=list)
    age_s: list[float] = field(default_factory=list)
    arrived_ns: list[int] = field(default_factory=list)
    time_s: list[float] = field(default_factory=list)


def break_cameras(
    servers: dict[str, RtspServer], every_s: float, stopped: threading.Event, faults: list[Fault]
) -> None:
    """Kill one camera after another, and start it again after a while, until `stopped`."""
    draw = np.random.default_rng(0)
    names = list(servers)
    for turn in range(10**6):
        down_s = float(draw.uniform(*DOWN_S))
        if stopped.wait(every_s - (down_s if turn else 0)):
            return
        camera = names[turn % len(names)]
        begun_ns = time.monotonic_ns()
        servers[camera].kill()
        stopped.wait(down_s)
        servers[camera].start()
        faults.append(Fault(camera, begun_ns, time.monotonic_ns()))


def watch(session: Session, seconds: float, logs: dict[str, Log], memory: list[tuple[int, float]]) -> None:
    """Run for so long, and write down what comes."""
    process = psutil.Process()
    end_ns = time.monotonic_ns() + round(seconds * 1e9)
    for frames, result in enumerate(session, 1):
        now_ns = time.monotonic_ns()
        log, frame = logs[result.frame.source_id], result.frame
        log.at_ns.append(now_ns)
        log.age_s.append((now_ns - frame.captured_ns) / 1e9)
        log.arrived_ns.append(frame.captured_ns)
        log.time_s.append(frame.time)
        if frames % 50 == 0:
            memory.append((frames, process.memory_info().rss / 1e6))
        if now_ns >= end_ns:
            return


def losses(log: Log, rate: int, since_ns: int, own: Sequence[Fault]) -> list[int]:
    """When each missing frame was missed, but for those of the camera's own faults and the seconds after them."""
    missed = []
    for (at_a, time_a), (at_b, time_b) in pairwise(zip(log.at_ns, log.time_s, strict=True)):
        if at_a < since_ns or any(at_b > one.begun_ns and at_a < one.back_ns + SETTLED_S * 1e9 for one in own):
            continue
        missed += [at_b] * max(0, round((time_b - time_a) * rate) - 1)
    return missed


def recovery_s(log: Log, fault: Fault) -> float:
    """From the moment at which the camera was back to its first new frame at the output; inf where none came."""
    seen = (at for at, arrived in zip(log.at_ns, log.arrived_ns, strict=True) if arrived > fault.back_ns)
    return (next(seen, float("inf")) - fault.back_ns) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, default=ASSETS / "video" / "intel_one-by-one-person-detection.mp4")
    parser.add_argument("--detector", type=Path, default=ASSETS / "models" / "yolox_nano.onnx")
    parser.add_argument("--pose", type=Path, default=ASSETS / "models" / "tinypose_256x192_dyn.onnx")
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--rate", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--kill-every", type=float, default=0, help="seconds; 0: never")
    parser.add_argument("--max-age", type=float, default=0.4, help="seconds")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="any key of the configuration")
    args = parser.parse_args()
    use_few_arenas()  # as run.py does
    settings = [f"models.detector={args.detector}", f"models.pose={args.pose}", *args.set]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        base = load_config(None, settings, {"source": ["0"]})
        models = stack.enter_context(open_models(base.models))
        streams = cut_people(args.clip, models, args.cameras, args.rate, folder)
        servers = [stack.enter_context(RtspServer(stream, rate=args.rate)) for stream in streams]
        named = folder / "cameras.streams"
        named.write_text("".join(f"cam{i} = {server.url}\n" for i, server in enumerate(servers)))
        flags = {"source": [str(named)], "live.max_age_s": args.max_age}
        run(load_config(None, settings, flags), models, {f"cam{i}": one for i, one in enumerate(servers)}, args)


def run(config: Config, models: Models, servers: dict[str, RtspServer], args: argparse.Namespace) -> None:
    """One run on all cameras, and its figures."""
    logs = {name: Log() for name in servers}
    memory: list[tuple[int, float]] = []
    faults: list[Fault] = []
    stopped = threading.Event()
    breaker = threading.Thread(target=break_cameras, args=(servers, args.kill_every, stopped, faults))
    begun_ns = time.monotonic_ns()
    with open_session(config, models, say=print) as session:
        if args.kill_every:
            breaker.start()
        try:
            watch(session, args.seconds, logs, memory)
        finally:
            stopped.set()
            if args.kill_every:
                breaker.join()
        report(logs, memory, faults, begun_ns + round(WARM_S * 1e9), time.monotonic_ns(), args.rate)
        print("drops:", {state.name: state.drops for state in session.states()})


def report(
    logs: dict[str, Log], memory: list[tuple[int, float]], faults: list[Fault], since_ns: int, end_ns: int, rate: int
) -> None:
    """The table and the lines below it."""
    print(
        f"{'camera':8} {'offered':>8} {'shown':>6} {'missing':>8} {'in a fault':>10}   age p50    p95    p99  worst ms"
    )
    shares, ages, times_min = [], [], []
    for name, log in logs.items():
        own, others = ([one for one in faults if (one.camera == name) is mine] for mine in (True, False))
        missed = losses(log, rate, since_ns, own)
        most = max((sum(f.begun_ns <= at <= f.back_ns + SETTLED_S * 1e9 for at in missed) for f in others), default=0)
        away_s = sum(one.back_ns - one.begun_ns for one in own) / 1e9
        offered = ((end_ns - since_ns) / 1e9 - away_s) * rate
        kept = [age for at, age in zip(log.at_ns, log.age_s, strict=True) if at >= since_ns]
        shares.append(len(kept) / offered)
        ages += kept
        times_min += [(at - since_ns) / 60e9 for at in log.at_ns if at >= since_ns]
        p50, p95, p99, worst = np.percentile(kept, (50, 95, 99, 100)) * 1e3
        row = f"{name:8} {offered:8.0f} {len(kept):6} {len(missed):8} {most:10}"
        print(f"{row}   {p50:7.0f} {p95:6.0f} {p99:6.0f} {worst:6.0f}")
    p50, p95, p99, worst = np.percentile(ages, (50, 95, 99, 100)) * 1e3
    print(f"all: age p50 {p50:.0f}, p95 {p95:.0f}, p99 {p99:.0f}, worst {worst:.0f} ms")
    print(f"slope of age {np.polyfit(times_min, np.array(ages) * 1e3, 1)[0]:+.3f} ms a minute")
    jain = sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))
    print(f"shown of offered: {', '.join(f'{share:.3f}' for share in shares)}; Jain's index {jain:.4f}")
    if faults:
        found = [recovery_s(logs[one.camera], one) for one in faults if one.back_ns < end_ns - SETTLED_S * 1e9]
        p50, p95, worst = np.percentile(found, (50, 95, 100))
        print(f"recovery of {len(found)} faults: p50 {p50:.2f}, p95 {p95:.2f}, worst {worst:.2f} s")
    warm = np.array(memory[len(memory) // 3 :])
    slope = np.polyfit(warm[:, 0], warm[:, 1], 1)[0] * 1000 if len(warm) > 2 else float("nan")
    print("resident MB at each tenth:", *(f"{memory[len(memory) * i // 10][1]:.0f}" for i in range(10)))
    print(f"resident {memory[-1][1]:.0f} MB, {slope:+.2f} MB per 1,000 frames over the last two thirds")


if __name__ == "__main__":
    main()
