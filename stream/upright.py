"""A decoded frame as upright planes and BGR: from any pixel format, turned by its rotation tag, mirrored if asked."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import av
import cv2
import numpy as np
from av.sidedata.sidedata import Type
from numpy.typing import NDArray

from engines.results import Image
from stream.color import color_of, frame_to_bgr, matrix_of, plane_views, reformatter, to_bgr, to_planes
from stream.frame import Color, Planes

_LIMITED, _FULL = 1, 2
"""FFmpeg's numbers of the two ranges."""
_ZERO_COPY = ("yuv420p", "yuvj420p")
_TURNS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}
"""cv2's turn by the angle in degrees counterclockwise."""


@dataclass(frozen=True, slots=True)
class Orientation:
    """How decoded frames become upright: turned by `angle`, degrees counterclockwise, then mirrored left to right."""

    angle: Literal[0, 90, 180, 270] = 0
    mirrored: bool = False

    def size_of(self, frame: av.VideoFrame) -> tuple[int, int]:
        """(height, width) of a frame once it is upright."""
        return (frame.width, frame.height) if self.is_sideways else (frame.height, frame.width)

    @property
    def is_sideways(self) -> bool:
        """Whether height and width change places."""
        return self.angle in (90, 270)


def orientation(frame: av.VideoFrame, *, mirror: bool) -> Orientation:
    """What the frames of a video ask for, by its first one: the nearest quarter turn, and mirroring, as selfie cameras
    ask for; `mirror` mirrors what is upright.

    For the first frame only: PyAV ties a frame whose side data was looked at into a circle, and a hundred of them would
    wait for Python's collector.
    """
    side_data: Any = frame.side_data
    if Type.DISPLAYMATRIX not in side_data:
        return Orientation(0, mirror)
    matrix = side_data[Type.DISPLAYMATRIX]
    # FFmpeg's display matrix: rows (a, b, u), (c, d, v), (x, y, w); x' = a x + c y, y' = b x + d y.
    a, b, _, c, d, *_ = np.frombuffer(memoryview(matrix), np.int32).tolist()
    mirrored = a * d - b * c < 0
    # A mirrored one first mirrors, then turns: the same as turning by the opposite angle, then mirroring.
    angle = math.degrees(math.atan2(-b, -a)) if mirrored else -math.degrees(math.atan2(b, a))
    quarters: tuple[Literal[0, 90, 180, 270], ...] = (0, 90, 180, 270)
    return Orientation(quarters[round(angle / 90) % 4], mirror != mirrored)


def color_of_planes(frame: av.VideoFrame) -> Color:
    """The tags that the planes of a frame will have: its own, but for RGB, which becomes YUV of limited range."""
    color = color_of(frame)
    if not _is_rgb(frame):
        return color
    return replace(color, matrix=matrix_of(color, frame.height), range=_LIMITED)


def upright(frame: av.VideoFrame, asked: Orientation) -> tuple[Image, Planes]:
    """The picture in BGR and as planes, neither to be written to.

    One is made from the other: BGR from planes, but for RGB the planes from BGR. Planes of a frame that is 4:2:0 and
    upright already lie in the decoder's memory, which lives as long as they do.
    """
    color = color_of_planes(frame)
    turn, mirror = _TURNS.get(asked.angle), asked.mirrored
    frame = _top_down(frame)
    if _is_rgb(frame):
        image = _turned(frame_to_bgr(frame, Color(range=_FULL)), turn, mirror)
        return _sealed(image), _seal(to_planes(image, color))
    frame = _as_420(frame, color)
    if turn is None and not mirror:
        return _sealed(frame_to_bgr(frame, color)), _seal(Planes(*plane_views(frame), color))
    y, u, v = (_turned(view, turn, mirror) for view in plane_views(frame))
    planes = _seal(Planes(y, u, v, color))
    return _sealed(to_bgr(planes)), planes


def _is_rgb(frame: av.VideoFrame) -> bool:
    return frame.format.is_rgb or frame.format.has_palette


def _top_down(frame: av.VideoFrame) -> av.VideoFrame:
    """The frame with its top row first in memory: raw video of Windows lies the other way, where no array reaches."""
    if all(plane.line_size >= 0 for plane in frame.planes):
        return frame
    return reformatter().reformat(frame, format="gbrp" if _is_rgb(frame) else "yuv444p", threads=1)


def _as_420(frame: av.VideoFrame, color: Color) -> av.VideoFrame:
    """A YUV or grey frame in 8-bit 4:2:0; matrix and range stay as they were."""
    if frame.format.name in _ZERO_COPY:
        return frame
    value_range = color.range or _LIMITED
    return reformatter().reformat(
        frame, format="yuv420p", src_color_range=value_range, dst_color_range=value_range, threads=1
    )


def _turned(array: NDArray[np.uint8], turn: int | None, mirror: bool) -> NDArray[np.uint8]:
    if turn is not None:
        array = np.asarray(cv2.rotate(array, turn), np.uint8)
    return np.asarray(cv2.flip(array, 1), np.uint8) if mirror else array


def _seal(planes: Planes) -> Planes:
    for array in (planes.y, planes.u, planes.v):
        _sealed(array)
    return planes


def _sealed(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    array.flags.writeable = False
    return array
