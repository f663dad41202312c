"""Colours of clothes, picked by pose."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tracker.colors import SETTLE_S, Body, likeness, settled, worn
from tracker.results import Look

BODY = Body(0, 1, 2, 3, 4, 5)
JOINTS = np.array([[40, 20], [20, 20], [36, 60], [24, 60], [36, 100], [24, 100]], np.float32)
SHIRT, TROUSERS = (40, 60, 200), (160, 80, 30)


def picture(shirt: tuple[int, int, int] = SHIRT, trousers: tuple[int, int, int] = TROUSERS) -> np.ndarray:
    """Somebody in a red shirt and blue trousers before green."""
    image = np.full((120, 60, 3), (60, 180, 60), np.uint8)
    image[20:60, 20:41] = shirt
    image[60:110, 20:41] = trousers
    return image


def lab(bgr: tuple[int, int, int]) -> np.ndarray:
    """By OpenCV."""
    return cv2.cvtColor(np.array([[bgr]], np.float32) / 255, cv2.COLOR_BGR2Lab)[0, 0]


def look(image: np.ndarray, joints: np.ndarray = JOINTS, score: float = 0.9) -> Look:
    return Look(image, joints[None], np.full((1, 6), score, np.float32))


def test_shirt_and_trousers_are_told_from_the_background() -> None:
    (found,) = worn(look(picture()), BODY, 0.3)
    np.testing.assert_allclose(found, [lab(SHIRT), lab(TROUSERS)], atol=0.5)


@pytest.mark.parametrize("seed", range(5))
def test_every_colour_is_the_one_that_opencv_gives(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shirt, trousers = (tuple(int(v) for v in rng.integers(0, 256, 3)) for _ in range(2))
    (found,) = worn(look(picture(shirt, trousers)), BODY, 0.3)
    np.testing.assert_allclose(found, [lab(shirt), lab(trousers)], atol=0.6)


def test_an_arm_before_the_trunk_does_not_change_its_colour() -> None:
    image = picture()
    image[30:40] = (150, 180, 220)
    np.testing.assert_allclose(worn(look(image), BODY, 0.3)[0, 0], lab(SHIRT), atol=0.5)


def test_only_what_is_bounded_by_joints_that_count_is_known() -> None:
    one = look(picture())
    one.joint_scores[0, 5] = 0.2  # a knee
    trunk, thighs = worn(one, BODY, 0.3)[0]
    assert np.isfinite(trunk).all()
    assert np.isnan(thighs).all()
    assert np.isnan(worn(look(picture(), score=0.0), BODY, 0.3)).all()


@pytest.mark.parametrize("shift", [(-500, 0), (0, 1e6), (59, 119)])
def test_joints_outside_the_picture_are_looked_at_at_its_edge(shift: tuple[float, float]) -> None:
    found = worn(look(picture(), (JOINTS + shift).astype(np.float32)), BODY, 0.3)
    assert np.isfinite(found).all()


def test_nobody_wears_nothing() -> None:
    empty = Look(picture(), np.zeros((0, 6, 2), np.float32), np.zeros((0, 6), np.float32))
    assert worn(empty, BODY, 0.3).shape == (0, 2, 3)


def test_likeness_is_of_what_is_known_of_both() -> None:
    a = np.array([[[50.0, 10, 20], [30, 0, 0]]] * 4)
    b = a.copy()
    b[1, 0] += [16, 0, 0]  # half of a difference in lightness counts: 8, one spread, of one part
    b[2, 0] = np.nan
    b[3] = np.nan
    np.testing.assert_allclose(likeness(a, b), [1, np.exp(-0.25), 1, np.nan])


def test_a_colour_goes_over_to_another_with_time_and_what_is_not_seen_stays() -> None:
    before, now = np.zeros((3, 2, 3)), np.ones((3, 2, 3))
    now[1], before[2] = np.nan, np.nan
    later = settled(before, now, SETTLE_S)
    np.testing.assert_allclose(later[:, 0, 0], [1 - np.exp(-1), 0, 1])


@pytest.mark.parametrize("nowhere", [np.nan, np.inf, -np.inf])
def test_a_joint_that_is_nowhere_has_no_colour_whatever_its_score(nowhere: float) -> None:
    joints = JOINTS.copy()
    joints[0] = nowhere  # a shoulder
    trunk, thighs = worn(look(picture(), joints), BODY, 0.3)[0]
    assert np.isnan(trunk).all()
    np.testing.assert_allclose(thighs, lab(TROUSERS), atol=0.5)
