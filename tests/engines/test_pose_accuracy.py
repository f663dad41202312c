"""A real network against ground truth: 94 pictures of COCO val2017, ground-truth boxes, no flip test, fp32."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray

from engines.backends.base import open_backend
from engines.cards import make_card
from engines.heatmap import mirrored_order
from engines.hrnet import PoseEstimator
from engines.results import Image, Poses
from engines.skeletons import COCO17

pytestmark = pytest.mark.assets

SEEN = 0.2
"""COCO's reference scoring takes the mean of the joint scores above this."""


@pytest.fixture(scope="module")
def estimator(assets: Path) -> Iterator[PoseEstimator]:
    spec = {"name": "tinypose", "family": "heatmap", "input": {"size": [256, 192]}, "skeleton": "coco17"}
    path = assets / "models" / "tinypose_256x192_dyn.onnx"
    with closing(open_backend(path, input_size=(256, 192), precision="fp32")) as backend:
        yield PoseEstimator(backend, make_card("test", spec))


def people_of(truth: Path) -> dict[str, list[dict[str, Any]]]:
    """The annotated people with key points, by the name of their picture."""
    data = json.loads(truth.read_text())
    names = {image["id"]: image["file_name"] for image in data["images"]}
    people: dict[str, list[dict[str, Any]]] = {name: [] for name in names.values()}
    for person in data["annotations"]:
        if person["num_keypoints"] > 0 and not person["iscrowd"]:
            people[names[person["image_id"]]].append(person)
    return people


def boxes_of(people: list[dict[str, Any]]) -> NDArray[np.float32]:
    boxes = np.array([person["bbox"] for person in people], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def coco_results(people: list[dict[str, Any]], poses: Poses) -> list[dict[str, Any]]:
    """Poses from ground-truth boxes, whose score is 1, as COCO wants them."""
    results = []
    for person, points, scores in zip(people, poses.keypoints, poses.scores, strict=True):
        seen = scores[scores > SEEN]
        rows = np.column_stack([points, scores]).astype(float)
        score = float(seen.mean()) if len(seen) else 0.0
        results.append(
            {"image_id": person["image_id"], "category_id": 1, "keypoints": rows.ravel().tolist(), "score": score}
        )
    return results


def oks(points: NDArray[np.float32], truth: NDArray[np.float32], box: NDArray[np.float32]) -> float:
    """The similarity of two poses (K, 2) whose scale is that of the box."""
    area = float(np.prod(box[2:] - box[:2]))
    spread = 2 * (2 * np.array(COCO17.sigmas)) ** 2 * area
    return float(np.exp(-((points - truth) ** 2).sum(axis=1) / spread).mean())


def test_ap_from_ground_truth_boxes(assets: Path, estimator: PoseEstimator) -> None:
    truth = assets / "gt" / "coco_val" / "person_keypoints_all.json"
    people = people_of(truth)
    assert len(people) == 94
    assert sum(map(len, people.values())) == 296
    images = [cv2.imread(str(truth.parent / "images" / name)) for name in people]
    poses = estimator.estimate(images, [boxes_of(own) for own in people.values()])
    results = [row for own, p in zip(people.values(), poses, strict=True) for row in coco_results(own, p)]

    ground = COCO(str(truth))
    evaluation = COCOeval_faster(ground, ground.loadRes(results), "keypoints", print_function=lambda *_: None)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    ap, ap50 = evaluation.stats[:2]
    assert ap == pytest.approx(0.667, abs=0.004)
    assert ap >= 0.66
    assert ap50 == pytest.approx(0.909, abs=0.01)


def test_mirrored_picture_gives_the_mirrored_pose(assets: Path, estimator: PoseEstimator) -> None:
    image = cv2.imread(str(assets / "images" / "tennis-02.jpg"))
    box = np.array([[120, 135, 485, 615]], np.float32)
    straight = estimator.estimate([image], [box])[0].keypoints[0]

    width = image.shape[1]
    mirrored_image: Image = np.ascontiguousarray(image[:, ::-1])
    mirrored_box = np.array([[width - 485, 135, width - 120, 615]], np.float32)
    mirrored = estimator.estimate([mirrored_image], [mirrored_box])[0].keypoints[0]
    mirrored[:, 0] = width - 1 - mirrored[:, 0]
    swapped = mirrored[mirrored_order(17, COCO17.pairs)]
    assert oks(swapped, straight, box[0]) > 0.95
    assert oks(mirrored, straight, box[0]) < 0.6


def test_left_is_the_players_left(assets: Path, estimator: PoseEstimator) -> None:
    """In tennis-02 he holds the racket in his right hand, on the left of the picture, and throws with his left."""
    image = cv2.imread(str(assets / "images" / "tennis-02.jpg"))
    (poses,) = estimator.estimate([image], [np.array([[120, 135, 485, 615]], np.float32)])
    joints = dict(zip(COCO17.names, poses.keypoints[0], strict=True))
    np.testing.assert_allclose(joints["right_wrist"], (170, 285), atol=20)
    np.testing.assert_allclose(joints["left_wrist"], (445, 170), atol=20)
    np.testing.assert_allclose(joints["left_ankle"], (388, 560), atol=30)
