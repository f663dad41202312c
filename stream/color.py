"""Between the planes of a decoded frame (YUV 4:2:0) and BGR, by the matrix and range the source tagged, both ways.

Upwards swscale repeats each chroma sample over its 2 x 2 pixels (fast, 1 to 2 levels too dark); downwards chroma is the
mean of the 2 x 2 pixels, which undoes that. Only drawn pixels are converted down, so undrawn ones gather no error.
"""

from __future__ import annotations

import threading
from functools import lru_cache

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter
from numpy.typing import NDArray

from engines.results import Image
from stream.frame import Color, Planes

# The weights of red and blue in luma by FFmpeg's AVColorSpace number (ITU-T H.273, table 4).
_LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.470BG, the BT.601 of 625 lines
    6: (0.299, 0.114),  # SMPTE 170M, the BT.601 of 525 lines
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020
    10: (0.2627, 0.0593),  # BT.2020 constant luminance, for which swscale too takes the row above
}
_BT709, _BT601 = 1, 5
_FULL_RANGE = 2
_HD_HEIGHT = 720
"""Lines from which on an untagged picture is BT.709, below it is BT.601: what players assume."""

_thread = threading.local()


def matrix_of(color: Color, height: int) -> int:
    """The matrix in force, FFmpeg's number: the tagged one, else by the height of the picture."""
    if color.matrix in _LUMA_WEIGHTS:
        return color.matrix
    return _BT709 if height >= _HD_HEIGHT else _BT601


def is_full_range(color: Color) -> bool:
    """Whether luma spans 0 to 255; untagged is limited, 16 to 235."""
    return color.range == _FULL_RANGE


def color_of(frame: av.VideoFrame) -> Color:
    """The tags of a decoded frame; the formats named yuvj are full range by their name."""
    value_range = _FULL_RANGE if frame.format.name.startswith("yuvj") else int(frame.color_range)
    return Color(int(frame.colorspace), value_range, int(frame.color_primaries), int(frame.color_trc))


def frame_to_bgr(frame: av.VideoFrame, color: Color) -> Image:
    """A decoded frame of any pixel format as BGR (H, W, 3), new memory."""
    scaled = reformatter().reformat(
        frame,
        format="bgr24",
        src_colorspace=matrix_of(color, frame.height),
        src_color_range=_sws_range(color),
        dst_color_range=ColorRange.JPEG,
        threads=1,
    )
    plane = scaled.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return np.ascontiguousarray(rows[:, : 3 * frame.width]).reshape(frame.height, frame.width, 3)


def to_bgr(planes: Planes) -> Image:
    """Planes as BGR (H, W, 3), new memory."""
    return frame_to_bgr(av_frame(planes), planes.color)


def to_planes(image: Image, color: Color) -> Planes:
    """BGR (H, W, 3) as planes of the given matrix and range."""
    y, u, v = _convert(image, color, image.shape[0])
    return Planes(y, u, v, color)


