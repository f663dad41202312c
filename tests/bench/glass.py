"""Glass to glass: RTSP in, overlay, RTSP out, and how old each picture is when it is seen at the far end.

    python tests/bench/glass.py --seconds 60

The camera is a GStreamer server that plays frames with their number drawn on them, a media server takes what run.py
publishes, and two readers look at it: our own, which reads the numbers, and ffprobe, which reads the time stamps. Age
counts from the moment at which the camera showed the frame to that at which it was decoded. The same reader, at the
camera itself, tells how much of it is servers and reading; the two networks alone, how much nothing can take away.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import av
import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from one_person import SIZE, STREAM_S, cut_people  # noqa: E402
from servers.numbered import read_number  # noqa: E402
from servers.rtsp import RtspRelay, RtspServer  # noqa: E402

from stream.build import Models, open_models  # noqa: E402
from stream.config import load_config  # noqa: E402

ASSETS = Path(os.environ.get("POSESTREAM_ASSETS", ROOT.parent / "shared" / "assets"))
QUICK = {"fflags": "nobuffer", "flags": "low_delay", "rtsp_transport": "tcp", "analyzeduration": "300000"}
START_S = 60.0
"""The longest that run.py may take to its first picture."""
HEADROOM = 0.25
SETTLING = 25
"""Pictures that are not counted: the first ones were waiting for the reader."""


@dataclass
class Seen:
    """What came of a stream: numbers as read, how old the pictures were, their time stamps."""

    numbers: list[int | None] = field(default_factory=list)
    ages_s: list[float] = field(default_factory=list)
    pts: list[int] = field(default_factory=list)


def look(url: str, seconds: float, camera: RtspServer, frames: int) -> Seen:
    """Read a stream for so long, as soon as there is one."""
    until_s = time.monotonic() + START_S
    while True:
        try:
            container = av.open(url, options=QUICK | {"fpsprobesize": "2"}, timeout=(10, 5))
            break
        except av.FFmpegError:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.2)
    seen = Seen()
    with container:
        container.streams.video[0].thread_count = 1
        for frame in container.decode(video=0):
            at_ns = time.monotonic_ns()
            number = read_number(frame.to_ndarray(format="bgr24"))
            seen.numbers.append(number)
            seen.pts.append(frame.pts)
            if number is not None:
                seen.ages_s.append(camera.age_s(number, at_ns, frames))
            if len(seen.pts) == SETTLING:
                until_s = time.monotonic() + seconds
            if len(seen.pts) > SETTLING and time.monotonic() > until_s:
                return seen
    return seen


def probe(url: str, seconds: float) -> list[int]:
    """Time stamps of the packets of a stream, by ffprobe."""
    command = ["ffprobe", "-v", "error", "-rtsp_transport", "tcp", "-read_intervals", f"%+{seconds:g}",
               "-select_streams", "v", "-show_entries", "packet=pts", "-of", "csv=p=0", url]  # fmt: skip
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30)
    return [int(line.strip(",")) for line in answer.stdout.split() if line.strip(",").isdecimal()]


def told(name: str, ages_s: Sequence[float]) -> str:
    """Percentiles of ages."""
    p50, p95, p99, worst = np.percentile(ages_s, (50, 95, 99, 100)) * 1e3
    return f"{name:16} p50 {p50:4.0f}  p95 {p95:4.0f}  p99 {p99:4.0f}  worst {worst:4.0f} ms"


def is_rising(values: Sequence[int], turn: int | None = None) -> bool:
    """Whether each value is above the one before it; `turn` is where numbers begin anew."""
    steps = [b - a if turn is None else (b - a) % turn for a, b in pairwise(values)]
    return all(step > 0 and (turn is None or step < turn / 2) for step in steps)


def networks_ms(models: Models) -> tuple[float, float]:
    """Median milliseconds of one call of each network, on one picture and one person."""
    medians = []
    for model in (models.detector, models.pose):
        _, *size = model.backend.inputs[0].shape
        blob = np.zeros([1, *(side or 1 for side in size)], np.float32)
        spent = []
        for _ in range(30):
            begun = time.perf_counter()
            model.backend.infer(blob)
            spent.append(time.perf_counter() - begun)
        medians.append(float(np.median(spent)) * 1e3)
    return medians[0], medians[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, default=ASSETS / "video" / "intel_one-by-one-person-detection.mp4")
    parser.add_argument("--detector", type=Path, default=ASSETS / "models" / "yolox_nano.onnx")
    parser.add_argument("--pose", type=Path, default=ASSETS / "models" / "tinypose_256x192_dyn.onnx")
    parser.add_argument("--rate", type=int, default=25)
    parser.add_argument("--detect-every", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60)
    args = parser.parse_args()
    flags = ["--detector", str(args.detector), "--pose", str(args.pose), "--detect-every", str(args.detect_every)]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        config = load_config(None, [f"models.detector={args.detector}", f"models.pose={args.pose}"], {"source": ["0"]})
        with open_models(config.models) as models:
            detect_ms, pose_ms = networks_ms(models)
            (stream,) = cut_people(args.clip, models, 1, args.rate, folder, headroom=HEADROOM)
        frames = STREAM_S * args.rate
        camera = stack.enter_context(RtspServer(stream, rate=args.rate))
        relay = stack.enter_context(RtspRelay(folder, "out"))
        bare = look(camera.url, min(args.seconds, 20), camera, frames)
        command = [sys.executable, "run.py", "--source", camera.url, "--output", relay.publish_url("out"), *flags]
        program = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            seen = look(relay.play_url("out"), args.seconds, camera, frames)
            stamps = probe(relay.play_url("out"), 10)
        finally:
            program.terminate()
            print(program.communicate(timeout=20)[1].strip())
    numbers = [number for number in seen.numbers[SETTLING:] if number is not None]
    offered = round(args.seconds * args.rate)
    print(f"{SIZE[1]}x{SIZE[0]}, {args.rate} fps, detection in one frame of {args.detect_every}")
    print(f"seen {len(seen.pts) - SETTLING} of {offered} pictures, {len(numbers)} with a number that could be read")
    print(f"numbers rising: {is_rising(numbers, frames)}; PTS rising: {is_rising(seen.pts)}; "
          f"ffprobe: {len(stamps)} packets, PTS rising: {is_rising(stamps)}")  # fmt: skip
    print(told("glass to glass", seen.ages_s[SETTLING:]))
    print(told("camera to reader", bare.ages_s[SETTLING:]))
    print(f"networks alone   detection {detect_ms:.1f}, pose of one person {pose_ms:.1f} ms")


if __name__ == "__main__":
    main()
