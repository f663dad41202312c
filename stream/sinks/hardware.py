"""Which encoder a stream takes: the hardware's where it really works, else libx264."""

from __future__ import annotations

import os
from collections.abc import Sequence

import av
from av import logging

from stream.sinks.clock import USUAL_RATE
from stream.sinks.encode import Packets, PictureEncoder, PictureFormat
from stream.sinks.encoding import VideoOptions, asked_encoder

HARDWARE = ("h264_nvenc", "h264_qsv", "h264_v4l2m2m", "h264_videotoolbox", "h264_amf")
"""Encoders of NVIDIA, Intel, small boards, Apple and AMD, in the order in which they are tried."""
SOFTWARE = "libx264"
_TRIAL = 2
"""Frames that an encoder must have encoded to be believed: some open where there is nothing behind them."""


def choose_encoder(
    picture: PictureFormat, options: VideoOptions, candidates: Sequence[str] = HARDWARE
) -> tuple[str, str]:
    """The encoder for a stream of such pictures, FFmpeg's name, and in one line why it is that one.

    It is the one asked for, else the first of the `candidates` that works, else x264.
    """
    if (asked := asked_encoder(options)) is not None:
        return asked, f"encoder: {asked}"
    failures = []
    for name in candidates:
        if name in av.codecs_available:
            if (failure := _failure_of(name, picture, options)) is None:
                return name, f"encoder: {name}"
            failures.append(f"{name}: {failure}")
    why = f" ({'; '.join(failures)})" if failures else ""
    return SOFTWARE, f"encoder: {SOFTWARE}{why}"


def _failure_of(name: str, picture: PictureFormat, options: VideoOptions) -> str | None:
    """What goes wrong with an encoder, in FFmpeg's first words about it; None where it works."""
    before = logging.get_level()
    logging.set_level(logging.ERROR)
    try:
        with logging.Capture() as complaints:
            if len(_encode_grey(name, picture, options)) == _TRIAL:
                return None
    except (av.FFmpegError, ValueError) as error:
        if complaints:
            return complaints[0][2].strip().rstrip(".")
        return getattr(error, "strerror", None) or str(error)
    finally:
        logging.set_level(before)
    return "it opens and encodes nothing"


def _encode_grey(name: str, picture: PictureFormat, options: VideoOptions) -> Packets:
    """The packets of a few grey pictures."""
    height, width = picture.size
    with av.open(os.devnull, "w", format="null") as output:
        # With the preset asked for: an encoder that has none of that name would not open for the stream either.
        encoder = PictureEncoder(output, name, picture, options, live=True)
        interval = max(1, round(1 / (picture.time_base * (picture.rate or USUAL_RATE))))
        packets = []
        for number in range(_TRIAL):
            frame = av.VideoFrame(width, height, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([128]) * plane.buffer_size)
            packets += encoder.encode(frame, number * interval)
        return packets + encoder.finish()
