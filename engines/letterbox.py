"""A frame fitted into the input of a network, and its boxes back again.

Coordinates are continuous: (0, 0) is the outer corner of the first pixel and (width, height) that of the last, as
`cv2.resize` has it, so positions scale without half-pixel shifts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.results import Image

Size = tuple[int, int]
"""(height, width) in pixels."""
Placement = Literal["top-left", "center"]


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where a frame of `frame_size` lies in an input of `input_size`: shrunk or enlarged to `inner_size` at `corner`.

    Sizes are (height, width), `corner` is (x, y) of the top left. Made by `fit`.
    """

    frame_size: Size
    input_size: Size
    inner_size: Size
    corner: tuple[int, int]

    @property
    def scale(self) -> tuple[float, float]:
        """Input pixels per frame pixel, (x, y); they differ a little, as `inner_size` is whole."""
        return self.inner_size[1] / self.frame_size[1], self.inner_size[0] / self.frame_size[0]

    def paint(self, image: Image, pad: int) -> Image:
        """The input picture (h, w, 3) uint8, new, of a frame; around it every channel is `pad`."""
        if image.shape[:2] != self.frame_size:
            raise ValueError(f"image must be {self.frame_size} (height, width), got {image.shape[:2]}")
        canvas = np.full((*self.input_size, 3), pad, np.uint8)
        (height, width), (x, y) = self.inner_size, self.corner
        inside = canvas[y : y + height, x : x + width]
        if self.inner_size == self.frame_size:
            inside[:] = image
        else:
            cv2.resize(image, (width, height), dst=inside, interpolation=cv2.INTER_LINEAR)
        return canvas

    def boxes_to_input(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes (N, 4) xyxy in pixels of the frame, in pixels of the input."""
        scale, corner = self._per_coordinate()
        return boxes * scale + corner

    def boxes_to_frame(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes (N, 4) xyxy in pixels of the input, in pixels of the frame; those over the edge stay so."""
        scale, corner = self._per_coordinate()
        return (boxes - corner) / scale

    def _per_coordinate(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scale and corner (4,) for the coordinates of xyxy."""
        return np.array(self.scale * 2, np.float32), np.array(self.corner * 2, np.float32)


def fit(frame_size: Size, input_size: Size, placement: Placement) -> Letterbox:
    """The largest picture of the frame's aspect that the input holds, in its top-left corner or its centre."""
    scale = min(wanted / own for wanted, own in zip(input_size, frame_size, strict=True))
    height, width = (max(1, round(own * scale)) for own in frame_size)
    x, y = ((input_size[1] - width) // 2, (input_size[0] - height) // 2) if placement == "center" else (0, 0)
    return Letterbox(frame_size, input_size, (height, width), (x, y))
