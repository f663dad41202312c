"""Crops in a grid, their limbs in it."""

from __future__ import annotations

import numpy as np
import pytest

from engines.results import Skeleton
from engines.training.contact_sheet import contact_sheet

STICK = Skeleton("stick", ("nose", "left_hand", "right_hand"), ((0, 1), (0, 2)), ((1, 2),), (0.1, 0.1, 0.1))
POINTS = np.array([[[8, 4], [2, 12], [14, 12]]] * 3, np.float32)
SCORES = np.ones((3, 3), np.float32)


def crops(count: int) -> np.ndarray:
    return np.stack([np.full((20, 16, 3), 10 * (1 + row), np.uint8) for row in range(count)])


def test_crops_stand_row_by_row_and_what_is_left_is_black() -> None:
    sheet = contact_sheet(crops(3), POINTS, np.zeros((3, 3), np.float32), STICK, columns=2)
    assert (sheet.shape, sheet.dtype) == ((40, 32, 3), np.uint8)
    assert [sheet[y, x].tolist() for y in (0, 20) for x in (0, 16)] == [[10] * 3, [20] * 3, [30] * 3, [0] * 3]
    assert contact_sheet(crops(3), POINTS, SCORES, STICK).shape == (20, 48, 3)


def test_limbs_whose_joints_are_seen_are_drawn_by_side() -> None:
    scores = SCORES.copy()
    scores[1, 2] = 0.1
    sheet = contact_sheet(crops(3), POINTS, scores, STICK)
    left, right = sheet[8, 5].astype(int), sheet[8, 11].astype(int)
    assert left[2] > 200 > left[0]  # the body's left is orange, its right blue
    assert right[0] > 200 > right[2]
    assert sheet[8, 16 + 5].tolist() == left.tolist()
    assert sheet[8, 16 + 11].tolist() == [20, 20, 20]


def test_the_truth_is_drawn_white_below() -> None:
    visible = np.array([[True, True, False]] * 3)
    sheet = contact_sheet(crops(3), POINTS, np.zeros((3, 3), np.float32), STICK, truth=(POINTS, visible))
    assert sheet[8, 5].min() > 200
    assert sheet[8, 11].tolist() == [10, 10, 10]


def test_the_crops_are_left_as_they_are_and_joints_may_be_anywhere() -> None:
    given = crops(3)
    wild = np.array([[[8, 4], [np.nan, 12], [1e30, -1e30]]] * 3, np.float32)
    assert contact_sheet(given, wild, SCORES, STICK).shape == (20, 48, 3)
    np.testing.assert_array_equal(given, crops(3))


def test_no_crop_or_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a crop and a column, got 0 and 8"):
        contact_sheet(np.zeros((0, 20, 16, 3), np.uint8), POINTS[:0], SCORES[:0], STICK)
    with pytest.raises(ValueError, match=r"keypoints must be \(3, 3, 2\), got \(2, 3, 2\)"):
        contact_sheet(crops(3), POINTS[:2], SCORES, STICK)
