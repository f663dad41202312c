"""Frames that carry their number as a bar code, and streams of them."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import Literal

import av
import cv2
import numpy as np

from engines.results import Image

BITS = 16
CHECK_BITS = 2
CELLS = 2 + BITS + CHECK_BITS
"""White and black to begin with, the number from its highest bit on, and the count of its ones modulo 4."""
STRIP = 10
"""The bar code is a strip along the upper edge, one part in so many of the picture's height."""
DARK, LIGHT = 80, 176
"""Levels of grey between these are neither black nor white: blended or damaged."""


def write_number(image: Image, number: int) -> None:
    """Draw `number`, modulo 65,536, on a picture (H, W, 3), in place."""
    height, width = image.shape[:2]
    edges = np.linspace(0, width, CELLS + 1).round().astype(int)
    for bit, left, right in zip(_cells_of(number % (1 << BITS)), edges[:-1], edges[1:], strict=True):
        image[: height // STRIP, left:right] = 255 if bit else 0


def read_number(image: Image) -> int | None:
    """The number on a picture (H, W, 3), of whatever size it has become; None where none can be read."""
    height, width = image.shape[:2]
    strip = image[: height // STRIP].mean(axis=2)
    middle = strip[len(strip) // 4 : max(1, 3 * len(strip) // 4)].mean(axis=0)
    edges = np.linspace(0, width, CELLS + 1)
    levels = [middle[round(a + (b - a) / 4) : round(b - (b - a) / 4)].mean() for a, b in pairwise(edges)]
    if any(DARK < level < LIGHT for level in levels):
        return None
    bits = [level >= LIGHT for level in levels]
    number = sum(bit << (BITS - 1 - i) for i, bit in enumerate(bits[2 : 2 + BITS]))
    return number if bits == _cells_of(number) else None


def _cells_of(number: int) -> list[bool]:
    bits = [bool(number >> shift & 1) for shift in reversed(range(BITS))]
    ones = sum(bits)
    return [True, False, *bits, bool(ones & 2), bool(ones & 1)]


def encode_numbered(
    path: Path, *, frames: int, size: tuple[int, int] = (180, 320), rate: int = 25, clip: Path | None = None,
    key_every: int = 12, codec: Literal["h264", "hevc"] = "h264",
) -> Path:  # fmt: skip
    """Encode numbered frames as servers/rtsp_program.py plays them: bare video, without delay, with delimiters.

    The pictures are those of `clip`, over and over, at `size` (height, width), else plain grey.
    """
    height, width = size
    pictures = _grey(size) if clip is None else _clip(clip, size)
    with av.open(str(path), "w", format=codec) as container:
        stream = container.add_stream("libx264" if codec == "h264" else "libx265", rate=rate)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.gop_size = key_every
        own = {
            "h264": {"x264-params": "aud=1:sliced-threads=0:scenecut=0"},
            "hevc": {"x265-params": f"aud=1:repeat-headers=1:scenecut=0:keyint={key_every}:log-level=none"},
        }
        stream.codec_context.options = {"preset": "ultrafast", "tune": "zerolatency", **own[codec]}
        for number, picture in enumerate(islice(pictures, frames)):
            write_number(picture, number)
            frame = av.VideoFrame.from_ndarray(picture, "bgr24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _grey(size: tuple[int, int]) -> Iterator[Image]:
    while True:
        yield np.full((*size, 3), 128, np.uint8)


def _clip(clip: Path, size: tuple[int, int]) -> Iterator[Image]:
    height, width = size
    while True:
        with av.open(str(clip)) as container:
            for frame in container.decode(video=0):
                yield cv2.resize(frame.to_ndarray(format="bgr24"), (width, height), interpolation=cv2.INTER_AREA)
