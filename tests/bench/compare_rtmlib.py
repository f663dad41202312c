"""File to file against the loop that users of rtmlib write: same clip, same models, detection on every frame.

    python tests/bench/compare_rtmlib.py --python RTMLIB_ENV/bin/python

RTMLIB_ENV is an environment of its own with `rtmlib onnxruntime openvino`: rtmlib's OpenCV would replace ours. Each
round runs posestream and the loops in turn; times run from the first frame read to the output file closed, models
loaded before; the medians and their ratios are printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from stream.build import open_models, open_session  # noqa: E402
from stream.config import Config, build_options  # noqa: E402

ASSETS = Path(os.environ.get("POSESTREAM_ASSETS", ROOT.parent / "shared" / "assets"))
LOOP = Path(__file__).with_name("rtmlib_loop.py")
BACKENDS = ("onnxruntime", "openvino")


def ours(clip: Path, detector: Path, pose: Path, precision: str, output: Path) -> tuple[float, int]:
    """Seconds and frames of posestream."""
    config = build_options(Config, {
        "source": [str(clip)], "output": [str(output)],
        "models": {"detector": str(detector), "pose": str(pose), "precision": precision},
    })  # fmt: skip
    frames = 0
    with open_models(config.models) as models:
        with open_session(config, models) as session:
            begun = time.perf_counter()
            for _ in session:
                frames += 1
        return time.perf_counter() - begun, frames


def theirs(python: str, clip: Path, detector: Path, pose: Path, backend: str, output: Path) -> tuple[float, int]:
    """Seconds and frames of the loop over rtmlib."""
    command = [python, str(LOOP), str(clip), str(output), str(detector), str(pose), backend]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, frames = done.stdout.splitlines()[-1].split()
    return float(seconds), int(frames)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="the Python of an environment that has rtmlib")
    parser.add_argument("--clip", type=Path, default=ASSETS / "video" / "mmaction2_demo_skeleton.mp4")
    parser.add_argument("--detector", type=Path, default=ASSETS / "models" / "yolox_nano.onnx")
    parser.add_argument("--pose", type=Path, default=ASSETS / "models" / "tinypose_256x192_dyn.onnx")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    fps: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for index in range(args.rounds):
            for precision in ("fp32", "auto"):
                output = Path(folder) / f"ours-{precision}-{index}.mp4"
                seconds, frames = ours(args.clip, args.detector, args.pose, precision, output)
                fps.setdefault(f"posestream {precision}", []).append(frames / seconds)
            for backend in BACKENDS:
                output = Path(folder) / f"theirs-{backend}-{index}.mp4"
                seconds, frames = theirs(args.python, args.clip, args.detector, args.pose, backend, output)
                fps.setdefault(f"rtmlib {backend}", []).append(frames / seconds)
    medians = {name: statistics.median(values) for name, values in fps.items()}
    for name, median in medians.items():
        ratios = "  ".join(f"{median / medians[f'rtmlib {backend}']:.2f} x {backend}" for backend in BACKENDS)
        print(f"{name:20} {median:6.2f} fps ({min(fps[name]):.2f} to {max(fps[name]):.2f})   {ratios}")


if __name__ == "__main__":
    main()
