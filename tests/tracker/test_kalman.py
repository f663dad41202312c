"""The filter against the textbook's matrices and against motion that is known."""

from __future__ import annotations

import numpy as np
import pytest

from tracker import kalman

WALKER = np.array([[100, 50, 140, 150]], np.float32)
"""Centre (120, 100), 40 wide, 100 high."""


def test_boxes_and_places_are_two_ways_to_say_the_same() -> None:
    np.testing.assert_array_equal(kalman.to_places(WALKER), [[120, 100, 40, 100]])
    np.testing.assert_array_equal(kalman.to_boxes(kalman.to_places(WALKER)), WALKER)


def test_an_inside_out_box_has_the_least_size() -> None:
    np.testing.assert_array_equal(kalman.to_places(np.array([[10.0, 10, 4, 4]])), [[7, 7, 1, 1]])


def test_people_start_standing_still_where_they_are_seen() -> None:
    mean, covariance = kalman.start(WALKER)
    np.testing.assert_array_equal(mean, [[[120, 100, 40, 100], [0, 0, 0, 0]]])
    assert covariance.shape == (1, 3, 4)
    np.testing.assert_allclose(covariance[0, 0], (kalman.MEASUREMENT_NOISE * 100) ** 2)
    np.testing.assert_allclose(covariance[0, 2], (kalman.START_SPEED * 100) ** 2)


def test_prediction_moves_by_speed_times_seconds() -> None:
    mean, covariance = kalman.start(WALKER)
    mean[0, 1] = [30, -10, 0, 5]
    moved, _ = kalman.predict(mean, covariance, 0.5)
    np.testing.assert_allclose(moved, [[[135, 95, 40, 102.5], [30, -10, 0, 5]]])
    np.testing.assert_array_equal(mean[0, 0], [120, 100, 40, 100])


def test_no_time_changes_nothing() -> None:
    state = kalman.start(WALKER)
    for before, after in zip(state, kalman.predict(*state, 0.0), strict=True):
        np.testing.assert_array_equal(before, after)


def test_one_long_step_equals_many_short_ones() -> None:
    mean, covariance = kalman.start(WALKER)
    mean[0, 1, :2] = [30, -10]
    once = kalman.predict(mean, covariance, 0.6)
    often = mean, covariance
    for dt_s in (0.1, 0.25, 0.05, 0.2):
        often = kalman.predict(*often, dt_s)
    for a, b in zip(once, often, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_step_agrees_with_the_matrices_of_the_textbook() -> None:
    dt_s, seen = 0.2, np.array([[112, 48, 150, 152]], np.float32)
    mean, covariance = kalman.predict(*kalman.start(WALKER), dt_s)
    mean, covariance = kalman.correct(mean, covariance, seen)

    height = 100.0
    f = np.array([[1, dt_s], [0, 1]])
    q = (kalman.ACCELERATION * height) ** 2 * np.array([[dt_s**3 / 3, dt_s**2 / 2], [dt_s**2 / 2, dt_s]])
    p = np.diag([(kalman.MEASUREMENT_NOISE * height) ** 2, (kalman.START_SPEED * height) ** 2])
    p = f @ p @ f.T + q
    gain = p[:, 0] / (p[0, 0] + (kalman.MEASUREMENT_NOISE * 104) ** 2)
    p_after = p - np.outer(gain, p[0])
    for k, (before, now) in enumerate(zip((120, 100, 40, 100), (131, 100, 38, 104), strict=True)):
        np.testing.assert_allclose(mean[0, :, k], np.array([before, 0]) + gain * (now - before))
        np.testing.assert_allclose(covariance[0, :, k], [p_after[0, 0], p_after[0, 1], p_after[1, 1]])


@pytest.mark.parametrize("gaps_s", [[1 / 30], [0.2], [1 / 30, 0.1, 1 / 15]])
def test_the_speed_is_found_whatever_the_frame_rate(gaps_s: list[float]) -> None:
    speed = np.array([60.0, -20, 60, -20])
    state, time_s = kalman.start(WALKER), 0.0
    for dt_s in gaps_s * (60 // len(gaps_s)):
        time_s += dt_s
        state = kalman.correct(*kalman.predict(*state, dt_s), WALKER + speed * time_s)
    np.testing.assert_allclose(state[0][0, 1], [60, -20, 0, 0], atol=0.5)
    later, _ = kalman.predict(*state, 1.0)
    np.testing.assert_allclose(kalman.to_boxes(later[:, 0]), WALKER + speed * (time_s + 1), atol=1)


def test_uncertainty_grows_unseen_and_shrinks_when_seen() -> None:
    mean, covariance = kalman.start(WALKER)
    later = kalman.predict(mean, covariance, 1.0)
    assert (later[1][:, [0, 2]] > covariance[:, [0, 2]]).all()
    _, seen = kalman.correct(*later, WALKER)
    assert (seen[:, [0, 2]] < later[1][:, [0, 2]]).all()
    assert (seen[:, 0] * seen[:, 2] > seen[:, 1] ** 2).all()


def test_a_shrinking_box_never_turns_inside_out() -> None:
    mean, covariance = kalman.start(WALKER)
    mean[0, 1, 2:] = [-200, -500]
    moved, _ = kalman.predict(mean, covariance, 10.0)
    np.testing.assert_array_equal(moved[0, 0, 2:], [kalman.MIN_SIZE, kalman.MIN_SIZE])


def test_people_do_not_influence_each_other() -> None:
    two = np.concatenate([WALKER, WALKER * 3 + 7])
    both = kalman.correct(*kalman.predict(*kalman.start(two), 0.1), two + 4)
    alone = kalman.correct(*kalman.predict(*kalman.start(two[1:]), 0.1), two[1:] + 4)
    for a, b in zip(both, alone, strict=True):
        np.testing.assert_array_equal(a[1:], b)


def test_nobody_is_no_trouble() -> None:
    state = kalman.correct(*kalman.predict(*kalman.start(np.zeros((0, 4))), 0.1), np.zeros((0, 4)))
    assert [array.shape for array in state] == [(0, 2, 4), (0, 3, 4)]
