"""The pictures of several sources side by side, as the wall of monitors of a guard shows them."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from engines.results import Image
from stream.render import WHITE, draw_text

PAPER = (40, 40, 40)
"""Behind letters."""
_EMPTY = (24, 24, 24)
"""Where there is no picture."""
_GAP = 2
"""Pixels between two tiles."""


class Rect(NamedTuple):
    """A rectangle of whole pixels."""

    top: int
    left: int
    height: int
    width: int

    def holds(self, x: int, y: int) -> bool:
        """Whether a point lies inside."""
        return self.left <= x < self.left + self.width and self.top <= y < self.top + self.height


def tiles(count: int, size: tuple[int, int]) -> list[Rect]:
    """Where `count` pictures stand in a view of (height, width), row by row: as square a grid as holds them."""
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    height, width = size
    tops = [round(height * row / rows) for row in range(rows + 1)]
    lefts = [round(width * column / columns) for column in range(columns + 1)]
    return [
        Rect(
            tops[index // columns],
            lefts[index % columns],
            max(1, tops[index // columns + 1] - tops[index // columns] - _GAP),
            max(1, lefts[index % columns + 1] - lefts[index % columns] - _GAP),
        )
        for index in range(count)
    ]


def place(view: Image, rect: Rect, image: Image | None, label: str, notice: str = "") -> None:
    """Put a picture, made as large as fits, into a part of `view` with a label in its corner.

    A `notice` stands in the middle; over no picture, or over the last one, which is darkened.
    """
    tile = view[rect.top : rect.top + rect.height, rect.left : rect.left + rect.width]
    tile[:] = _EMPTY
    if image is not None:
        scale = min(rect.height / image.shape[0], rect.width / image.shape[1])
        height, width = (max(1, min(round(image.shape[i] * scale), tile.shape[i])) for i in (0, 1))
        method = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR
        fitted = np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)
        top, left = (tile.shape[0] - height) // 2, (tile.shape[1] - width) // 2
        tile[top : top + height, left : left + width] = fitted // 3 if notice else fitted
    capital = max(9.0, min(rect.height, rect.width) / 30)
    draw_text(tile, label, (0, 0), capital, WHITE, PAPER)
    if notice:
        draw_text(tile, notice, (tile.shape[1] / 2, tile.shape[0] / 2 + capital), 1.5 * capital, WHITE, PAPER)


def fit(image: Image, size: tuple[int, int]) -> Image:
    """A copy of a picture, made smaller where it does not fit (height, width); its shape is kept."""
    scale = min(size[0] / image.shape[0], size[1] / image.shape[1])
    if not 0 < scale < 1:
        return image.copy()
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
