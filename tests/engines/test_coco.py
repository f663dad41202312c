"""COCO's files read and its scores, on people drawn by hand and on real annotations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engines.backends.base import EngineError
from engines.coco import (
    PoseRules,
    box_results,
    check_joints,
    pose_results,
    read_detections,
    read_truth,
    score_boxes,
    score_poses,
    truth_boxes,
)
from engines.results import Detections, Poses
from engines.skeletons import COCO17, HALPE26, MPII16

SPREAD = np.stack([np.arange(17) % 5 * 8, np.arange(17) // 5 * 20], axis=1) + 20.0
"""Seventeen joints, the farthest 32 and 60 pixels from the first."""
ASIDE = np.array([60.0, 20.0])
"""How far off a second person stands."""


def person(number: int, joints: np.ndarray, **more: Any) -> dict[str, Any]:
    row = np.column_stack([joints, np.full(17, 2)]).ravel().tolist()
    low, high = joints.min(axis=0), joints.max(axis=0)
    box = [*(low - 4).tolist(), *(high - low + 8).tolist()]
    base = {"id": number, "image_id": 7, "category_id": 1, "iscrowd": 0, "keypoints": row, "num_keypoints": 17}
    return base | {"bbox": box, "area": box[2] * box[3]} | more


def write(folder: Path, annotations: list[dict[str, Any]], pictures: int = 1) -> Path:
    """An annotation file whose pictures, numbered from 7, lie in `images` beside it."""
    (folder / "images").mkdir(exist_ok=True)
    images = []
    for number in range(7, 7 + pictures):
        name = f"{number:012d}.png"
        cv2.imwrite(str(folder / "images" / name), np.zeros((120, 160, 3), np.uint8))
        images.append({"id": number, "file_name": name, "height": 120, "width": 160})
    file = folder / "person_keypoints_val2017.json"
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "bicycle"}]
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return file


def poses(*joints: np.ndarray, scores: float = 0.8) -> Poses:
    points = np.array(joints, np.float32).reshape(-1, 17, 2)
    return Poses(points, np.full(points.shape[:2], scores, np.float32), COCO17)


def found(*rows: tuple[float, float, float, float, float]) -> Detections:
    table = np.array(rows, np.float32).reshape(-1, 5)
    return Detections(table[:, :4], table[:, 4])


def test_people_with_joints_who_are_no_crowd_are_read(tmp_path: Path) -> None:
    one = person(1, SPREAD)
    one["keypoints"][2] = 0  # the nose is not annotated
    one["keypoints"][5] = 1  # an eye is annotated, but hidden
    nobody = person(2, SPREAD, keypoints=[0] * 51, num_keypoints=0)
    file = write(tmp_path, [one, nobody, person(3, SPREAD, iscrowd=1), person(4, SPREAD, category_id=2)], pictures=2)
    truth = read_truth(file)
    assert truth.people == 1
    first, second = truth.pictures
    assert (first.number, first.size, first.path.name) == (7, (120, 160), "000000000007.png")
    np.testing.assert_allclose(first.boxes, [[16, 16, 56, 84]])
    np.testing.assert_allclose(first.keypoints[0, 1:], SPREAD[1:])
    assert first.visible.tolist() == [[False, *[True] * 16]]
    assert first.areas.tolist() == [40 * 68]
    assert second.boxes.shape == (0, 4)
    assert second.keypoints.shape == (0, 17, 2)
    boxes = truth_boxes(truth)
    assert boxes[7].scores.tolist() == [1]
    assert boxes[8].scores.shape == (0,)


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "no JSON"), ("[]", "no COCO annotations"), ('{"images": [{"id": 1}], "annotations": []}', "file_name")],
)
def test_another_file_is_refused_by_its_name(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "other.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=rf"other\.json: .*{words}"):
        read_truth(file)


def test_missing_pictures_are_counted(tmp_path: Path) -> None:
    file = write(tmp_path, [person(1, SPREAD)], pictures=3)
    (tmp_path / "images" / "000000000008.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of its 3 pictures, 000000000008\.png the first, .*--images"):
        read_truth(file)
    with pytest.raises(FileNotFoundError, match="3 of its 3 pictures"):
        read_truth(file, tmp_path)


def test_pictures_are_found_as_coco_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    file = write(tmp_path / "annotations", [])
    (tmp_path / "annotations" / "images").rename(tmp_path / "val2017")
    assert read_truth(file).pictures[0].path == tmp_path / "val2017" / "000000000007.png"


def test_detections_are_peoples_of_these_pictures_best_first(tmp_path: Path) -> None:
    truth = read_truth(write(tmp_path, [], pictures=2))
    file = tmp_path / "dets.json"
    rows = [(7, 1, 0.2), (7, 1, 0.9), (7, 2, 0.8), (99, 1, 0.7)]
    file.write_text(
        json.dumps([{"image_id": i, "category_id": c, "bbox": [1, 2, 10, 20], "score": s} for i, c, s in rows])
    )
    boxes = read_detections(file, truth)
    np.testing.assert_allclose(boxes[7].scores, [0.9, 0.2])
    np.testing.assert_allclose(boxes[7].boxes, [[1, 2, 11, 22]] * 2)
    assert boxes[8].boxes.shape == (0, 4)


@pytest.mark.parametrize(("text", "words"), [('[{"bbox": 1}]', "no COCO results"), ("[]", "has nobody in any picture")])
def test_a_file_without_their_boxes_is_refused(tmp_path: Path, text: str, words: str) -> None:
    truth = read_truth(write(tmp_path, []))
    (tmp_path / "dets.json").write_text(text)
    with pytest.raises(ValueError, match=words):
        read_detections(tmp_path / "dets.json", truth)


def test_perfect_boxes_and_poses_score_one(tmp_path: Path) -> None:
    truth = read_truth(write(tmp_path, [person(1, SPREAD), person(2, SPREAD + ASIDE)]))
    boxes = truth_boxes(truth)
    assert score_boxes(truth, box_results(boxes)).ap == pytest.approx(1)
    perfect = {7: poses(SPREAD, SPREAD + ASIDE)}
    scores = score_poses(truth, pose_results(boxes, perfect, {7: np.full(2, 2720.0)}, PoseRules()))
    assert (scores.ap, scores.ap50, scores.ar) == pytest.approx((1, 1, 1))
    assert scores.ap_medium == pytest.approx(1)
    assert scores.ap_large is None, "nobody is large"


def test_the_missed_person_costs_recall(tmp_path: Path) -> None:
    truth = read_truth(write(tmp_path, [person(1, SPREAD), person(2, SPREAD + ASIDE)]))
    results = pose_results({7: found((0, 0, 1, 1, 0.9))}, {7: poses(SPREAD)}, {7: np.ones(1)}, PoseRules())
    scores = score_poses(truth, results)
    assert scores.ar == pytest.approx(0.5)
    assert scores.ap == pytest.approx(51 / 101)  # COCO reads precision at recalls 0, 0.01, ..., 1


def test_finding_nobody_scores_zero(tmp_path: Path) -> None:
    truth = read_truth(write(tmp_path, [person(1, SPREAD)]))
    assert score_poses(truth, []).ap == 0
    assert score_boxes(truth, []).ap == 0


def test_other_categories_do_not_count(tmp_path: Path) -> None:
    bicycle = person(2, SPREAD + ASIDE, category_id=2)
    del bicycle["keypoints"], bicycle["num_keypoints"]
    truth = read_truth(write(tmp_path, [person(1, SPREAD), bicycle]))
    assert score_boxes(truth, box_results(truth_boxes(truth))).ap == pytest.approx(1)


def test_rules_score_and_thin_out() -> None:
    boxes = {7: found((0, 0, 9, 9, 0.5), (0, 0, 9, 9, 0.4), (0, 0, 9, 9, 0.3)), 8: Detections.none()}
    twice = {7: poses(SPREAD, SPREAD + 0.1, SPREAD + 60), 8: poses()}
    areas = {7: np.full(3, 2720.0), 8: np.zeros(0)}
    kept = pose_results(boxes, twice, areas, PoseRules(oks_nms=0.9, rescore=True))
    assert [row["score"] for row in kept] == pytest.approx([0.5 * 0.8, 0.3 * 0.8])
    assert kept[0]["image_id"] == 7
    assert len(kept[0]["keypoints"]) == 51
    assert kept[0]["keypoints"][:3] == pytest.approx([20, 20, 0.8])
    every = pose_results(boxes, twice, areas, PoseRules(oks_nms=None, rescore=False))
    assert [row["score"] for row in every] == pytest.approx([0.5, 0.4, 0.3])


@pytest.mark.parametrize("bad", [0, 1, -0.5, float("nan")])
def test_a_similarity_lies_between_nothing_and_all(bad: float) -> None:
    with pytest.raises(ValueError, match="oks_nms must lie between 0 and 1"):
        PoseRules(oks_nms=bad)


def test_the_first_joints_must_be_cocos() -> None:
    check_joints(HALPE26)
    with pytest.raises(EngineError, match="mpii16: COCO scores its own 17 joints"):
        check_joints(MPII16)


@pytest.mark.assets
def test_the_official_detections_are_read(assets: Path) -> None:
    folder = assets / "gt" / "mini" / "coco"
    truth = read_truth(folder / "test_coco.json")
    boxes = read_detections(folder / "test_coco_det_AP_H_56.json", truth)
    assert sum(len(b.scores) for b in boxes.values()) == 118
    assert score_boxes(truth, box_results(boxes)).ap50 > 0.8
