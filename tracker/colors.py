"""The colours that people wear, picked where their poses say that the body is.

Clothes tell people apart where boxes and poses cannot: after an occlusion, or where two have just crossed. Colours are
CIE L*a*b* (D65) medians of a grid over the trunk and of points along both thighs; so the background, which a box has
much of, and a hand in front do not count.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracker.kalman import Floats
from tracker.results import Look

PARTS = 2
"""Trunk, thighs."""
ACROSS = np.linspace(0.15, 0.85, 6)
"""Where the trunk is looked at, from shoulder to shoulder and from shoulder to hip: not at its seams."""
ALONG = np.linspace(0.2, 0.9, 8)
"""Where a thigh is looked at, from hip to knee: under the coat, not at the knee's edge."""
SPREAD = 8.0
"""By how much (ΔE*) the colour of one piece of clothing differs from frame to frame, light and shade apart."""
LIGHTNESS_WEIGHT = 0.5
"""Of the difference in lightness, which the light changes, beside that in hue."""
SETTLE_S = 2.0
"""Seconds in which what is remembered of a colour goes most of the way to another: a cloud, a lamp."""


def _shares() -> NDArray[np.float32]:
    """The weights (6, S) of a body's joints in each point that is looked at: first the trunk's, then the thighs'."""
    left, right = np.eye(6)[[0, 2, 4]], np.eye(6)[[1, 3, 5]]  # shoulder, hip, knee
    rows = [across + down * (along - across) for across, along in (
        (left[0] + share * (right[0] - left[0]), left[1] + share * (right[1] - left[1])) for share in ACROSS
    ) for down in ACROSS]  # fmt: skip
    rows += [side[1] + share * (side[2] - side[1]) for side in (left, right) for share in ALONG]
    return np.array(rows, np.float32).T


TRUNK_POINTS = len(ACROSS) ** 2
_SHARES = _shares()

_FINE = 16384
"""Steps of the table of roots: L*a*b* comes out within 0.3 of the exact value."""
_GAMMA = np.arange(256) / 255
_LINEAR = np.where(_GAMMA <= 0.04045, _GAMMA / 12.92, ((_GAMMA + 0.055) / 1.055) ** 2.4) * _FINE
_BGR_TO_XYZ = np.array(  # IEC 61966-2-1, divided by the white point
    [[0.1804375 / 0.95047, 0.0721750, 0.9503041 / 1.08883],
     [0.3575761 / 0.95047, 0.7151522, 0.1191920 / 1.08883],
     [0.4124564 / 0.95047, 0.2126729, 0.0193339 / 1.08883]]
)  # fmt: skip
_STEPS = np.arange(_FINE + 2) / _FINE
_ROOT = np.where(_STEPS > 216 / 24389, np.cbrt(_STEPS), _STEPS * 841 / 108 + 4 / 29)


class Body(NamedTuple):
    """Which joints of a skeleton hold the clothes."""

    left_shoulder: int
    right_shoulder: int
    left_hip: int
    right_hip: int
    left_knee: int
    right_knee: int


def worn(look: Look, body: Body, min_joint_score: float) -> Floats:
    """Colours (N, 2, 3) L*a*b* of trunk and thighs; NaN where a joint that bounds them scores under the least."""
    joints = np.nan_to_num(look.keypoints[:, body], posinf=0, neginf=0)
    points = joints.transpose(0, 2, 1) @ _SHARES  # (N, 2, 6) @ (6, S)
    height, width = look.image.shape[:2]
    points = np.minimum(
        np.maximum(points, 0), np.array([[width - 1], [height - 1]], np.float32)
    )  # at the edge what is outside
    columns, rows = (points + 0.5).astype(np.intp).transpose(1, 0, 2)
    pixels = look.image[rows, columns]  # (N, S, 3)
    bgr = np.stack([_median(pixels[:, :TRUNK_POINTS]), _median(pixels[:, TRUNK_POINTS:])], axis=1)
    scores = np.where(np.isfinite(look.keypoints[:, body]).all(axis=2), look.joint_scores[:, body], 0.0)
    known = np.stack([scores[:, :4].min(axis=1), scores[:, 2:].min(axis=1)], axis=1) >= min_joint_score
    return np.where(known[..., None], _lab(bgr), np.nan)


def likeness(a: Floats, b: Floats) -> Floats:
    """How alike the colours (P, 2, 3) of pairs of people are, in [0, 1]; NaN where no part is known of both."""
    weights = np.array([LIGHTNESS_WEIGHT, 1.0, 1.0])
    squared = (((a - b) * weights) ** 2).sum(axis=2)  # (P, 2)
    known = ~np.isnan(squared)
    count = known.sum(axis=1)
    mean = np.where(known, squared, 0.0).sum(axis=1) / np.maximum(count, 1)
    return np.where(count > 0, np.exp(-mean / (2 * SPREAD**2)), np.nan)


def settled(before: Floats, now: Floats, dt_s: float) -> Floats:
    """Colours (M, 2, 3) to remember, of those remembered and those seen `dt_s` later; NaN is what is not known."""
    share = 1 - np.exp(-dt_s / SETTLE_S)
    return np.where(np.isnan(before), now, np.where(np.isnan(now), before, before + share * (now - before)))


def _median(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle one (N, 3) of the values (N, S, 3) of each channel, the upper of two."""
    middle = pixels.shape[1] // 2
    return np.partition(pixels, middle, axis=1)[:, middle]


def _lab(bgr: NDArray[np.uint8]) -> Floats:
    """Colours (..., 3) BGR as L*a*b*."""
    root = _ROOT[np.rint(_LINEAR[bgr] @ _BGR_TO_XYZ).astype(np.intp)]
    x, y, z = root[..., 0], root[..., 1], root[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
