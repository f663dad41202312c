"""Detectors against the people of COCO val2017: the 43 pictures whose annotations are verbatim."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import cv2
import pytest

from engines.backends.base import open_backend
from engines.cards import Family, make_card
from engines.yolo import DetectorOptions, PersonDetector

REPORTED = DetectorOptions(confidence=0.01, iou=0.6)
"""As detectors are scored: down to low scores, with a loose suppression."""


@pytest.mark.assets
@pytest.mark.parametrize(
    ("model", "family", "size", "floor"),
    [
        ("yolox_nano_dynhw", "yolox", (640, 640), 0.50),  # measured 0.519
        ("yolox_nano_dynhw", "yolox", (416, 416), 0.44),  # 0.451
        ("rtmdet_nano_dyn", "rtmdet", (320, 320), 0.50),  # 0.513
    ],
)
def test_people_are_found_as_well_as_measured(
    assets: Path, model: str, family: Family, size: tuple[int, int], floor: float
) -> None:
    assert floor <= person_ap(assets, model, family, size, "fp32") <= floor + 0.1


@pytest.mark.assets
def test_automatic_precision_costs_little(assets: Path) -> None:
    full = person_ap(assets, "rtmdet_nano_dyn", "rtmdet", (320, 320), "fp32")
    assert abs(person_ap(assets, "rtmdet_nano_dyn", "rtmdet", (320, 320), "auto") - full) < 0.01


def person_ap(assets: Path, model: str, family: Family, size: tuple[int, int], precision: str) -> float:
    """Box AP of class person, IoU 0.50 to 0.95, of a model run at `size`."""
    truth = assets / "gt" / "coco_val" / "person_keypoints_exact.json"
    card = make_card(model, {"name": model, "family": family, "input": {"size": list(size)}})
    backend = open_backend(assets / "models" / f"{model}.onnx", input_size=size, precision=precision)
    try:
        return box_ap(truth, people_in(PersonDetector(backend, card, REPORTED), truth))
    finally:
        backend.close()


def people_in(detector: PersonDetector, truth: Path) -> list[dict[str, object]]:
    """COCO results of the pictures named in a COCO annotation file; they lie in `images` beside it."""
    results: list[dict[str, object]] = []
    for entry in json.loads(truth.read_text())["images"]:
        (found,) = detector.detect([cv2.imread(str(truth.parent / "images" / entry["file_name"]))])
        for (x1, y1, x2, y2), score in zip(found.boxes.tolist(), found.scores.tolist(), strict=True):
            box = [x1, y1, x2 - x1, y2 - y1]
            results.append({"image_id": entry["id"], "category_id": 1, "bbox": box, "score": score})
    return results


def box_ap(truth: Path, results: list[dict[str, object]]) -> float:
    """COCO's first number: AP over IoU 0.50 to 0.95, all sizes, 100 boxes a picture."""
    from faster_coco_eval import COCO, COCOeval_faster

    with contextlib.redirect_stdout(io.StringIO()):
        annotated = COCO(str(truth))
        evaluation = COCOeval_faster(annotated, annotated.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])
