"""Draws a result on a picture: limbs coloured by the body's side, joints, boxes and identities.

Key points and boxes count pixels from the centre of the first one, as cv2 does: (0, 0) is the centre of the top left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.results import Image, Skeleton
from engines.skeletons import joint_sides, limb_sides
from stream.pipeline import Result

Colour = tuple[int, int, int]
"""Blue, green, red."""
Rectangle = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels of the picture; x2 and y2 exclusive."""

# Okabe and Ito's palette (jfly.uni-koeln.de/color): told apart by every kind of colour vision.
LEFT: Colour = (233, 180, 86)  # sky blue
MIDDLE: Colour = (235, 235, 235)
RIGHT: Colour = (0, 159, 230)  # orange
OUTLINE: Colour = (24, 24, 24)
BLACK: Colour = (0, 0, 0)
WHITE: Colour = (255, 255, 255)
_BY_SIDE = {-1: LEFT, 0: MIDDLE, 1: RIGHT}
ACCENTS: tuple[Colour, ...] = (
    (115, 158, 0),  # bluish green
    (66, 228, 240),  # yellow
    (167, 121, 204),  # reddish purple
    (178, 114, 0),  # blue
    (0, 94, 213),  # vermilion
    (233, 180, 86),  # sky blue
    (0, 159, 230),  # orange
)
"""The colour of a person's label and box, by identity."""

_LUMA = (0.114, 0.587, 0.299)
"""How bright blue, green and red look (BT.601)."""

_SHIFT = 4
"""Fraction bits of the coordinates given to cv2: steps of 1/16 pixel, so that nothing jitters by rounding."""
_FAR = 1 << 15
"""Key points and boxes farther off than this many pixels are pulled in: cv2 counts in 32 bits."""

# Line widths: a share of the person's longer side, within shares of the picture's shorter side.
_WIDTH_OF_PERSON = 1 / 110
_WIDTH_RANGE = (1 / 500, 1 / 130)
_THINNEST = 1.0
"""Pixels."""
_DOT_OF_LINE = 0.85
"""Radius of a joint by the width of a limb."""
_RIM_OF_LINE = 0.25
"""Width of the dark rim by that of a limb."""
_SIDES_OF_END = np.array([[[1], [-1]], [[-1], [1]]])
"""Of a bar's first and second end, on which side its corners lie, going round."""
_TEXT_OF_PERSON = 1 / 14
_TEXT_RANGE = (1 / 40, 1 / 22)
_SMALLEST_TEXT = 9
"""Pixels of a capital's height under which digits run together."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_CAPITAL = 22
"""Height in pixels of a capital of `_FONT` at scale 1."""


@dataclass(frozen=True, slots=True)
class Style:
    """What is drawn: joints that score `joint_threshold`, the limbs between them; lines and letters times `scale`."""

    joint_threshold: float = 0.3
    boxes: bool = False
    ids: bool = True
    background: Literal["video", "black"] = "video"
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.background not in ("video", "black"):
            raise ValueError(f"background must be video or black, got {self.background!r}")
        if not self.scale > 0:
            raise ValueError(f"scale must be above 0, got {self.scale}")


def draw(image: Image, result: Result, style: Style) -> NDArray[np.int32]:
    """Draw `result` on `image`, in place, and return the rectangles outside of which no pixel was touched.

    The rectangles are (N, 4) int32 xyxy, x2 and y2 exclusive, within the image; they may overlap.
    """
    height, width = image.shape[:2]
    if style.background == "black":
        image[:] = 0
    sizes = _person_sizes(result)
    rectangles = [_draw_body(image, result, row, style, size) for row, size in enumerate(sizes)]
    if style.boxes:
        rectangles += [_draw_box(image, result, row, style, size) for row, size in enumerate(sizes)]
    if style.ids:
        rectangles += [_draw_id(image, result, row, style, size) for row, size in enumerate(sizes)]
    if style.background == "black":
        rectangles = [(0, 0, width, height)]
    return np.array([r for r in rectangles if r is not None], np.int32).reshape(-1, 4)


def draw_text(
    image: Image, text: str, at: tuple[float, float], capital: float, ink: Colour, paper: Colour
) -> Rectangle:
    """Write one line on a patch of `paper` and return the patch, clipped to the image.

    `at` is the patch's middle and its bottom edge; a patch that would leave the image is moved into it. `capital` is
    the height of a capital letter in pixels.
    """
    scale = capital / _FONT_CAPITAL
    stroke = max(1, round(capital / 8))
    (text_width, _), _ = cv2.getTextSize(text, _FONT, scale, stroke)
    pad = max(2, round(capital / 3))
    patch_width, patch_height = text_width + 2 * pad, round(capital) + 2 * pad
    height, width = image.shape[:2]
    left = max(0, min(round(at[0] - patch_width / 2), width - patch_width))
    top = max(0, min(round(at[1]) - patch_height, height - patch_height))
    patch = image[top : top + patch_height, left : left + patch_width]
    patch[:] = paper
    cv2.putText(patch, text, (pad, patch_height - pad), _FONT, scale, ink, stroke, cv2.LINE_AA)
    return left, top, left + patch.shape[1], top + patch.shape[0]


def _person_sizes(result: Result) -> list[float]:
    """The longer side of each person's box in pixels."""
    boxes = np.nan_to_num(result.tracks.boxes.astype(np.float64), nan=0.0, posinf=_FAR, neginf=-_FAR)
    sizes: list[float] = (boxes[:, 2:] - boxes[:, :2]).clip(0, _FAR).max(axis=1, initial=0.0).tolist()
    return sizes


