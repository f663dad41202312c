"""Boxes that poses imply, and how alike poses are."""

from __future__ import annotations

import numpy as np
import pytest

from tracker.pose import SPREAD, carried, extents, implied_boxes, similarity

BODY = np.array([[[20, 10], [10, 30], [30, 30], [12, 60], [28, 60], [20, 40]]], float)
"""Joints between (10, 10) and (30, 60)."""

BOX = np.array([[8, 4, 34, 66]], float)
ALL = np.ones((1, 6), np.bool_)


def test_extent_is_the_smallest_box_round_the_joints_seen() -> None:
    seen = np.array([[True] * 6, [False, True, True, False, False, False], [False] * 6])
    wanted = [[10, 10, 30, 60], [10, 30, 30, 30], [0, 0, 0, 0]]
    np.testing.assert_array_equal(extents(np.repeat(BODY, 3, axis=0), seen), wanted)


@pytest.mark.parametrize("shift", [(0, 0), (15, -4), (-1000, 2000)])
def test_a_pose_that_moved_carries_its_box_along(shift: tuple[float, float]) -> None:
    boxes, trusted = implied_boxes(BOX, BODY, ALL, BODY + shift, ALL)
    np.testing.assert_allclose(boxes, BOX + np.tile(shift, 2))
    assert trusted.tolist() == [True]


@pytest.mark.parametrize(("growth", "is_trusted"), [(1.2, True), (0.8, True), (1.6, False), (0.6, False)])
def test_a_pose_that_grew_grows_its_box_within_reason(growth: float, is_trusted: bool) -> None:
    boxes, trusted = implied_boxes(BOX, BODY, ALL, BODY * growth, ALL)
    assert trusted.tolist() == [is_trusted]
    np.testing.assert_allclose(boxes, BOX * growth)


def test_raised_arms_stretch_the_box_only_where_they_are() -> None:
    raised = BODY.copy()
    raised[0, 0] = [20, 2]
    boxes, _ = implied_boxes(BOX, BODY, ALL, raised, ALL)
    growth = np.hypot(20, 58) / np.hypot(20, 50)
    np.testing.assert_allclose(boxes, [[10 - 2 * growth, 2 - 6 * growth, 30 + 4 * growth, 60 + 6 * growth]])


def test_joints_seen_only_once_do_not_count() -> None:
    jumped = BODY.copy()
    jumped[0, 4:] += 500
    now = ALL.copy()
    now[0, 4:] = False
    boxes, trusted = implied_boxes(BOX, BODY, ALL, jumped, now)
    assert trusted.tolist() == [True]
    np.testing.assert_allclose(boxes, BOX)


@pytest.mark.parametrize("common", [0, 1, 3])
def test_too_few_joints_say_nothing(common: int) -> None:
    now = np.arange(6)[None] < common
    boxes, trusted = implied_boxes(BOX, BODY, ALL, BODY, now)
    assert trusted.tolist() == [False]
    assert np.isfinite(boxes).all()


def test_a_pose_without_extent_is_not_trusted() -> None:
    boxes, trusted = implied_boxes(BOX, np.full_like(BODY, 7), ALL, BODY, ALL)
    assert trusted.tolist() == [False]
    assert np.isfinite(boxes).all()


def test_the_same_pose_is_wholly_alike_and_a_far_one_not_at_all() -> None:
    points = np.concatenate([BODY, BODY, BODY + 500])
    seen = np.repeat(ALL, 3, axis=0)
    alike = similarity(points, seen, np.repeat(BODY, 3, axis=0), seen, np.full(3, 1600.0))
    np.testing.assert_allclose(alike, [1, 1, 0], atol=1e-12)


def test_likeness_falls_with_distance_by_the_size_of_the_body() -> None:
    bodies, seen = np.repeat(BODY, 2, axis=0), np.repeat(ALL, 2, axis=0)
    alike = similarity(bodies, seen, bodies + np.array([6, 8]), seen, np.array([1600.0, 400.0]))
    np.testing.assert_allclose(alike, [np.exp(-(10**2) / (2 * area * SPREAD**2)) for area in (1600, 400)])


def test_poses_with_few_joints_in_common_are_not_alike() -> None:
    seen = np.array([[True, True, True, True, False, False]])
    other = np.array([[False, False, False, True, True, True]])
    area = np.array([1600.0])
    assert similarity(BODY, seen, BODY, seen, area).tolist() == [1]
    assert np.isnan(similarity(BODY, seen, BODY, other, area)).all()


def test_nobody_is_like_nobody() -> None:
    none = np.zeros((0, 6, 2))
    assert similarity(none, none[..., 0] > 0, none, none[..., 0] > 0, np.zeros(0)).shape == (0,)
    boxes, trusted = implied_boxes(*(np.zeros((0, 4)), none, none[..., 0] > 0), none, none[..., 0] > 0)
    assert boxes.shape == (0, 4)
    assert trusted.shape == (0,)


def test_a_pose_is_carried_and_grows_with_its_body() -> None:
    then, now = np.array([[20.0, 40, 30, 60]]), np.array([[120.0, 50, 45, 90]])
    np.testing.assert_allclose(carried(BODY, then, now), (BODY - [20, 40]) * 1.5 + [120, 50])
