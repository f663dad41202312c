"""The One-Euro filter per identity and joint."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stream.smooth import MEMORY_S, OneEuroSmoother, SmoothOptions

ONE = np.array([1], np.int64)
STANDING = np.array([[[0, 0], [0, 100]]], np.float32)
"""A person 100 px tall."""


def sure(people: int = 1) -> np.ndarray:
    return np.ones((people, 2), np.float32)


def run(smoother: OneEuroSmoother, positions: np.ndarray, rate: float) -> np.ndarray:
    """Smooth a person whose two joints move together along x; return the x given out."""
    out = []
    for step, x in enumerate(positions):
        points = STANDING + np.array([x, 0], np.float32)
        out.append(smoother.smooth(ONE, points, sure(), step / rate)[0, 0, 0])
    return np.array(out)


def test_the_first_sight_passes_unchanged() -> None:
    assert np.array_equal(OneEuroSmoother().smooth(ONE, STANDING, sure(), 0.0), STANDING)


def test_one_step_by_hand() -> None:
    """After 0.1 s: 10 px / 0.1 s low-passed at 1 Hz is 0.6283/1.6283 * 100 = 38.586 px/s, 0.38586 heights a second."""
    smoother = OneEuroSmoother(SmoothOptions(min_cutoff_hz=1.0, beta=2.0, speed_cutoff_hz=1.0))
    smoother.smooth(ONE, STANDING, sure(), 0.0)
    out = smoother.smooth(ONE, STANDING + np.array([10, 0], np.float32), sure(), 0.1)
    turns = 2 * math.pi * (1.0 + 2.0 * 0.38586) * 0.1
    assert out[0, 0, 0] == pytest.approx(10 * turns / (turns + 1), rel=1e-4)
    assert out[0, 1].tolist() == pytest.approx([10 * turns / (turns + 1), 100], rel=1e-4)


def test_jitter_at_rest_shrinks_to_a_fifth() -> None:
    noise = np.random.default_rng(0).normal(0, 0.5, 900)
    out = run(OneEuroSmoother(), noise, 30)
    assert np.diff(out[60:]).std() / np.diff(noise[60:]).std() == pytest.approx(0.20, abs=0.02)


@pytest.mark.parametrize(("heights_a_second", "lag_ms"), [(0.05, 48), (0.25, 21), (1.0, 8)])
def test_the_lag_is_what_the_docstring_says(heights_a_second: float, lag_ms: float) -> None:
    truth = 100 * heights_a_second * np.arange(300) / 30
    out = run(OneEuroSmoother(), truth, 30)
    assert 1000 * (truth[-1] - out[-1]) / (100 * heights_a_second) == pytest.approx(lag_ms, abs=1)


def test_half_the_frames_change_little() -> None:
    """A swing of 30 px at 0.5 Hz at 60 and at 30 frames a second: the same within 1 % of the height."""
    swing = 30 * np.sin(np.pi * np.arange(360) / 60)
    assert run(OneEuroSmoother(), swing, 60)[::2] == pytest.approx(run(OneEuroSmoother(), swing[::2], 30), abs=1)


def test_the_resolution_changes_nothing() -> None:
    moves = np.cumsum(np.random.default_rng(1).normal(0, 3, 50))
    small, large = OneEuroSmoother(), OneEuroSmoother()
    for step, x in enumerate(moves):
        points = STANDING + np.array([x, 0], np.float32)
        a = small.smooth(ONE, points, sure(), step / 25)
        b = large.smooth(ONE, points * 4, sure(), step / 25)
        assert b == pytest.approx(a * 4, rel=1e-4, abs=1e-3)


def test_identities_do_not_mix_and_may_come_in_any_order() -> None:
    smoother = OneEuroSmoother()
    left, right = STANDING[0], STANDING[0] + np.array([1000, 0], np.float32)
    smoother.smooth(np.array([2, 7]), np.stack([left, right]), sure(2), 0.0)
    out = smoother.smooth(np.array([7, 2]), np.stack([right, left]), sure(2), 0.04)
    assert np.array_equal(out, np.stack([right, left]))


def test_a_joint_under_the_threshold_passes_and_begins_anew() -> None:
    smoother = OneEuroSmoother()
    smoother.smooth(ONE, STANDING, sure(), 0.0)
    moved = STANDING + np.array([30, 0], np.float32)
    unsure = np.array([[0.1, 1.0]], np.float32)
    out = smoother.smooth(ONE, moved, unsure, 0.04)
    assert out[0, 0].tolist() == moved[0, 0].tolist()
    assert 0 < out[0, 1, 0] < 30
    back = smoother.smooth(ONE, moved + np.float32(5), sure(), 0.08)
    assert back[0, 0].tolist() == (moved[0, 0] + 5).tolist()


def test_identity_zero_is_nobody() -> None:
    smoother = OneEuroSmoother()
    smoother.smooth(np.array([0]), STANDING, sure(), 0.0)
    moved = STANDING + np.float32(9)
    assert np.array_equal(smoother.smooth(np.array([0]), moved, sure(), 0.04), moved)


def test_who_is_away_too_long_begins_anew_and_memory_stays_bounded() -> None:
    smoother = OneEuroSmoother()
    smoother.smooth(ONE, STANDING, sure(), 0.0)
    for step in range(200):
        smoother.smooth(np.array([step + 2]), STANDING, sure(), 1.0 + step)
    assert smoother._rows is not None
    assert len(smoother._rows.ids) <= MEMORY_S + 1
    moved = STANDING + np.float32(9)
    assert np.array_equal(smoother.smooth(ONE, moved, sure(), 300.0), moved)


def test_nobody_and_a_time_that_stands_still() -> None:
    smoother = OneEuroSmoother()
    nobody = smoother.smooth(np.zeros(0, np.int64), np.zeros((0, 2, 2), np.float32), np.zeros((0, 2), np.float32), 0.0)
    assert nobody.shape == (0, 2, 2)
    smoother.smooth(ONE, STANDING, sure(), 1.0)
    again = smoother.smooth(ONE, STANDING + np.float32(3), sure(), 1.0)
    assert np.array_equal(again, STANDING + np.float32(3))


def test_cutoffs_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="cutoffs must be above 0 Hz"):
        SmoothOptions(min_cutoff_hz=0)
