"""Angles of drawn skeletons."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from fakes import make_frame

from engines.results import Poses, Skeleton
from engines.skeletons import COCO17, HALPE26, MPII16
from stream.angles import ANGLES, joint_angles
from stream.pipeline import Result
from stream.sinks.record_formats import Csv, Jsonl
from tracker.results import Tracks

LIMB = 50.0


def drawn(skeleton: Skeleton, bend: dict[str, float], lean: float = 0.0, turn: float = 0.0) -> np.ndarray:
    """A body in a picture whose angles are `bend`, the rest 180, whose trunk leans; all turned by `turn` degrees.

    Limbs are drawn from the hips' middle outwards, each by its angle with the one before.
    """
    up = np.radians(lean)
    spine = np.array([np.sin(up), -np.cos(up)])
    side = np.array([spine[1], -spine[0]])  # to the body's left as seen from behind
    points: dict[str, np.ndarray] = {}
    for name, sign in (("left", 1.0), ("right", -1.0)):
        hip = sign * 15 * side
        shoulder = hip + 2 * LIMB * spine
        chain = {"hip": hip, "shoulder": shoulder}
        for joint, after, end in (("hip", "shoulder", "knee"), ("knee", "hip", "ankle"), ("ankle", "knee", "big_toe")):
            chain[end] = chain[joint] + turned(chain[after] - chain[joint], sign * bend.get(f"{name}_{joint}", 180.0))
        for joint, after, end in (("shoulder", "hip", "elbow"), ("elbow", "shoulder", "wrist")):
            chain[end] = chain[joint] + turned(chain[after] - chain[joint], sign * bend.get(f"{name}_{joint}", 180.0))
        points |= {f"{name}_{joint}": point for joint, point in chain.items()}
    spin = np.radians(turn)
    rotation = np.array([[np.cos(spin), -np.sin(spin)], [np.sin(spin), np.cos(spin)]])
    placed = np.array([points.get(name, np.zeros(2)) for name in skeleton.names]) @ rotation.T + [320, 240]
    return placed.astype(np.float32)[None]


def turned(way: np.ndarray, degrees: float) -> np.ndarray:
    """A limb long, `degrees` from `way`."""
    angle = np.arctan2(way[1], way[0]) + np.radians(degrees)
    return LIMB * np.array([np.cos(angle), np.sin(angle)])


def measured(skeleton: Skeleton, points: np.ndarray, scores: np.ndarray | None = None) -> dict[str, float]:
    scores = np.ones(points.shape[:2], np.float32) if scores is None else scores
    (row,) = joint_angles(points, scores, skeleton.names, 0.3)
    return dict(zip(ANGLES, row.tolist(), strict=True))


@pytest.mark.parametrize("skeleton", [COCO17, HALPE26, MPII16])
@pytest.mark.parametrize("angle", [5.0, 45, 90, 137, 179])
@pytest.mark.parametrize("name", ANGLES[:-1])
def test_a_bend_is_measured_and_no_other_joint_changes(skeleton: Skeleton, name: str, angle: float) -> None:
    found = measured(skeleton, drawn(skeleton, {name: angle}))
    for other, value in found.items():
        if "ankle" in other and skeleton is not HALPE26:
            assert np.isnan(value)
        elif other != "trunk":
            assert value == pytest.approx(angle if other == name else 180, abs=0.05)


@pytest.mark.parametrize("turn", [0.0, 30, -100, 180])
def test_joints_do_not_depend_on_where_up_is_but_the_trunk_does(turn: float) -> None:
    bend = {"left_knee": 120.0, "right_elbow": 60.0, "left_ankle": 95.0}
    found = measured(HALPE26, drawn(HALPE26, bend, turn=turn))
    assert found["left_knee"] == pytest.approx(120, abs=0.05)
    assert found["right_elbow"] == pytest.approx(60, abs=0.05)
    assert found["left_ankle"] == pytest.approx(95, abs=0.05)
    assert abs(found["trunk"]) == pytest.approx(abs(turn), abs=0.05)


@pytest.mark.parametrize("lean", [0.0, 10, -35, 90, 170])
def test_the_trunk_leans_to_the_right_of_the_picture_positive(lean: float) -> None:
    assert measured(COCO17, drawn(COCO17, {}, lean=lean))["trunk"] == pytest.approx(lean, abs=0.05)


def test_a_joint_that_is_not_trusted_has_no_angle_nor_have_its_neighbours() -> None:
    scores = np.ones((1, 17), np.float32)
    scores[0, COCO17.names.index("left_knee")] = 0.2
    found = measured(COCO17, drawn(COCO17, {}), scores)
    missing = {name for name, value in found.items() if np.isnan(value)}
    assert missing == {"left_knee", "left_hip", "left_ankle", "right_ankle"}


def test_joints_in_one_spot_have_no_angle() -> None:
    found = joint_angles(np.zeros((1, 17, 2), np.float32), np.ones((1, 17), np.float32), COCO17.names, 0.3)
    assert np.isnan(found[0, :-1]).all()


def test_nobody_has_none() -> None:
    assert joint_angles(np.zeros((0, 17, 2), np.float32), np.zeros((0, 17), np.float32), COCO17.names, 0).shape == (
        0,
        11,
    )


def result(people: int) -> Result:
    points = drawn(COCO17, {"left_knee": 90.0}, lean=12)[[0] * people]
    tracks = Tracks(np.arange(1, people + 1), np.zeros((people, 4), np.float32), np.ones(people, np.float32))
    return Result(make_frame(), tracks, Poses(points, np.ones((people, 17), np.float32), COCO17))


def test_records_have_them_by_name_and_nothing_where_they_are_not_known() -> None:
    (line,) = Jsonl(least_angle_score=0.3).rows(result(1)).splitlines()
    angles = json.loads(line)["people"][0]["angles"]
    assert list(angles) == list(ANGLES)
    assert (angles["left_knee"], angles["trunk"], angles["left_ankle"]) == (90.0, 12.0, None)
    table = list(csv.DictReader(io.StringIO(Csv(utc_of=lambda _: None, least_angle_score=0.3).rows(result(2)))))
    assert [(row["left_knee_deg"], row["trunk_deg"], row["left_ankle_deg"]) for row in table] == [
        ("90.0", "12.0", "")
    ] * 2
    assert list(table[0])[-12:] == [*(f"{name}_deg" for name in ANGLES), "utc"]


def test_without_the_wish_there_are_none() -> None:
    assert "angles" not in Jsonl().rows(result(1))
    assert "deg" not in Csv().rows(result(1))
