"""What fewer bits cost and gain on this CPU: 16 bits and int8, built as `models build` does, against fp32.

    python tests/bench/precision.py

HRNet-W32 has random weights, drawn from a seed: it is timed against ONNX Runtime in fp32, in turns in one run, and its
heat maps are compared. TinyPose and YOLOX-nano are compared with their fp32 on real pictures, and their AP is taken on
the COCO pictures of the assets: of poses in true boxes, of boxes at 640 pixels. Needs the extras quantize and train.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from engines.backends.base import Backend, open_backend  # noqa: E402
from engines.build_request import Request, build_requested  # noqa: E402
from engines.building import Built, RefusedError  # noqa: E402
from engines.catalog import Catalog, load_catalog  # noqa: E402
from engines.coco import PoseRules, box_results, pose_results, read_truth, score_boxes, score_poses, truth_boxes  # noqa: E402
from engines.evaluate import REPORTED, crop_areas, detect_people, estimate_poses  # noqa: E402
from engines.guard import noise  # noqa: E402
from engines.hrnet import PoseEstimator  # noqa: E402
from engines.opening import OpenModel, open_model  # noqa: E402
from engines.quantize import quantize  # noqa: E402
from engines.yolo import PersonDetector  # noqa: E402
from stream.cli.models_build import CALIBRATION_PICTURES, GUARD_PICTURES, read_pictures  # noqa: E402

ASSETS = Path(os.environ.get("POSESTREAM_ASSETS", ROOT.parent / "shared" / "assets"))
TRUTH = ASSETS / "gt" / "coco_val"
RANDOM = "hrnet-w32-random"
CARDS = {
    "yolox-nano": "task: detect\nfamily: yolox\ninput: {size: [640, 640]}\n",
    "tinypose": "task: pose\nfamily: heatmap\ninput: {size: [256, 192]}\nskeleton: coco17\n",
    RANDOM: "task: pose\nfamily: heatmap\ninput: {size: [256, 192]}\nskeleton: coco17\n",
}
FILES = {"yolox-nano": "yolox_nano_dynhw.onnx", "tinypose": "tinypose_256x192_dyn.onnx"}
BATCHES = (1, 8)


def random_hrnet(folder: Path) -> Path:
    """An ONNX of HRNet-W32 whose weights are drawn from a seed."""
    import torch

    from engines.export import export_checkpoint
    from engines.nets.hrnet import HRNet
    from engines.nets.hrnet_layout import layout_w

    torch.manual_seed(0)
    weights = folder / "w32.pth"
    torch.save(HRNet(layout_w(32, 17)).state_dict(), weights)
    return export_checkpoint(weights, folder / "exported", "pose").path


def make_catalog(folder: Path) -> Catalog:
    """The three models with their cards, and nothing that was built before."""
    models = folder / "models"
    models.mkdir()
    sources = {name: ASSETS / "models" / file for name, file in FILES.items()}
    for name, source in {**sources, RANDOM: random_hrnet(folder)}.items():
        shutil.copy(source, models / f"{name}.onnx")
        (models / f"{name}.yaml").write_text(f"name: {name}\n{CARDS[name]}")
    return load_catalog([models], folder / "cache")


def build_all(catalog: Catalog, names: list[str]) -> None:
    """These models in bf16 and int8, with the verdicts and the time that it took."""
    guard = read_pictures(str(TRUTH / "images"), GUARD_PICTURES)
    calibration = read_pictures(str(ASSETS / "train" / "images"), CALIBRATION_PICTURES)
    for name in names:
        for precision in ("bf16", "int8"):
            begun = time.perf_counter()
            request = Request(name, precision, calibration, guard, detector="yolox-nano")
            try:
                built: Built | RefusedError = build_requested(request, catalog, print, quantize)
            except RefusedError as error:
                built = error
            words = built.verdict if isinstance(built, Built) else built
            print(f"{name}: {words} [{time.perf_counter() - begun:.0f} s]", flush=True)


def opened(catalog: Catalog, name: str, precision: str) -> OpenModel:
    task = "detect" if name == "yolox-nano" else "pose"
    return open_model(name, task, catalog=catalog, precision=precision)  # type: ignore[arg-type]


def time_hrnet(catalog: Catalog, rounds: int) -> None:
    """Medians of milliseconds a crop, and how many times as fast as ONNX Runtime in fp32."""
    with ExitStack() as stack:
        models = {p: opened(catalog, RANDOM, p) for p in ("fp32", "bf16", "int8")}
        for model in models.values():
            stack.enter_context(closing(model.backend))
        path, card = models["fp32"].path, models["fp32"].card
        reference = stack.enter_context(closing(open_backend(path, backend="onnxruntime", precision="fp32")))
        lanes: dict[str, Backend] = {reference.name: reference}
        lanes |= {model.backend.name: model.backend for model in models.values()}
        for rows in BATCHES:
            batch = noise(card.input, rows)
            laps = race_all({name: partial(backend.infer, batch) for name, backend in lanes.items()}, rounds)
            for name, seconds in laps.items():
                ratio = statistics.median(laps[reference.name]) / statistics.median(seconds)
                print(
                    f"batch {rows}: {name}: {1000 * statistics.median(seconds) / rows:.1f} ms a crop, {ratio:.2f} times"
                )


def race_all(lanes: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each lane, all in turns, after one that does not count."""
    laps: dict[str, list[float]] = {name: [] for name in lanes}
    for number in range(rounds + 1):
        for name, run in lanes.items():
            begun = time.perf_counter()
            run()
            if number:
                laps[name].append(time.perf_counter() - begun)
    return laps


def print_accuracy(catalog: Catalog, names: list[str]) -> None:
    """AP of people's boxes, and of key points in true boxes."""
    boxes_of, people_of = (
        read_truth(TRUTH / "person_keypoints_exact.json"),
        read_truth(TRUTH / "person_keypoints_all.json"),
    )
    for name in names:
        aps = {}
        for precision in ("fp32", "bf16", "int8"):
            model = opened(catalog, name, precision)
            with closing(model.backend):
                if model.card.task == "detect":
                    found = detect_people(PersonDetector(model.backend, model.card, REPORTED), boxes_of.pictures)
                    aps[precision] = score_boxes(boxes_of, box_results(found)).ap
                else:
                    people = truth_boxes(people_of)
                    poses = estimate_poses(PoseEstimator(model.backend, model.card), people_of.pictures, people)
                    areas = crop_areas(people, model.card.input.size)
                    aps[precision] = score_poses(people_of, pose_results(people, poses, areas, PoseRules(None))).ap
        full = aps["fp32"] or np.nan
        print(f"{name}: " + ", ".join(f"{p} AP {ap:.4f} ({100 * (ap - full):+.2f})" for p, ap in aps.items() if ap))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12, help="of the timing (12)")
    parser.add_argument("--only", choices=CARDS, action="append", help="of these models; repeatable (all)")
    args = parser.parse_args()
    names = args.only or list(CARDS)
    with tempfile.TemporaryDirectory(prefix="posestream-bench-") as folder:
        catalog = make_catalog(Path(folder))
        build_all(catalog, names)
        if RANDOM in names:
            time_hrnet(catalog, args.rounds)
        print_accuracy(catalog, [name for name in names if name != RANDOM])


if __name__ == "__main__":
    main()
