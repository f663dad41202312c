"""Boxes and poses of two networks, measured against each other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engines.agreement import BODY_OF_BOX, box_agreement, box_distance, joint_agreement, pose_agreement
from engines.results import Detections, Poses, Skeleton

STICK = Skeleton("stick", ("top", "bottom"), ((0, 1),), (), (0.1, 0.05))
BOX = (0, 0, 10, 10)


def people(*rows: tuple[float, ...]) -> Detections:
    table = np.array(rows, np.float32).reshape(-1, 5)
    return Detections(table[:, :4], table[:, 4])


def poses(*points: tuple[tuple[float, float], ...], score: float = 1.0) -> Poses:
    return Poses(np.array(points, np.float32).reshape(-1, 2, 2), np.full((len(points), 2), score, np.float32), STICK)


def test_the_same_boxes_agree_wholly_and_none_with_nothing() -> None:
    both = [people((*BOX, 0.9), (20, 0, 30, 10, 0.5)), people()]
    assert box_agreement(both, both) == 1.0
    assert box_agreement([people(), people()], both) == 0.0
    assert box_agreement(both, [people(), people()]) is None
    assert box_agreement([], []) is None


def test_a_shifted_box_counts_up_to_the_overlap_it_has() -> None:
    # 10 wide, shifted by 1: overlap 9 / 11 = 0.818, found at 0.50 to 0.80, 7 of 10.
    assert box_agreement([people((1, 0, 11, 10, 0.9))], [people((*BOX, 0.8))]) == pytest.approx(0.7)


def test_a_false_box_costs_only_where_it_is_surer_than_a_true_one() -> None:
    truth = [people((*BOX, 0.9))]
    false = (50, 50, 60, 60)
    assert box_agreement([people((*BOX, 0.9), (*false, 0.8))], truth) == 1.0
    assert box_agreement([people((*false, 0.9), (*BOX, 0.8))], truth) == pytest.approx(0.5)


def test_a_person_found_twice_is_one_person_and_a_false_box() -> None:
    truth = [people((*BOX, 0.9), (20, 0, 30, 10, 0.9))]
    twice = [people((*BOX, 0.9), (*BOX, 0.8), (20, 0, 30, 10, 0.7))]
    # Precision 1 up to recall 0.5 (51 of 101 recalls), then 2 / 3.
    assert box_agreement(twice, truth) == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_boxes_agree_as_cocos_reference_scoring_has_it(tmp_path: Path) -> None:
    coco = pytest.importorskip("faster_coco_eval")
    random = np.random.default_rng(3)
    truth, found = [], []
    for _ in range(6):
        corners = random.uniform(0, 200, (5, 2))
        boxes = np.hstack([corners, corners + random.uniform(20, 80, (5, 2))]).astype(np.float32)
        moved = np.vstack([boxes[:4] + random.normal(0, 3, (4, 4)), boxes[:3] + 70]).astype(np.float32)
        truth.append(Detections(boxes, np.ones(5, np.float32)))
        order = np.argsort(-(scores := random.uniform(0.1, 1, 7).astype(np.float32)))
        found.append(Detections(moved[order], scores[order]))

    def rows(pictures: list[Detections]) -> list[dict[str, object]]:
        return [
            {
                "id": 10 * i + j + 1, "image_id": i, "category_id": 1, "iscrowd": 0, "score": float(score),
                "bbox": [float(b[0]), float(b[1]), float(b[2] - b[0]), float(b[3] - b[1])],
                "area": float((b[2] - b[0]) * (b[3] - b[1])),
            }
            for i, one in enumerate(pictures)
            for j, (b, score) in enumerate(zip(one.boxes, one.scores, strict=True))
        ]  # fmt: skip

    file = tmp_path / "truth.json"
    images = [{"id": i, "width": 400, "height": 400} for i in range(6)]
    file.write_text(json.dumps({"images": images, "categories": [{"id": 1}], "annotations": rows(truth)}))
    reference = coco.COCO(str(file))
    scoring = coco.COCOeval_faster(reference, reference.loadRes(rows(found)), "bbox", print_function=lambda *_: None)
    scoring.run()
    assert box_agreement(found, truth) == pytest.approx(scoring.stats[0], abs=1e-6)


def test_the_same_poses_agree_wholly() -> None:
    pose = poses(((1, 2), (3, 4)))
    assert pose_agreement([pose], [pose], [np.float32([BOX])]) == 1.0


def test_a_moved_joint_counts_by_its_spread_and_the_bodys_size() -> None:
    truth, moved = poses(((0, 0), (0, 10))), poses(((0, 3), (0, 10)))
    alike = np.exp(-9 / (2 * BODY_OF_BOX * 100 * 0.2**2))
    assert pose_agreement([moved], [truth], [np.float32([BOX])]) == pytest.approx((1 + alike) / 2)


def test_what_the_truth_does_not_see_is_not_counted() -> None:
    unsure = poses(((0, 0), (0, 10)), score=0.2)
    assert pose_agreement([poses(((9, 9), (9, 9)))], [unsure], [np.float32([BOX])]) is None
    half = Poses(unsure.keypoints, np.float32([[0.1, 0.9]]), STICK)
    assert pose_agreement([poses(((9, 9), (0, 10)))], [half], [np.float32([BOX])]) == 1.0
    assert pose_agreement([], [], []) is None


def test_joints_are_matched_by_name_and_unknown_ones_passed_over() -> None:
    pose = poses(((0, 0), (0, 10)))
    true, nobody = np.float32([[[0, 10], [0, 0]]]), np.zeros((0, 2, 2), np.float32)
    boxes = [np.float32([BOX])] * 2
    assert joint_agreement([pose, pose], [true, nobody], boxes, ("bottom", "top")) == pytest.approx(1.0)
    assert joint_agreement([pose, pose], [true, nobody], boxes, ("top", "bottom")) < 0.01
    assert joint_agreement([pose], [nobody], boxes[:1], ("top", "bottom")) == 0.0


def test_boxes_are_as_far_as_their_overlap_and_their_scores_say() -> None:
    truth = [people((*BOX, 0.8)), people(), people((*BOX, 0.5), (20, 0, 30, 10, 0.5))]
    assert box_distance(truth, truth) == pytest.approx(0, abs=1e-6)
    # overlap 9 / 11 at half the score; nobody is true in the second; one is found, one is not
    found = [people((1, 0, 11, 10, 0.4), (50, 50, 60, 60, 0.9)), people((*BOX, 0.9)), people((*BOX, 0.5))]
    assert box_distance(found, truth) == pytest.approx(1 - (9 / 22 + 1 + 0) / 3)
    assert box_distance([people()], [people((*BOX, 0.8))]) == 1.0


def test_boxes_are_far_from_nobody_is_no_question() -> None:
    with pytest.raises(ValueError, match="nobody is in the pictures, give some with people"):
        box_distance([people((*BOX, 0.9))], [people()])
