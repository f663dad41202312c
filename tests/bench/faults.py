"""How long until pictures of now come again, after every fault that a camera and its network have.

    python tests/bench/faults.py --faults 20

One run of the whole pipeline on one real RTSP camera of 640x360 behind a proxy that has the faults of a network; a
fault every few seconds, its length drawn at random. Recovery is counted from the moment at which all works again to the
first frame through the pipeline that shows something at most `FRESH_S` old, which its bar code tells; of a connection
that is cut, half-open or garbled, from the fault itself. Prints median, 95th percentile and worst for each kind of
fault, then the true age of the frames between the faults, from their being shown by the camera.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from servers.numbered import encode_numbered, read_number  # noqa: E402
from servers.proxy import Proxy  # noqa: E402
from servers.rtsp import RtspServer  # noqa: E402

from stream.build import open_session  # noqa: E402
from stream.config import load_config  # noqa: E402
from stream.pipeline import Result  # noqa: E402

ASSETS = Path(os.environ.get("POSESTREAM_ASSETS", ROOT.parent / "shared" / "assets"))
FRAMES = 300
"""Of the stream, which the camera plays over and over."""
CALM_FRAMES = 25
"""Between two faults."""
FRESH_S = 0.5
KINDS = ("absent", "killed", "frozen", "cut", "half-open", "garbage", "size", "codec")
GARBAGE = 100_000
"""Random bytes in the middle of the stream."""


@dataclass
class Place:
    """A camera, the network before it, and the streams that it may show: as ever, in another size, by another codec."""

    server: RtspServer
    proxy: Proxy
    streams: dict[str, Path]

    @property
    def url(self) -> str:
        """Where the camera is seen."""
        return self.server.url.replace(f":{urlsplit(self.server.url).port}", f":{self.proxy.port}")

    def fault(self, kind: str, length_s: float) -> int:
        """Let one fault happen, which lasts for so long; the monotonic time from which on all works again."""
        match kind:
            case "cut":
                self.proxy.cut()
            case "half-open":
                self.proxy.half_open()
            case "garbage":
                self.proxy.garble(GARBAGE)
            case "frozen":
                self.server.freeze()
                threading.Event().wait(length_s)
                self.server.thaw()
            case _:
                self.server.kill()
                threading.Event().wait(length_s)
                self.server.start(self.streams.get(kind, self.streams["usual"]))
        return time.monotonic_ns()


@contextmanager
def placed(folder: Path, clip: Path | None, rate: int) -> Iterator[Place]:
    """A camera with its network, while the context is open; its streams are encoded into `folder`."""
    size, other = (360, 640), (480, 854)
    shapes: dict[str, tuple[tuple[int, int], Literal["h264", "hevc"]]] = {
        "usual": (size, "h264"), "size": (other, "h264"), "codec": (size, "hevc"),
    }  # fmt: skip
    streams = {
        kind: encode_numbered(
            folder / f"{kind}.{codec}", frames=FRAMES, size=shape, rate=rate, clip=clip, key_every=rate, codec=codec
        )
        for kind, (shape, codec) in shapes.items()
    }
    with RtspServer(streams["usual"], rate=rate) as server, Proxy(urlsplit(server.url).port or 0) as proxy:
        yield Place(server, proxy, streams)


def true_age_s(server: RtspServer, result: Result) -> float | None:
    """How long ago the camera showed what the pipeline gives now; None where the bar code cannot be read."""
    number = read_number(result.frame.image)
    return None if number is None else server.age_s(number, time.monotonic_ns(), FRAMES)


def recovery_s(place: Place, results: Iterator[Result], kind: str, length_s: float) -> float:
    """Let one fault happen; seconds from when all works again to the first fresh frame that arrived after that."""
    with ThreadPoolExecutor(1) as other:
        fault = other.submit(place.fault, kind, length_s)
        for result in results:
            age_s = true_age_s(place.server, result) if fault.done() else None
            if age_s is not None and age_s <= FRESH_S and result.frame.captured_ns > fault.result():
                return (time.monotonic_ns() - fault.result()) / 1e9
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
    plan = ["absent", *(kind for _ in range(args.faults) for kind in KINDS if kind != "absent")]
    recoveries: dict[str, list[float]] = {kind: [] for kind in KINDS}
    ages: list[float] = []
    with tempfile.TemporaryDirectory() as folder, placed(Path(folder), args.clip, args.rate) as place:
        place.server.kill()
        config = load_config(None, settings, {"source": [place.url]})
        with open_session(config, say=print) as session:
            results = iter(session)
            for kind in plan:
                if kind != "absent":
                    calm = (true_age_s(place.server, result) for result in islice(results, CALM_FRAMES))
                    ages += [age_s for age_s in calm if age_s is not None]
                recoveries[kind].append(recovery_s(place, results, kind, draw.uniform(0.0, args.longest)))
    for kind, times_s in recoveries.items():
        print(line(kind, times_s, "s", 1.0))
    print(line("true age", ages, "ms", 1e3))


if __name__ == "__main__":
    main()
