"""What is lost and won where people are detected in one frame of N: poses beside those of every frame, and the time.

python tests/bench/detect_every.py [--clips fiyud_dance] [--every 1 2 3 5 10 auto]
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from engines.oks import oks
from stream.bench_smoothing import without_pictures
from stream.build import Models, open_models, open_session
from stream.config import Config, load_config
from stream.pipeline import Result
from tracker.iou import areas

ROOT = Path(__file__).parents[2]
ASSETS = Path(os.environ.get("POSESTREAM_ASSETS", ROOT.parent / "shared" / "assets"))
SAME = 0.5
"""From this similarity on a pose is of the same person."""
TRUSTED = 0.3
"""Joints of the reference from this score on count."""
OF_BOX = 0.53
"""A body's area in its box, as COCO's outlines have it on average."""


@dataclass(frozen=True)
class Run:
    """A clip run once."""

    results: list[Result]
    wall_s: float
    detections: int


def run(models: Models, config: Config) -> Run:
    begun = time.perf_counter()
    with open_session(config, models) as session:
        results = without_pictures(session)
    wall_s = time.perf_counter() - begun
    detections = sum(result.tracks.detections is not None for result in results)
    return Run(results, wall_s, detections)


def beside(reference: list[Result], results: list[Result]) -> tuple[float, float]:
    """The mean OKS of the poses that are of the same person, and the share of the people who are missed."""
    alike, people = [], 0
    for before, after in zip(reference, results, strict=True):
        is_trusted = before.poses.scores >= TRUSTED
        people += int(is_trusted.any(axis=1).sum())
        if len(before.tracks.ids) and len(after.tracks.ids):
            truth, area = before.poses, OF_BOX * areas(before.tracks.boxes)
            table = oks(truth.keypoints, after.poses.keypoints, area[:, None], truth.skeleton.sigmas, is_trusted)
            made = table[linear_sum_assignment(table, maximize=True)]
            alike += made[made >= SAME].tolist()
    return float(np.mean(alike)), 1 - len(alike) / people


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", nargs="+", default=["fiyud_dance"])
    parser.add_argument("--every", nargs="+", default=["1", "2", "3", "5", "10", "auto"])
    args = parser.parse_args()
    flags = {
        "models.detector": str(ASSETS / "models" / "yolox_nano_dynhw.onnx"), "models.detector_card.imgsz": 640,
        "models.pose": str(ASSETS / "models" / "tinypose_256x192_dyn.onnx"), "models.precision": "fp32",
    }  # fmt: skip
    with open_models(load_config(None, [], flags).models) as models:
        for name in args.clips:
            clip = ASSETS / "video" / f"{name}.mp4"
            reference: Run | None = None
            for every in args.every:
                config = load_config(None, [f"detect.every={every}"], flags | {"source": (str(clip),)})
                found = run(models, config)
                reference = reference or found
                alike, missed = beside(reference.results, found.results)
                ids = {int(i) for result in found.results for i in result.tracks.ids}
                print(f"{name:24} every {every:>4}: OKS {alike:.4f}, {100 * missed:5.2f} % missed, {len(ids):3} ids, "
                      f"detected in {found.detections} of {len(found.results)}, {found.wall_s:6.2f} s, "
                      f"{reference.wall_s / found.wall_s:.2f} times as fast", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
