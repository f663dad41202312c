"""Where a box is and how fast it moves: a Kalman filter whose time step is seconds.

The state is (centre x, centre y, width, height) in pixels and the speed of each in pixels per second, M boxes at once:

- `mean` (M, 2, 4) float64: `mean[:, 0]` the places, `mean[:, 1]` the speeds;
- `covariance` (M, 3, 4) float64: variance of the place, covariance of place and speed, variance of the speed.

The four coordinates move and are measured independently of each other, so the 8 × 8 covariance of the textbook is four
2 × 2 blocks and everything below is plain arithmetic on arrays. The process noise is white acceleration in continuous
time (Bar-Shalom, Li, Kirubarajan: Estimation with Applications to Tracking and Navigation, 6.2.2): predicting over a
dropped frame in one step or in two comes to the same. All noise is in heights of the person, as in SORT and DeepSORT.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MEASUREMENT_NOISE = 0.05
"""Standard deviation of a detected edge, in heights of the person (DeepSORT: 1/20)."""

START_SPEED = 1.0
"""Standard deviation of the speed of somebody first seen, heights per second: a brisk walk, seen from the side."""

ACCELERATION = 0.7
"""Root of the spectral density of the acceleration, heights per second^1.5: this much a speed wanders in a second."""

MIN_SIZE = 1.0
"""Pixels: widths and heights are kept above, so that a shrinking box never turns inside out."""


def start(boxes: NDArray[np.floating]) -> tuple[Floats, Floats]:
    """Mean and covariance of people first seen, standing still, at `boxes` (M, 4) xyxy."""
    places = to_places(boxes)
    mean = np.stack([places, np.zeros_like(places)], axis=1)
    height = places[:, 3:]
    covariance = np.zeros((len(places), 3, 4))
    covariance[:, 0] = (MEASUREMENT_NOISE * height) ** 2
    covariance[:, 2] = (START_SPEED * height) ** 2
    return mean, covariance


def predict(mean: Floats, covariance: Floats, dt_s: float) -> tuple[Floats, Floats]:
    """Mean and covariance `dt_s` seconds later, dt_s >= 0."""
    noise = (ACCELERATION * mean[:, 0, 3:]) ** 2
    place, both, speed = covariance[:, 0], covariance[:, 1], covariance[:, 2]
    later = np.stack(
        [
            place + 2 * dt_s * both + dt_s**2 * speed + noise * dt_s**3 / 3,
            both + dt_s * speed + noise * dt_s**2 / 2,
            speed + noise * dt_s,
        ],
        axis=1,
    )
    return np.stack([move(mean[:, 0], mean[:, 1], dt_s), mean[:, 1]], axis=1), later


def move(places: Floats, speeds: Floats, dt_s: float) -> Floats:
    """Places (M, 4) after `dt_s` seconds at `speeds` (M, 4), no smaller than MIN_SIZE."""
    moved = places + dt_s * speeds
    moved[:, 2:] = np.maximum(moved[:, 2:], MIN_SIZE)
    return moved


def correct(mean: Floats, covariance: Floats, boxes: NDArray[np.floating]) -> tuple[Floats, Floats]:
    """Mean and covariance after `boxes` (M, 4) xyxy have been seen, row i at row i."""
    seen = to_places(boxes)
    place, both, speed = covariance[:, 0], covariance[:, 1], covariance[:, 2]
    total = place + (MEASUREMENT_NOISE * seen[:, 3:]) ** 2
    gain_place, gain_speed = place / total, both / total
    surprise = seen - mean[:, 0]
    corrected = np.stack([mean[:, 0] + gain_place * surprise, mean[:, 1] + gain_speed * surprise], axis=1)
    np.maximum(corrected[:, 0, 2:], MIN_SIZE, out=corrected[:, 0, 2:])
    left = np.stack([(1 - gain_place) * place, (1 - gain_place) * both, speed - gain_speed * both], axis=1)
    return corrected, left


def to_places(boxes: NDArray[np.floating]) -> Floats:
    """Boxes (M, 4) xyxy as (centre x, centre y, width, height)."""
    corners = boxes.astype(np.float64)
    size = np.maximum(corners[:, 2:] - corners[:, :2], MIN_SIZE)
    return np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, size], axis=1)


def to_boxes(places: Floats) -> Floats:
    """(Centre x, centre y, width, height), or their speeds, (M, 4), as xyxy."""
    half = places[:, 2:] / 2
    return np.concatenate([places[:, :2] - half, places[:, :2] + half], axis=1)
