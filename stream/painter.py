"""Results drawn on their frames, once for all sinks."""

from __future__ import annotations

import numpy as np

from engines.results import Image
from stream.pipeline import Result
from stream.render import Style, draw
from stream.sinks.base import Picture
from stream.sinks.writer import QUEUE


class Painter:
    """Draws results on buffers of its own, which it uses again once no sink can hold them any more."""

    def __init__(self, style: Style) -> None:
        self._style = style
        self._canvases: list[Image] = []
        self._next = 0

    def paint(self, result: Result) -> Picture:
        """The picture of a result; valid until QUEUE + 3 more were painted."""
        canvas = self._canvas(result.frame.image.shape)
        if self._style.background == "video":
            np.copyto(canvas, result.frame.image)
        return Picture(canvas, draw(canvas, result, self._style))

    def _canvas(self, shape: tuple[int, ...]) -> Image:
        if not self._canvases or self._canvases[0].shape != shape:
            self._canvases = [np.empty(shape, np.uint8) for _ in range(QUEUE + 3)]
        self._next = (self._next + 1) % len(self._canvases)
        return self._canvases[self._next]
