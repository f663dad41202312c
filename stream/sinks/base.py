"""What a sink is: the end of the line, where results become a file, a window or a stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engines.results import Image, check_array
from stream.pipeline import Result


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A frame with its result drawn on it, once for all sinks.

    `image` is (H, W, 3) uint8 BGR and belongs to no sink: it is read, never written to. `changed` is (N, 4) int32 xyxy,
    the rectangles outside of which `image` equals the image of the frame; they may overlap and reach past the edges.
    """

    image: Image
    changed: NDArray[np.int32]

    def __post_init__(self) -> None:
        check_array("image", self.image, (None, None, 3), np.uint8)
        check_array("changed", self.changed, (None, 4), np.int32)


class Sink(Protocol):
    """Takes results one after another; whoever opened it closes it.

    `write` gets the picture where `needs_picture` says so, else None. `close` finishes the output and gives it its
    final name; it is also called after a failure, so that what was written up to then can be read: where the run has
    `failed`, a file that had the name before keeps it. Both raise StreamError where the output fails. `warnings` says
    in lines what was left out.
    """

    @property
    def needs_picture(self) -> bool: ...

    @property
    def warnings(self) -> tuple[str, ...]: ...

    def write(self, result: Result, picture: Picture | None) -> None: ...

    def close(self, *, failed: bool = False) -> None: ...