def patch(planes: Planes, image: Image, drawn: Image, boxes: NDArray[np.int32]) -> None:
    """Bring what was drawn into `planes`, which are the caller's own copy and written to.

    `drawn` (H, W, 3) equals `image`, the BGR of the planes, outside of `boxes` (N, 4) xyxy. Luma changes at the pixels
    that differ, chroma at the 2 x 2 pixels any of which differs; all other bytes stay.
    """
    height, width = planes.y.shape
    for x1, y1, x2, y2 in even_boxes(boxes, (height, width)):
        before, after = image[y1:y2, x1:x2], drawn[y1:y2, x1:x2]
        same = _as_bytes(cv2.inRange(cv2.bitwise_xor(before, after), (0, 0, 0), (0, 0, 0)))
        same_blocks = _halve(same)
        y, u, v = _convert(after, planes.color, height)
        _overwrite(planes.y[y1:y2, x1:x2], y, same)
        chroma = np.s_[y1 // 2 : (y2 + 1) // 2, x1 // 2 : (x2 + 1) // 2]
        _overwrite(planes.u[chroma], u, same_blocks)
        _overwrite(planes.v[chroma], v, same_blocks)


def even_boxes(boxes: NDArray[np.int32], size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Boxes (N, 4) xyxy grown to even pixels and cut to `size` (height, width); merged where that saves area."""
    height, width = size
    merged: list[tuple[int, int, int, int]] = []
    for x1, y1, x2, y2 in boxes.tolist():
        box = (max(x1, 0) // 2 * 2, max(y1, 0) // 2 * 2, min(x2 + x2 % 2, width), min(y2 + y2 % 2, height))
        if x1 >= x2 or y1 >= y2 or box[0] >= box[2] or box[1] >= box[3]:
            continue
        # A merged box may reach one that was far from both its parts: look again until none is near.
        while (near := next((other for other in merged if _is_near(box, other)), None)) is not None:
            merged.remove(near)
            box = _around(box, near)
        merged.append(box)
    return merged


def av_frame(planes: Planes) -> av.VideoFrame:
    """A frame of FFmpeg's own, tagged, that holds a copy of the planes."""
    height, width = planes.y.shape
    frame = av.VideoFrame(width, height, "yuv420p")
    color = planes.color
    frame.colorspace, frame.color_range = color.matrix, color.range
    frame.color_primaries, frame.color_trc = color.primaries, color.transfer
    for view, plane in zip(plane_views(frame), (planes.y, planes.u, planes.v), strict=True):
        view[:] = plane
    return frame


def plane_views(frame: av.VideoFrame) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """The planes Y, U, V of a planar 8-bit frame, each (height, width), on the frame's own memory."""
    y, u, v = (
        np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
        for plane in frame.planes
    )
    return y, u, v


def reformatter() -> VideoReformatter:
    """This thread's swscale: one for all its calls, as each costs memory and set-up."""
    if not hasattr(_thread, "reformatter"):
        _thread.reformatter = VideoReformatter()
    found: VideoReformatter = _thread.reformatter
    return found


def _sws_range(color: Color) -> ColorRange:
    return ColorRange.JPEG if is_full_range(color) else ColorRange.MPEG


@lru_cache(maxsize=16)
def _from_bgr(matrix: int, full: bool) -> NDArray[np.float64]:
    """(3, 4): the rows give Y, Cb, Cr of (b, g, r, 1), all of 0 to 255 (ITU-T H.273, 8.3)."""
    red, blue = _LUMA_WEIGHTS[matrix]
    luma = np.array([blue, 1 - red - blue, red])
    chroma_b = (np.array([1.0, 0, 0]) - luma) / (2 * (1 - blue))
    chroma_r = (np.array([0, 0, 1.0]) - luma) / (2 * (1 - red))
    luma_span, chroma_span, foot = (1.0, 1.0, 0.0) if full else (219 / 255, 224 / 255, 16.0)
    rows = np.stack([luma * luma_span, chroma_b * chroma_span, chroma_r * chroma_span])  # (3, 3)
    return np.column_stack([rows, [foot, 128.0, 128.0]])


def _convert(image: Image, color: Color, height: int) -> tuple[NDArray[np.uint8], ...]:
    """Y (H, W), Cb and Cr (ceil(H/2), ceil(W/2)) of a BGR region of a picture with `height` lines."""
    matrix = _from_bgr(matrix_of(color, height), is_full_range(color))
    # All three channels although only one is wanted: cv2 has a fast way for three.
    y = cv2.extractChannel(cv2.transform(image, matrix), 0)
    chroma = cv2.transform(_halve(image), matrix)
    return _as_bytes(y), _as_bytes(cv2.extractChannel(chroma, 1)), _as_bytes(cv2.extractChannel(chroma, 2))


def _halve(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mean of each 2 x 2 pixels; an odd last row or column counts twice."""
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        image = _as_bytes(cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE))
    half = ((width + 1) // 2, (height + 1) // 2)
    return _as_bytes(cv2.resize(image, half, interpolation=cv2.INTER_AREA))


def _overwrite(target: NDArray[np.uint8], source: NDArray[np.uint8], same: NDArray[np.uint8]) -> None:
    """Copy `source` into `target` but where `same` is 255."""
    cv2.copyTo(source, cv2.bitwise_not(same), target)


def _as_bytes(array: NDArray[np.generic]) -> NDArray[np.uint8]:
    """What cv2 gives back, under the type it has."""
    return np.asarray(array, np.uint8)


def _is_near(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    """Whether one box around both is no larger than the two."""
    return _area(_around(a, b)) <= _area(a) + _area(b)


def _around(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _area(box: tuple[int, int, int, int]) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
