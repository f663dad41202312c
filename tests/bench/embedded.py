"""How fast the embedded models are beside TinyPose and YOLOX-nano at 416, in turns in one run.

    python tests/bench/embedded.py

Medians of one call of one picture, of noise, on OpenVINO with two threads.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from engines.backends.base import open_backend  # noqa: E402
from engines.catalog import EMBEDDED  # noqa: E402

MODELS = Path(os.environ.get("POSESTREAM_ASSETS", ROOT.parent / "shared" / "assets")) / "models"
PAIRS = {
    "pose": ((EMBEDDED / "posestream-pose.onnx", (256, 192)), (MODELS / "tinypose_256x192_dyn.onnx", (256, 192))),
    "detector": ((EMBEDDED / "posestream-detect.onnx", (352, 352)), (MODELS / "yolox_nano_dynhw.onnx", (416, 416))),
}
THREADS, WARM, TIMED = 2, 10, 100


def main() -> None:
    """A line for each task and precision: both medians and their ratio."""
    for precision in ("fp32", "bf16"):
        with ExitStack() as stack:
            calls = {}
            for task, models in PAIRS.items():
                for model, size in models:
                    backend = open_backend(model, precision=precision, input_size=size, threads=THREADS)
                    stack.enter_context(closing(backend))
                    picture = np.random.default_rng(0).normal(0, 1, (1, 3, *size)).astype(np.float32)
                    calls[task, model] = backend, picture
            times: dict[tuple[str, Path], list[float]] = {call: [] for call in calls}
            for _ in range(WARM + TIMED):
                for call, (backend, picture) in calls.items():
                    begun = time.perf_counter()
                    backend.infer(picture)
                    times[call].append((time.perf_counter() - begun) * 1e3)
        for task, ((own, _), (other, _)) in PAIRS.items():
            ours, theirs = (statistics.median(times[task, model][WARM:]) for model in (own, other))
            print(
                f"{task}, {precision}: {ours:.1f} ms, {other.stem} {theirs:.1f} ms, {theirs / ours:.2f} times as fast"
            )


if __name__ == "__main__":
    main()
