"""A drawn picture as the frame that an encoder takes: 4:2:0, scaled, of even sides."""

from __future__ import annotations

from dataclasses import replace

import av
import numpy as np

from stream.color import av_frame, is_full_range, matrix_of, patch, plane_views, reformatter, to_planes
from stream.frame import Color, Frame, Planes
from stream.sinks.base import Picture
from stream.sinks.encode import PictureFormat
from stream.sinks.encoding import VideoOptions
from stream.source import SourceInfo


def described_by(frame: Frame, info: SourceInfo) -> SourceInfo:
    """What is known of a source, with the size and colours of this frame of it, which may have changed."""
    height, width = frame.image.shape[:2]
    color = info.color if frame.planes is None else frame.planes.color
    if (info.size, info.color) == ((height, width), color):
        return info
    return replace(info, size=(height, width), color=color)


def picture_format(info: SourceInfo, options: VideoOptions) -> PictureFormat:
    """What an encoder is told of the pictures of a source, as `options` scale them."""
    height, width = (_even(side) for side in options.output_size(info.size))
    # An untagged picture means another matrix where scaling brings it across the border between SD and HD.
    matrix = matrix_of(info.color, info.size[0])
    color = info.color if matrix_of(info.color, height) == matrix else replace(info.color, matrix=matrix)
    return PictureFormat((height, width), info.time_base, info.rate, color, info.sample_aspect)


def encodable(frame: Frame, picture: Picture, info: SourceInfo, options: VideoOptions) -> av.VideoFrame:
    """The drawn picture, new memory, as picture_format says; undrawn pixels are the bytes that were decoded.

    Pictures of an odd height or width get their last row or column twice.
    """
    if frame.planes is None:
        drawn = av_frame(to_planes(picture.image, info.color))
    else:
        drawn = av_frame(frame.planes)
        patch(Planes(*plane_views(drawn), frame.planes.color), frame.image, picture.image, picture.changed)
    size = options.output_size(info.size)
    if (drawn.height, drawn.width) != size:
        drawn = _scaled(drawn, size, info.color)
    return _padded(drawn) if drawn.height % 2 or drawn.width % 2 else drawn


def _scaled(frame: av.VideoFrame, size: tuple[int, int], color: Color) -> av.VideoFrame:
    height, width = size
    value_range = 2 if is_full_range(color) else 1
    matrix = matrix_of(color, frame.height)
    return reformatter().reformat(
        frame,
        width,
        height,
        "yuv420p",
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=value_range,
        dst_color_range=value_range,
        interpolation="BICUBIC" if height >= frame.height else "AREA",
        threads=1,
    )


def _padded(frame: av.VideoFrame) -> av.VideoFrame:
    """The frame with its last row and column doubled as needed to make both sides even, as 4:2:0 encoders ask."""
    even = av.VideoFrame(_even(frame.width), _even(frame.height), "yuv420p")
    for target, view in zip(plane_views(even), plane_views(frame), strict=True):
        missing = [(0, t - s) for t, s in zip(target.shape, view.shape, strict=True)]
        target[:] = np.pad(view, missing, mode="edge")
    return even


def _even(side: int) -> int:
    return side + side % 2
