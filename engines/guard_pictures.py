"""Pictures that the guard compares engines on: drawn by chance from a seed, with people made of limbs, and noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.results import Image

SIZE: Final = (480, 640)
"""(height, width) of a drawn picture in pixels."""
SEED: Final = 5
JOINTS: Final = (
    *("right_shoulder", "left_shoulder", "right_elbow", "left_elbow", "right_wrist", "left_wrist"),
    *("right_hip", "left_hip", "right_knee", "left_knee", "right_ankle", "left_ankle"),
)
"""The joints of `Scene.joints`; people look out of the picture, so that their right is its left."""

_SUBPIXEL = 4
"""Bits behind the point in the coordinates that OpenCV draws at."""
_SKINS = ((150, 180, 225), (110, 150, 205), (70, 100, 150), (45, 65, 100))
"""Of faces and hands, BGR."""

Color = Sequence[float]
Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture and its people: `boxes` (P, 4) xyxy and, where they are known, `joints` (P, 12, 2) xy, else (0, 12, 2).

    Both are float32, in pixels of the picture; the joints are those of JOINTS.
    """

    image: Image
    boxes: NDArray[np.float32]
    joints: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, len(JOINTS), 2), np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class _Body:
    """Who is drawn, in pixels: `head` and `neck` (2,), the other `joints` (12, 2), and the whole `height`."""

    head: Points
    neck: Points
    joints: Points
    height: float


def drawn_scenes(count: int, seed: int = SEED) -> list[Scene]:
    """`count` pictures, always the same for a seed: people before a wall, two or three in each, and last one of noise.

    A network trained on photographs finds these people and their joints, surely enough to be compared on them.
    """
    random = np.random.default_rng(seed)
    return [*(_crowd(random) for _ in range(count - 1)), *(_noise(random) for _ in range(min(count, 1)))]


def _noise(random: np.random.Generator) -> Scene:
    """A picture of which every value is drawn for itself; its one box is all of it."""
    height, width = SIZE
    return Scene(random.integers(0, 256, (height, width, 3), np.uint8), np.array([[0, 0, width, height]], np.float32))


def _crowd(random: np.random.Generator) -> Scene:
    image = _background(random)
    count = int(random.integers(2, 4))
    bodies = [_stand(random, (place + 0.5) / count) for place in range(count)]
    for body in bodies:
        _paint(image, body, random)
    grain = random.normal(0, 4, image.shape)
    pixels = np.clip(cv2.GaussianBlur(image, (0, 0), 0.8) + grain, 0, 255).astype(np.uint8)
    boxes, joints = [_box(body) for body in bodies], [body.joints for body in bodies]
    return Scene(pixels, np.array(boxes, np.float32), np.array(joints, np.float32))


def _background(random: np.random.Generator) -> Image:
    """A wall and a floor, each shaded, with boxes of other colours on the wall."""
    height, width = SIZE
    horizon = int(height * random.uniform(0.45, 0.7))
    image = np.empty((height, width, 3))
    image[:horizon], image[horizon:] = random.uniform(90, 220, 3), random.uniform(60, 160, 3)
    for _ in range(6):
        x, y = int(random.uniform(0, width)), int(random.uniform(0, horizon))
        wide, high = int(random.uniform(20, 160)), int(random.uniform(20, 120))
        image[y : min(y + high, horizon), x : x + wide] = random.uniform(30, 240, 3)
    shade = np.linspace(1.0, 0.7, height)[:, None, None] * np.linspace(0.8, 1.1, width)[None, :, None]
    return np.clip(image * shade, 0, 255).astype(np.uint8)


