"""Resident memory over a long run: a clip repeated to N frames, file to file, with records.

    python tests/bench/soak.py --frames 10000

Prints the slope of the resident memory after the first 200 frames, least squares, in MB per 1,000 frames.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
import psutil

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from stream.build import open_session  # noqa: E402
from stream.config import Config, build_options  # noqa: E402

ASSETS = Path(os.environ.get("POSESTREAM_ASSETS", ROOT.parent / "shared" / "assets"))
WARM_UP_FRAMES = 200
SAMPLE_EVERY = 10
"""Frames between two readings of the memory."""


def repeat(clip: Path, frames: int, output: Path) -> None:
    """Write the packets of `clip` again and again, one after the other in time, until there are `frames`."""
    written, shift = 0, 0
    with av.open(str(output), "w") as target:
        stream = None
        while written < frames:
            with av.open(str(clip)) as source:
                video = source.streams.video[0]
                stream = stream or target.add_stream_from_template(video)
                end = shift
                for packet in source.demux(video):
                    if packet.dts is None:
                        continue
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    end = max(end, packet.pts + (packet.duration or 1))
                    packet.stream = stream
                    target.mux(packet)
                    written += 1
                shift = end


def readings(clip: Path, output: Path, detector: Path, pose: Path) -> tuple[np.ndarray, np.ndarray]:
    """Frame numbers and the resident memory in MB at them."""
    config = build_options(Config, {
        "source": [str(clip)], "output": [str(output), str(output.with_suffix(".jsonl"))],
        "models": {"detector": str(detector), "pose": str(pose)},
    })  # fmt: skip
    process = psutil.Process()
    at: list[int] = []
    megabytes: list[float] = []
    with open_session(config) as session:
        for count, _ in enumerate(session):
            if count % SAMPLE_EVERY == 0:
                at.append(count)
                megabytes.append(process.memory_info().rss / 1e6)
            if count % 1000 == 0:
                print(f"{count:6} frames  {megabytes[-1]:8.1f} MB  {session.meter.fps:6.1f} fps", flush=True)
    return np.array(at), np.array(megabytes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, default=ASSETS / "video" / "intel_one-by-one-person-detection.mp4")
    parser.add_argument("--detector", type=Path, default=ASSETS / "models" / "yolox_nano.onnx")
    parser.add_argument("--pose", type=Path, default=ASSETS / "models" / "tinypose_256x192_dyn.onnx")
    parser.add_argument("--frames", type=int, default=10_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        long_clip = Path(folder) / "long.mp4"
        repeat(args.clip, args.frames, long_clip)
        at, megabytes = readings(long_clip, Path(folder) / "out.mp4", args.detector, args.pose)
    settled = at >= WARM_UP_FRAMES
    slope = np.polyfit(at[settled], megabytes[settled], 1)[0] * 1000
    print(f"{at[-1] + 1} frames; {slope:+.3f} MB per 1,000 frames after the first {WARM_UP_FRAMES}")


if __name__ == "__main__":
    main()
