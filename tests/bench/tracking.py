"""What following people costs beside one inference of YOLOX-nano, in one run: 3, 20, 100 and 1,000 boxes a frame.

python tests/bench/tracking.py

People walk over a picture at 0.3 heights a second, posed and clothed, a twentieth of them not detected in each frame,
on all of the picture or crowded on a third of it.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import numpy as np

from engines.backends.base import Backend
from engines.cards import CardFlags
from engines.opening import open_model
from tracker.colors import Body
from tracker.results import Look
from tracker.tracker import PersonTracker

ROOT = Path(__file__).parents[2]
MODELS = Path(os.environ.get("POSESTREAM_ASSETS", ROOT.parent / "shared" / "assets")) / "models"
FRAMES, FPS = 60, 25
DETECTORS = (("yolox_nano_dynhw", 640, "fp32"), ("yolox_nano_dynhw", 640, "bf16"), ("yolox_nano", 416, "fp32"))


def tracking_ms(people: int, size: tuple[int, int], height: float, crowding: float) -> float:
    """Median of an update."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    start = rng.uniform([0, 0], [size[1] * crowding, size[0]], (people, 2))
    speed = rng.normal(0, 0.3 * height, (people, 2))
    heights = height * rng.uniform(0.8, 1.2, people)
    body = rng.uniform([-0.2, -0.48], [0.2, 0.48], (17, 2))
    tracker, took = PersonTracker(None, Body(5, 6, 11, 12, 13, 14)), []
    for frame in range(FRAMES):
        centres = start + speed * frame / FPS + rng.normal(0, 0.01 * height, (people, 2))
        half = np.stack([0.2 * heights, 0.5 * heights], axis=1)
        boxes = np.concatenate([centres - half, centres + half], axis=1).astype(np.float32)
        points = (centres[:, None] + heights[:, None, None] * body).astype(np.float32)
        inside = (centres >= 0).all(axis=1) & (centres < size[::-1]).all(axis=1)
        seen = inside & (rng.random(people) > 0.05)
        scores = rng.uniform(0.45, 0.95, people).astype(np.float32)[seen]
        look = Look(image, points[seen], np.full((int(seen.sum()), 17), 0.8, np.float32))
        begun = time.perf_counter()
        tracker.update(boxes[seen], scores, frame / FPS, look)
        took.append(time.perf_counter() - begun)
    return 1e3 * statistics.median(took[10:])


def inference_ms(backend: Backend, size: int) -> float:
    """Median of one picture."""
    picture, took = np.random.default_rng(0).random((1, 3, size, size), dtype=np.float32) * 255, []
    for _ in range(40):
        begun = time.perf_counter()
        backend.infer(picture)
        took.append(time.perf_counter() - begun)
    return 1e3 * statistics.median(took[5:])


def main() -> None:
    networks = {}
    for name, size, precision in DETECTORS:
        model = open_model(MODELS / f"{name}.onnx", "detect", CardFlags(imgsz=size), precision=precision)
        networks[f"{size} {precision}"] = inference_ms(model.backend, size)
        model.backend.close()
    print("YOLOX-nano: " + ", ".join(f"{name} {ms:.1f} ms" for name, ms in networks.items()))
    hd, uhd = (1080, 1920), (2160, 3840)
    for people, size, height, crowding in ((3, hd, 400, 1), (20, hd, 300, 1), (20, hd, 300, 1 / 3), (100, hd, 100, 1),
                                           (1000, uhd, 80, 1), (1000, uhd, 80, 1 / 3)):  # fmt: skip
        ms = tracking_ms(people, size, height, crowding)
        shares = ", ".join(f"{ms / other:.3f} of {name}" for name, other in networks.items())
        print(f"{people:5} people on {crowding:.2f} of the picture: {ms:6.2f} ms: {shares}", flush=True)


if __name__ == "__main__":
    main()
