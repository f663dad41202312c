"""How long until pictures of now come again, after a real RTSP camera was killed or frozen and is back.

    python tests/bench/rtsp_faults.py --faults 20

One run of the whole pipeline on one camera of 640x360; a fault every few seconds, its length drawn at random. Recovery
is counted from the moment the camera works again to the first frame through the pipeline that shows something at most
`FRESH_S` old, which its bar code tells. Prints median, 95th percentile and worst for each kind of fault, then the true
age of the frames between the faults, from their being shown by the camera.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from servers.numbered import encode_numbered, read_number  # noqa: E402
from servers.rtsp import RtspServer  # noqa: E402

from stream.build import open_session  # noqa: E402
from stream.config import load_config  # noqa: E402
from stream.pipeline import Result  # noqa: E402

ASSETS = Path(os.environ.get("POSESTREAM_ASSETS", ROOT.parent / "shared" / "assets"))
FRAMES = 600
"""Of the stream, which the camera plays over and over."""
CALM_FRAMES = 25
"""Between two faults."""
FRESH_S = 0.5
KINDS = ("killed", "frozen")


def fault(server: RtspServer, kind: str, length_s: float) -> int:
    """Take the camera away for `length_s`; the monotonic time at which it is back."""
    if kind == "killed":
        server.kill()
    else:
        server.freeze()
    threading.Event().wait(length_s)
    if kind == "killed":
        server.start()
    else:
        server.thaw()
    return time.monotonic_ns()


def true_age_s(server: RtspServer, result: Result) -> float | None:
    """How long ago the camera showed what the pipeline gives now; None where the bar code cannot be read."""
    number = read_number(result.frame.image)
    return None if number is None else server.age_s(number, time.monotonic_ns(), FRAMES)


def recovery_s(server: RtspServer, results: Iterator[Result], back_ns: int) -> float:
    """Seconds from `back_ns` to the first fresh frame that arrived after it."""
    for result in results:
        age_s = true_age_s(server, result)
        if result.frame.captured_ns > back_ns and age_s is not None and age_s <= FRESH_S:
            return (time.monotonic_ns() - back_ns) / 1e9
    raise RuntimeError("the run ended before the camera was seen again")


def line(name: str, values: list[float], unit: str, scale: float) -> str:
    p50, p95, worst = (np.percentile(values, percent) * scale for percent in (50, 95, 100))
    return f"{name:10} n={len(values):5}  p50 {p50:7.2f}  p95 {p95:7.2f}  worst {worst:7.2f} {unit}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, default=ASSETS / "video" / "intel_one-by-one-person-detection.mp4")
    parser.add_argument("--detector", type=Path, default=ASSETS / "models" / "yolox_nano.onnx")
    parser.add_argument("--pose", type=Path, default=ASSETS / "models" / "tinypose_256x192_dyn.onnx")
    parser.add_argument("--faults", type=int, default=20, help="of each kind")
    parser.add_argument("--longest", type=float, default=8.0, help="seconds that a fault lasts at most")
    parser.add_argument("--rate", type=int, default=10)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="any key of the configuration")
    args = parser.parse_args()
    settings = [f"models.detector={args.detector}", f"models.pose={args.pose}", *args.set]
    draw = np.random.default_rng(0)
    plan = [kind for _ in range(args.faults) for kind in KINDS]
    recoveries: dict[str, list[float]] = {kind: [] for kind in KINDS}
    ages: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        stream = Path(folder) / "camera.h264"
        encode_numbered(stream, frames=FRAMES, size=(360, 640), rate=args.rate, clip=args.clip, key_every=args.rate)
        with RtspServer(stream, rate=args.rate) as server:
            config = load_config(None, settings, {"source": [server.url]})
            with open_session(config, say=print) as session:
                results = iter(session)
                recovery_s(server, results, 0)
                for kind in plan:
                    calm = (true_age_s(server, result) for result in islice(results, CALM_FRAMES))
                    ages += [age_s for age_s in calm if age_s is not None]
                    back_ns = fault(server, kind, draw.uniform(0.0, args.longest))
                    recoveries[kind].append(recovery_s(server, results, back_ns))
    for kind, times_s in recoveries.items():
        print(line(kind, times_s, "s", 1.0))
    print(line("true age", ages, "ms", 1e3))


if __name__ == "__main__":
    main()