def _line_width(image: Image, size: float, style: Style) -> float:
    low, high = (share * min(image.shape[:2]) for share in _WIDTH_RANGE)
    line: float = style.scale * min(max(size * _WIDTH_OF_PERSON, low), high)
    return max(_THINNEST, line)


def _capital(image: Image, size: float, style: Style) -> float:
    low, high = (share * min(image.shape[:2]) for share in _TEXT_RANGE)
    capital: float = style.scale * min(max(size * _TEXT_OF_PERSON, low), high)
    return max(_SMALLEST_TEXT, capital)


@lru_cache(maxsize=8)
def _limbs(skeleton: Skeleton) -> tuple[NDArray[np.intp], tuple[Colour, ...]]:
    """The limbs (L, 2) and their colours; those of the middle first, for left and right to lie over them."""
    sides = np.array(limb_sides(skeleton), int)
    order = np.argsort(np.abs(sides), kind="stable")
    limbs = np.array(skeleton.limbs, np.intp).reshape(-1, 2)[order]
    return limbs, tuple(_BY_SIDE[side] for side in sides[order].tolist())


def _draw_body(image: Image, result: Result, row: int, style: Style, size: float) -> Rectangle | None:
    """Draw the limbs and joints of one person; None where there are none in the picture."""
    points = result.poses.keypoints[row].astype(np.float64)
    seen = (result.poses.scores[row] >= style.joint_threshold) & np.isfinite(points).all(axis=1)
    if not seen.any():
        return None
    points = np.where(seen[:, None], points, 0.0).clip(-_FAR, _FAR)
    line = _line_width(image, size, style)
    radius = _DOT_OF_LINE * line
    rim = max(1.0, _RIM_OF_LINE * line) if style.background == "video" else 0.0
    area = _around(image, points[seen], radius + rim + 2)
    if area is None:
        return None
    points -= area[:2]
    pairs, colours = _limbs(result.poses.skeleton)
    whole = np.flatnonzero(seen[pairs].all(axis=1))
    limbs, limb_colours = points[pairs[whole]], [colours[limb] for limb in whole]
    sides = joint_sides(result.poses.skeleton)
    dots, dot_colours = points[seen], [_BY_SIDE[sides[joint]] for joint in np.flatnonzero(seen)]
    canvas = _part(image, area)
    if rim:
        _draw_limbs(canvas, limbs, [OUTLINE] * len(limbs), line + 2 * rim)
        _draw_dots(canvas, dots, [OUTLINE] * len(dots), radius + rim)
    _draw_limbs(canvas, limbs, limb_colours, line)
    _draw_dots(canvas, dots, dot_colours, radius)
    return area


