"""Labels check their shapes; a set its weight."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from engines.skeletons import COCO17, HALPE26, MPII16
from engines.training.labels import LabelledPicture, LabelledSet, Labels, each_once, in_joints


def labels(**other: np.ndarray) -> Labels:
    arrays = {
        "boxes": np.zeros((2, 4), np.float32),
        "keypoints": np.zeros((2, 17, 2), np.float32),
        "visible": np.zeros((2, 17), np.bool_),
        "crowd": np.zeros(2, np.bool_),
    }
    return Labels(**(arrays | other))


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("boxes", np.zeros((2, 5), np.float32), r"boxes must be \(N, 4\), got \(2, 5\)"),
        ("boxes", np.zeros((2, 4)), "boxes must be float32, got float64"),
        ("keypoints", np.zeros((1, 17, 2), np.float32), r"keypoints must be \(2, N, 2\), got \(1, 17, 2\)"),
        ("visible", np.zeros((2, 16), np.bool_), r"visible must be \(2, 17\), got \(2, 16\)"),
        ("visible", np.zeros((2, 17), np.int64), "visible must be bool, got int64"),
        ("crowd", np.zeros(3, np.bool_), r"crowd must be \(2,\), got \(3,\)"),
    ],
)
def test_another_shape_or_type_is_refused_by_name(name: str, array: np.ndarray, words: str) -> None:
    assert len(labels().boxes) == 2
    with pytest.raises(ValueError, match=words):
        labels(**{name: array})


def test_nobody_has_joints_all_the_same() -> None:
    assert Labels.none(16).keypoints.shape == (0, 16, 2)
    assert Labels.none(16).visible.shape == (0, 16)


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf])
def test_a_weight_is_above_0(weight: float) -> None:
    with pytest.raises(ValueError, match="mine: weight must be a number above 0, got"):
        LabelledSet("mine", (), weight, True, ())


def a_set(*names: str, is_labelled: bool) -> LabelledSet:
    pictures = tuple(LabelledPicture(Path("/pictures") / name, Labels.none(17), is_labelled) for name in names)
    return LabelledSet("a set", pictures, 1.0, is_labelled, ())


def once(*sets: LabelledSet) -> list[tuple[int, str, bool]]:
    return [(number, one.path.name, one.has_all) for number, one in each_once(sets)]


def test_labels_count_before_none_whatever_the_order() -> None:
    folder, labelled = a_set("a", "b", "c", is_labelled=False), a_set("b", "d", is_labelled=True)
    assert once(folder, labelled) == [(1, "b", True), (1, "d", True), (0, "a", False), (0, "c", False)]
    assert once(labelled, folder) == [(0, "b", True), (0, "d", True), (1, "a", False), (1, "c", False)]


def test_pictures_stay_in_the_order_of_the_sets() -> None:
    first, second = a_set("z", "b", is_labelled=True), a_set("b", "a", is_labelled=True)
    assert once(first, second, a_set("c", "z", is_labelled=False)) == [
        (0, "z", True),
        (0, "b", True),
        (1, "a", True),
        (2, "c", False),
    ]


def test_joints_stay_where_they_are_called_the_same() -> None:
    same = labels()
    assert in_joints(same, list(COCO17.names), COCO17) is same
    assert in_joints(Labels.none(17), COCO17.names, MPII16).keypoints.shape == (0, 16, 2)


def test_joints_go_by_their_names() -> None:
    points = np.array([[[3, 4], [5, 6], [7, 8]]], np.float32)
    one = Labels(np.zeros((1, 4), np.float32), points, np.array([[True, True, False]]), np.zeros(1, np.bool_))
    found = in_joints(one, ("left_heel", "tail", "nose"), HALPE26)
    assert np.flatnonzero(found.visible[0]).tolist() == [24]
    assert found.keypoints[0, [0, 24]].tolist() == [[7, 8], [3, 4]]
