"""MPII's annotations and PCKh by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fakes import STICK
from scipy.io import savemat

from engines.backends.base import EngineError
from engines.crop import crop_matrices
from engines.mpii import head_sizes, mpii_boxes, person_boxes, read_mpii, score_mpii, shared_joints
from engines.results import Poses
from engines.skeletons import COCO17, MPII16

JOINTS = np.stack([np.arange(16) * 10.0, np.arange(16) * 5.0], axis=1) + 11
"""Sixteen joints in pixels from 1."""
TOP = 9
HEAD = 0.75 * np.hypot(10, 5)
"""Head top and upper neck are (10, 5) apart: 0.8 of a diagonal whose 0.6 is the head's size."""


def entry(image: str = "a.png", **more: Any) -> dict[str, Any]:
    return {"image": image, "center": [101, 51], "scale": 2, "joints": JOINTS.tolist(), "joints_vis": [1] * 16} | more


def write(folder: Path, *entries: dict[str, Any]) -> Path:
    for each in entries:
        cv2.imwrite(str(folder / each["image"]), np.zeros((60, 80, 3), np.uint8))
    file = folder / "valid.json"
    file.write_text(json.dumps(entries))
    return file


def poses(*points: np.ndarray) -> Poses:
    rows = np.array(points, np.float32)
    return Poses(rows, np.ones(rows.shape[:2], np.float32), MPII16)


def test_pixels_are_counted_from_nothing_and_people_grouped(tmp_path: Path) -> None:
    truth = read_mpii(write(tmp_path, entry(), entry("b.png"), entry()))
    np.testing.assert_allclose(truth.joints[0], JOINTS - 1)
    assert [(p.path.name, p.people) for p in truth.pictures] == [("a.png", (0, 2)), ("b.png", (1,))]
    assert mpii_boxes(truth)[0].boxes.shape == (2, 4)
    np.testing.assert_allclose(truth.head_sizes, [HEAD] * 3)


def test_the_crop_is_the_references() -> None:
    (box,) = person_boxes(np.array([[101.0, 51.0]]), np.array([2.0]))
    # centre (101, 51 + 15 * 2) - 1; side 200 * 2, which the crop's padding makes 500
    np.testing.assert_allclose(box, [-100, -120, 300, 280])
    (matrix,) = crop_matrices(box[None], (256, 256))
    assert matrix[0, 0] == pytest.approx(256 / 500)
    np.testing.assert_allclose(matrix @ [100, 80, 1], [128, 128])


def test_without_a_centre_nothing_is_moved_or_grown() -> None:
    (box,) = person_boxes(np.array([[-1.0, -1.0]]), np.array([1.25]))
    np.testing.assert_allclose(box, [-102, -102, 98, 98])


def test_the_heads_size_needs_both_ends() -> None:
    visible = np.ones((2, 16), bool)
    visible[1, TOP] = False
    sizes = head_sizes(np.stack([JOINTS, JOINTS]), visible)
    assert sizes[0] == pytest.approx(HEAD)
    assert np.isnan(sizes[1])


def test_half_a_head_is_near_enough(tmp_path: Path) -> None:
    truth = read_mpii(write(tmp_path, entry()))
    points = JOINTS - 1
    points[0] += (HEAD * 0.499, 0)  # an ankle just within
    points[1] += (0, HEAD * 0.501)  # a knee just outside
    points[6] += 500  # the pelvis does not count
    scores = score_mpii(truth, {0: poses(points)})
    assert scores.groups["Ankle"] == 100
    assert scores.groups["Knee"] == 50
    assert scores.groups["Head"] == 100
    assert scores.mean == pytest.approx(100 * 13 / 14)
    assert len(scores.joints) == 14


def test_the_mean_weighs_joints_by_how_often_they_count(tmp_path: Path) -> None:
    hidden = entry(joints_vis=[0] * 8 + [1, 1] + [0] * 6)  # neck and head only
    truth = read_mpii(write(tmp_path, entry(), hidden))
    good, bad = JOINTS - 1, JOINTS + 500
    scores = score_mpii(truth, {0: poses(good, bad)})
    assert scores.groups["Head"] == 50
    assert scores.groups["Wrist"] == 100
    assert scores.mean == pytest.approx(100 * 14 / 16)


def test_the_official_file_decides(tmp_path: Path) -> None:
    file = write(tmp_path, entry(), entry())
    joints = np.stack([JOINTS, JOINTS + 3], axis=-1)  # (16, 2, P)
    missing = np.zeros((16, 2))
    missing[10, 1] = 1
    heads = np.array([[[0.0, 5.0], [0.0, 5.0]], [[30.0, 8.0], [40.0, 9.0]]])  # corner, axis, person: 50 and 5 long
    savemat(tmp_path / "gt_valid.mat", {"pos_gt_src": joints, "jnt_missing": missing, "headboxes_src": heads})
    truth = read_mpii(file, official=tmp_path / "gt_valid.mat")
    np.testing.assert_allclose(truth.joints[1], JOINTS + 2)
    np.testing.assert_allclose(truth.head_sizes, [30, 3])
    assert np.argwhere(~truth.visible).tolist() == [[1, 10]]
    savemat(tmp_path / "other.mat", {"pos_gt_src": joints[..., :1], "jnt_missing": missing, "headboxes_src": heads})
    with pytest.raises(ValueError, match="has 1 people, the annotations have 2"):
        read_mpii(file, official=tmp_path / "other.mat")
    savemat(tmp_path / "none.mat", {"x": 1})
    with pytest.raises(ValueError, match=r"no gt_valid\.mat"):
        read_mpii(file, official=tmp_path / "none.mat")


def test_another_skeleton_is_scored_by_the_joints_it_shares(tmp_path: Path) -> None:
    own, theirs = shared_joints(COCO17)
    assert [MPII16.names[i] for i in own] == [COCO17.names[i] for i in theirs]
    assert len(own) == 12
    truth = read_mpii(write(tmp_path, entry()))
    points = np.zeros((1, 17, 2), np.float32)
    points[0, theirs] = (JOINTS - 1)[own]
    scores = score_mpii(truth, {0: Poses(points, np.ones((1, 17), np.float32), COCO17)})
    assert scores.groups["Head"] is None
    assert scores.mean == 100
    with pytest.raises(EngineError, match="stick: has no joint"):
        shared_joints(STICK)


@pytest.mark.parametrize("text", ["{", "[]", '{"images": []}', '[{"image": "a.png"}]'])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "valid.json").write_text(text)
    with pytest.raises(ValueError, match=r"valid\.json: no (JSON|MPII people)"):
        read_mpii(tmp_path / "valid.json")


@pytest.mark.assets
def test_head_ends_tell_the_box_of_real_people(assets: Path) -> None:
    """The diagonal of a head's box, whose corners are whole pixels: its square is a sum of two squares."""
    truth = read_mpii(assets / "gt" / "mini" / "mpii" / "test_mpii.json")
    squares = (truth.head_sizes / 0.6) ** 2
    np.testing.assert_allclose(squares, [38653, 5389, 17109, 18325, 19773], atol=0.05)
    sides = [(117, 158), (45, 58), (78, 105), (73, 114), (78, 117)]
    np.testing.assert_allclose(squares, [a * a + b * b for a, b in sides], atol=0.05)