def _draw_limbs(canvas: Image, limbs: NDArray[np.float64], colours: Sequence[Colour], line: float) -> None:
    """Draw limbs (L, 2, 2) as bars `line` wide, without round ends: the joints' dots lie over those.

    The widths of cv2's own thick lines are whole numbers: a limb would jump as its person comes nearer.
    """
    along = limbs[:, 1] - limbs[:, 0]
    across = along[:, ::-1] * (-0.5, 0.5) * line / np.maximum(np.hypot(*along.T), 1e-6)[:, None]
    ends = limbs[:, :, None] + across[:, None, None] * _SIDES_OF_END  # (L, 2, 2, 2)
    for bar, colour in zip(_fixed(ends).reshape(-1, 4, 2), colours, strict=True):
        cv2.fillConvexPoly(canvas, bar, colour, cv2.LINE_AA, _SHIFT)


def _draw_dots(canvas: Image, dots: NDArray[np.float64], colours: Sequence[Colour], radius: float) -> None:
    for dot, colour in zip(_fixed(dots).tolist(), colours, strict=True):
        cv2.circle(canvas, dot, round(radius * (1 << _SHIFT)), colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Pixels as cv2's fixed-point numbers."""
    return np.rint(points * (1 << _SHIFT)).astype(np.int32)


def _draw_box(image: Image, result: Result, row: int, style: Style, size: float) -> Rectangle | None:
    """Draw the outline of one person's box; None where it is off the picture."""
    corners = result.tracks.boxes[row].astype(np.float64).clip(-_FAR, _FAR).reshape(2, 2)
    if not np.isfinite(corners).all():
        return None
    line = max(1, round(_line_width(image, size, style) / 2))
    area = _around(image, corners, line / 2 + 2)
    if area is None:
        return None
    low, high = _fixed(corners - area[:2]).tolist()
    colour = _accent(int(result.tracks.ids[row]))
    cv2.rectangle(_part(image, area), low, high, colour, line, cv2.LINE_AA, _SHIFT)
    return area


def _draw_id(image: Image, result: Result, row: int, style: Style, size: float) -> Rectangle | None:
    """Write one person's identity over the middle of the box's top; None without one, or off the picture."""
    identity = int(result.tracks.ids[row])
    box = result.tracks.boxes[row].astype(np.float64).clip(-_FAR, _FAR)
    if identity == 0 or not np.isfinite(box).all() or _around(image, box.reshape(2, 2), 0) is None:
        return None
    paper = _accent(identity)
    ink = BLACK if np.dot(paper, _LUMA) > 110 else WHITE
    return draw_text(image, str(identity), ((box[0] + box[2]) / 2, box[1]), _capital(image, size, style), ink, paper)


def _around(image: Image, points: NDArray[np.float64], margin: float) -> Rectangle | None:
    """The rectangle of pixels within `margin` of the points' bounds; None where all of it is off the picture."""
    height, width = image.shape[:2]
    left, top = np.floor(points.min(axis=0) - margin).astype(int).tolist()
    right, bottom = np.ceil(points.max(axis=0) + margin).astype(int).tolist()
    left, top, right, bottom = max(left, 0), max(top, 0), min(right + 1, width), min(bottom + 1, height)
    return (left, top, right, bottom) if left < right and top < bottom else None


def _part(image: Image, area: Rectangle) -> Image:
    """The pixels of a rectangle, for cv2 to draw on: outside of them it can touch nothing."""
    left, top, right, bottom = area
    return image[top:bottom, left:right]


def _accent(identity: int) -> Colour:
    return ACCENTS[identity % len(ACCENTS)]
