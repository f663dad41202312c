"""The table of people: rows chosen and rows added."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from tracker.results import Tracks
from tracker.tracks import Life, newcomers

BOXES = np.array([[0, 0, 10, 20], [30, 0, 40, 30], [60, 5, 80, 65]], np.float32)
SCORES = np.array([0.9, 0.8, 0.7], np.float32)


def test_newcomers_are_tentative_and_nameless() -> None:
    table = newcomers(BOXES, SCORES, 2.5, joints=17)
    assert len(table) == 3
    assert table.life.tolist() == [Life.TENTATIVE] * 3
    assert table.ids.tolist() == [0, 0, 0]
    assert table.sightings.tolist() == [1, 1, 1]
    assert table.first_s.tolist() == table.last_s.tolist() == [2.5] * 3
    assert table.anchor_points.shape == (3, 17, 2)
    assert not table.anchor_scores.any()
    np.testing.assert_array_equal(table.boxes, BOXES)


def test_the_table_owns_its_scores() -> None:
    scores = SCORES.copy()
    table = newcomers(BOXES, scores, 0.0, joints=0)
    scores[:] = 0
    np.testing.assert_array_equal(table.scores, SCORES)


@pytest.mark.parametrize("chosen", [np.array([True, False, True]), np.array([0, 2])])
def test_take_keeps_the_chosen_rows_of_every_field(chosen: np.ndarray) -> None:
    table = newcomers(BOXES, SCORES, 0.0, joints=5)
    taken = table.take(chosen)
    for field in fields(table):
        np.testing.assert_array_equal(getattr(taken, field.name), getattr(table, field.name)[[0, 2]])


def test_joined_puts_the_others_below_and_keeps_the_types() -> None:
    first, second = newcomers(BOXES[:1], SCORES[:1], 0.0, joints=5), newcomers(BOXES[1:], SCORES[1:], 1.0, joints=5)
    table = first.joined(second)
    np.testing.assert_array_equal(table.boxes, BOXES)
    assert table.first_s.tolist() == [0, 1, 1]
    for field in fields(table):
        assert getattr(table, field.name).dtype == getattr(first, field.name).dtype


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ids", np.zeros(2, np.int32)),
        ("boxes", np.zeros((2, 4), np.float64)),
        ("boxes", np.zeros((3, 4), np.float32)),
        ("scores", np.zeros((2, 1), np.float32)),
    ],
)
def test_results_of_another_shape_or_type_are_refused_by_name(name: str, value: np.ndarray) -> None:
    good = {"ids": np.zeros(2, np.int64), "boxes": np.zeros((2, 4), np.float32), "scores": np.zeros(2, np.float32)}
    Tracks(**good)
    with pytest.raises(ValueError, match=f"{name} must be"):
        Tracks(**{**good, name: value})
