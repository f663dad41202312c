"""OKS by hand and against slow loops; OKS-NMS; the scores of poses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engines.oks import oks, oks_nms, pose_scores
from engines.skeletons import COCO17


def slow_oks(points, other, area, sigmas, counted) -> float:
    """One pair, joint by joint, as cocoapi's computeOks writes it."""
    total, count = 0.0, 0
    for (x, y), (u, v), sigma, counts in zip(points, other, sigmas, counted, strict=True):
        if counts:
            total += math.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * sigma) ** 2 / area / 2)
            count += 1
    return total / count if count else 0.0


def test_one_joint_by_hand() -> None:
    points, others = np.array([[[3.0, 4.0]]]), np.array([[[0.0, 0.0]]])  # 5 pixels apart
    # sigma 0.1: (2 sigma)^2 = 0.04; 25 / (2 * 100 * 0.04) = 3.125
    assert oks(points, others, np.array(100.0), (0.1,))[0, 0] == pytest.approx(math.exp(-3.125))


def test_agrees_with_slow_loops() -> None:
    rng = np.random.default_rng(0)
    points, others = rng.uniform(0, 40, (5, 17, 2)).astype(np.float32), rng.uniform(0, 40, (3, 17, 2))
    areas, counted = rng.uniform(100, 9000, (5, 3)), rng.random((5, 17)) > 0.3
    wanted = [
        [slow_oks(points[i], others[j], areas[i, j], COCO17.sigmas, counted[i]) for j in range(3)] for i in range(5)
    ]
    np.testing.assert_allclose(oks(points, others, areas, COCO17.sigmas, counted), wanted, rtol=1e-6)


@pytest.mark.parametrize(("people", "others"), [(0, 0), (0, 2), (2, 0)])
def test_nobody_is_like_nobody(people: int, others: int) -> None:
    found = oks(np.zeros((people, 17, 2)), np.zeros((others, 17, 2)), np.ones((people, others)), COCO17.sigmas)
    assert found.shape == (people, others)


def test_without_a_counted_joint_nothing_is_like_it() -> None:
    pose = np.zeros((1, 2, 2))
    assert oks(pose, pose, np.array(1.0), (0.1, 0.1), np.zeros((1, 2), bool))[0, 0] == 0
    assert oks(pose, pose, np.array(0.0), (0.1, 0.1))[0, 0] == 1, "even without an area"


def test_pose_scores_take_seen_joints_only() -> None:
    joints = np.array([[0.9, 0.5, 0.2, 0.1], [0.2, 0.1, 0.0, 0.0]], np.float32)  # 0.2 is not above 0.2
    np.testing.assert_allclose(pose_scores(np.array([0.5, 1.0], np.float32), joints), [0.5 * 0.7, 0], rtol=1e-6)
    assert pose_scores(np.zeros(0, np.float32), np.zeros((0, 4), np.float32)).shape == (0,)


def pose_at(x: float) -> np.ndarray:
    return np.array([[x, 0.0], [x, 10.0]])


@pytest.mark.parametrize(
    ("shifts", "scores", "kept"),
    [
        ([], [], []),
        ([0], [0.1], [0]),
        ([0, 0, 50], [0.3, 0.9, 0.5], [1, 2]),  # the better of the pair, best first
        ([0, 0], [0.5, 0.5], [0]),  # of equals the first
        ([0, 6, 12], [0.9, 0.8, 0.7], [0, 2]),  # a dropped one drops none
    ],
)
def test_the_better_of_two_alike_stays(shifts: list[float], scores: list[float], kept: list[int]) -> None:
    points = np.array([pose_at(x) for x in shifts]).reshape(-1, 2, 2)
    # sigma 0.1 and area 10,000: 6 pixels apart 36 / 800 -> OKS 0.956, 12 apart 0.835
    found = oks_nms(points, np.array(scores), np.full(len(shifts), 10_000.0), (0.1, 0.1), 0.9)
    assert found.tolist() == kept


def test_a_pair_is_judged_by_the_mean_of_its_areas() -> None:
    points = np.array([pose_at(0), pose_at(6)])
    scores = np.array([1.0, 0.5])
    # exp(-36 / (2 * 0.04 * area)) = 0.9 at area 4271
    assert oks_nms(points, scores, np.array([8600.0, 0.0]), (0.1, 0.1), 0.9).tolist() == [0]
    assert oks_nms(points, scores, np.array([8500.0, 0.0]), (0.1, 0.1), 0.9).tolist() == [0, 1]
