"""The models that come with the program: small, known, under a licence, and as good as their cards say."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import pytest
from astronaut import BOX, DETECTOR, JOINTS, POINTS, POSE, photograph

from engines.backends.base import open_backend
from engines.cards import ModelCard, read_card
from engines.catalog import EMBEDDED, load_catalog
from engines.coco import PoseRules, box_results, pose_results, read_truth, score_boxes, score_poses, truth_boxes
from engines.evaluate import REPORTED, crop_areas, detect_people, estimate_poses
from engines.heatmap import mirrored_order
from engines.hrnet import PoseEstimator, PoseOptions
from engines.skeletons import COCO17
from engines.yolo import PersonDetector

MOST_BYTES = 8_000_000
"""Of both models together, as they are part of the repository."""
SEEN = [COCO17.names.index(name) for name in JOINTS]


def card_of(model: Path) -> ModelCard:
    return read_card(model.with_suffix(".yaml"))


def test_they_are_two_and_small() -> None:
    models = sorted(EMBEDDED.glob("*.onnx"))
    assert models == [DETECTOR, POSE]
    assert sum(path.stat().st_size for path in models) <= MOST_BYTES


@pytest.mark.parametrize(("model", "task", "family"), [(DETECTOR, "detect", "yolox"), (POSE, "pose", "heatmap")])
def test_the_card_tells_the_licence_and_how_good_it_is(model: Path, task: str, family: str) -> None:
    card = card_of(model)
    assert (card.name, card.task, card.family) == (model.stem, task, family)
    assert card.license is not None
    assert card.accuracy is not None
    assert not card.accuracy.published
    measured = card.accuracy.person_ap if task == "detect" else card.accuracy.gt_box_ap
    assert measured is not None
    assert 0.25 < measured < 1


@pytest.mark.parametrize("model", [DETECTOR, POSE])
def test_any_number_of_pictures_goes_in_at_once(model: Path) -> None:
    graph = onnx.load(model).graph
    (eats,), (gives,) = graph.input, graph.output
    assert [tensor.type.tensor_type.shape.dim[0].dim_value for tensor in (eats, gives)] == [0, 0]
    size = [dim.dim_value for dim in eats.type.tensor_type.shape.dim][2:]
    assert tuple(size) in ((0, 0), card_of(model).input.size)


def test_the_network_of_the_catalogue_is_the_file(tmp_path: Path) -> None:
    catalog = load_catalog([], tmp_path)
    assert (catalog.default("detect").path, catalog.default("pose").path) == (DETECTOR, POSE)
    assert [model.name for model in catalog.models if model.is_embedded] == [DETECTOR.stem, POSE.stem]
    assert catalog.faults == {}


def test_a_mirrored_picture_gives_the_mirrored_pose() -> None:
    image = photograph()
    width = image.shape[1]
    with closing(open_backend(POSE, precision="fp32")) as backend:
        estimator = PoseEstimator(backend, card_of(POSE), PoseOptions())
        (straight,) = estimator.estimate([image], [BOX[None]])
        box = np.array([[width - BOX[2], BOX[1], width - BOX[0], BOX[3]]], np.float32)
        (mirrored,) = estimator.estimate([np.ascontiguousarray(image[:, ::-1])], [box])
    bound = 0.08 * (BOX[3] - BOX[1])
    assert (np.linalg.norm(straight.keypoints[0, SEEN] - POINTS, axis=1) < bound).all()
    back = mirrored.keypoints[0, mirrored_order(17, COCO17.pairs)][SEEN]
    back[:, 0] = width - 1 - back[:, 0]
    assert (np.linalg.norm(back - POINTS, axis=1) < bound).all()


def test_what_the_picture_shows_is_surer_than_what_it_lacks() -> None:
    with closing(open_backend(POSE, precision="fp32")) as backend:
        (poses,) = PoseEstimator(backend, card_of(POSE), PoseOptions()).estimate([photograph()], [BOX[None]])
    scores = dict(zip(COCO17.names, poses.scores[0].tolist(), strict=True))
    lacking = max(scores[name] for name in ("left_knee", "right_knee", "left_ankle", "right_ankle"))
    assert min(scores[name] for name in JOINTS) > lacking


@pytest.mark.assets
def test_poses_in_true_boxes_are_as_good_as_the_card_says(assets: Path) -> None:
    card = card_of(POSE)
    truth = read_truth(assets / "gt" / "coco_val" / "person_keypoints_all.json")
    boxes = truth_boxes(truth)
    with closing(open_backend(POSE, precision="fp32")) as backend:
        poses = estimate_poses(PoseEstimator(backend, card, PoseOptions()), truth.pictures, boxes)
    found = pose_results(boxes, poses, crop_areas(boxes, card.input.size), PoseRules(None))
    assert card.accuracy is not None
    assert score_poses(truth, found).ap == pytest.approx(card.accuracy.gt_box_ap, abs=0.003)


@pytest.mark.assets
def test_people_are_found_as_well_as_the_card_says(assets: Path) -> None:
    card = card_of(DETECTOR)
    truth = read_truth(assets / "gt" / "coco_val" / "person_keypoints_exact.json")
    with closing(open_backend(DETECTOR, precision="fp32")) as backend:
        boxes = detect_people(PersonDetector(backend, card, REPORTED), truth.pictures)
    assert card.accuracy is not None
    assert score_boxes(truth, box_results(boxes)).ap == pytest.approx(card.accuracy.person_ap, abs=0.003)
