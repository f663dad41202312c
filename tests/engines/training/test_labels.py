"""Labels check their shapes; a set its weight."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engines.training.labels import LabelledSet, Labels


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