def _stand(random: np.random.Generator, place: float) -> _Body:
    """Somebody on foot, arms and legs at angles of their own, at `place` of the picture's width.

    Lengths are fractions of the height, about as artists draw people.
    """
    high, wide = SIZE
    height = high * random.uniform(0.55, 0.9)
    lean = random.uniform(-0.03, 0.03)
    joints = np.zeros((len(JOINTS), 2))
    joints[:2] = (-0.11, 0.19), (0.11, 0.19)
    joints[6:8] = (lean - 0.06, 0.5), (lean + 0.06, 0.5)
    for row, side in enumerate((-1, 1)):
        arm, forearm = random.uniform(0.05, 1.6), random.uniform(-0.6, 1.2)
        joints[2 + row] = joints[row] + 0.17 * _hanging(side * arm)
        joints[4 + row] = joints[2 + row] + 0.16 * _hanging(side * (arm + forearm))
        thigh, shin = random.uniform(-0.1, 0.4), random.uniform(-0.3, 0.1)
        joints[8 + row] = joints[6 + row] + 0.24 * _hanging(side * thigh)
        joints[10 + row] = joints[8 + row] + 0.24 * _hanging(side * (thigh + shin))
    top = np.array([place * wide + random.uniform(-20, 20), random.uniform(0.02, 0.98) * (high - height)])
    return _Body(top + height * np.array((0, 0.07)), top + height * np.array((0, 0.16)), top + height * joints, height)


def _hanging(angle: float) -> Points:
    """A step of length 1, down at an angle of 0 and to the right at a quarter turn; in radians."""
    return np.array((np.sin(angle), np.cos(angle)))


def _paint(image: Image, body: _Body, random: np.random.Generator) -> None:
    """Draw somebody in place, from the feet up."""
    skin = _SKINS[int(random.integers(len(_SKINS)))]
    shirt, trousers, hair = (random.uniform(low, high, 3).tolist() for low, high in ((30, 240), (20, 120), (10, 70)))
    unit, at = body.height, body.joints
    for hip, knee, ankle in ((6, 8, 10), (7, 9, 11)):
        _limb(image, at[hip], at[knee], 0.085 * unit, trousers)
        _limb(image, at[knee], at[ankle], 0.065 * unit, trousers)
        _limb(image, at[ankle], at[ankle] + (0, 0.02 * unit), 0.06 * unit, (30, 30, 30))
    cv2.fillPoly(image, [_fixed(at[[0, 1, 7, 6]])], shirt, cv2.LINE_AA, _SUBPIXEL)
    _limb(image, at[0], at[1], 0.07 * unit, shirt)
    _limb(image, at[6], at[7], 0.09 * unit, trousers)
    for shoulder, elbow, wrist in ((0, 2, 4), (1, 3, 5)):
        _limb(image, at[shoulder], at[elbow], 0.06 * unit, shirt)
        _limb(image, at[elbow], at[wrist], 0.045 * unit, skin)
    _limb(image, body.head, body.neck, 0.06 * unit, skin)
    for (x, y), half_axes, color in (
        ((0, -0.012), (0.05, 0.066), hair),
        ((0, 0.01), (0.043, 0.055), skin),
        ((-0.017, 0.005), (0.006, 0.006), (20, 20, 20)),
        ((0.017, 0.005), (0.006, 0.006), (20, 20, 20)),
    ):
        _oval(image, body.head + unit * np.array((x, y)), unit * np.array(half_axes), color)


def _limb(image: Image, start: Points, end: Points, thickness: float, color: Color) -> None:
    """A line with round ends between two points (2,)."""
    ends = (_fixed(start).tolist(), _fixed(end).tolist())
    cv2.line(image, *ends, color, max(round(thickness), 1), cv2.LINE_AA, _SUBPIXEL)


def _oval(image: Image, center: Points, half_axes: Points, color: Color) -> None:
    """A filled ellipse."""
    cv2.ellipse(
        image, _fixed(center).tolist(), _fixed(half_axes).tolist(), 0, 0, 360, color, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL
    )


def _fixed(numbers: Points) -> NDArray[np.int32]:
    """Coordinates as OpenCV's whole numbers of a fraction of a pixel."""
    whole: NDArray[np.int32] = np.round(numbers * 2**_SUBPIXEL).astype(np.int32)
    return whole


def _box(body: _Body) -> Points:
    """The box (4,) xyxy around somebody, clipped to the picture."""
    margin = 0.05 * body.height
    points = np.vstack([body.joints, body.head])
    limit = np.array(SIZE[::-1], np.float64)
    low, high = points.min(axis=0) - margin, points.max(axis=0) + margin
    return np.concatenate([np.clip(low, 0, limit), np.clip(high, 0, limit)])
