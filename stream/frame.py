"""One picture of a source and the moment it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from engines.results import Image, check_array
from stream.sound_track import SoundPacket


@dataclass(frozen=True, slots=True)
class Color:
    """How YUV values become colours, as the source tagged them, in FFmpeg's numbers.

    2 (matrix, primaries, transfer) and 0 (range) mean untagged.
    """

    matrix: int = 2
    range: int = 0
    primaries: int = 2
    transfer: int = 2


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """A frame as it was decoded, 4:2:0: `y` (H, W), `u` and `v` (ceil(H/2), ceil(W/2)), uint8, never written to."""

    y: NDArray[np.uint8]
    u: NDArray[np.uint8]
    v: NDArray[np.uint8]
    color: Color


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One upright picture of a source.

    `image` is (H, W, 3) uint8 BGR and never written to. `index` counts the frames of the source from 0, dropped ones
    too. `pts` counts `time_base` from the start of the source's own time line. `captured_ns` is the monotonic clock
    when the frame's packet arrived. A `still` has no time: `pts` is 0 and nothing is followed from one to the next.
    `planes`, where there are any, are what `image` was made from: a sink that writes 4:2:0 passes them on untouched.
    `sound` is what came of a live source since the frame before; its Feed takes it off, and no result has any.
    """

    image: Image
    index: int
    pts: int
    time_base: Fraction
    source_id: str
    captured_ns: int
    still: bool = False
    planes: Planes | None = None
    sound: tuple[SoundPacket, ...] = ()

    def __post_init__(self) -> None:
        check_array("image", self.image, (None, None, 3), np.uint8)

    @property
    def time(self) -> float:
        """Seconds of media time since the start of the source's time line."""
        return float(self.pts * self.time_base)
