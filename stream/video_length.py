"""How long a video is and how fast, as its container announces it before it is read."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av
from av.container import InputContainer
from av.video.stream import VideoStream

FALLBACK_RATE = Fraction(25)
"""Frames a second where a container says nothing."""
_MAX_RATE = 1000
"""Frames a second beyond which a rate is no rate but the tick of a clock."""


@dataclass(frozen=True, slots=True)
class VideoLength:
    """What is announced: `start_pts` is the first moment of the whole input, `end_pts` the last one of the pictures
    counted from there, both in ticks of the stream; `frame_count` and `rate` (frames a second). None is unknown.
    """

    start_pts: int
    end_pts: int | None
    frame_count: int | None
    rate: Fraction | None


def length_of(container: InputContainer, stream: VideoStream, time_base: Fraction) -> VideoLength:
    """Read the length of `stream`, whose ticks are `time_base`, off the headers."""
    start_pts = _to_ticks(container.start_time or 0, time_base)
    first_pts = 0 if stream.start_time is None else stream.start_time - start_pts
    end_pts = _end_of(container, stream, time_base, start_pts)
    rate = next((r for r in (stream.guessed_rate, stream.average_rate) if r and r <= _MAX_RATE), None)
    frame_count = stream.frames or None
    if frame_count is None and end_pts is not None and rate is not None:
        frame_count = round((end_pts - first_pts) * time_base * rate)
    return VideoLength(start_pts, end_pts, frame_count, rate)


def _end_of(container: InputContainer, stream: VideoStream, time_base: Fraction, start_pts: int) -> int | None:
    if stream.duration:
        first = start_pts if stream.start_time is None else stream.start_time
        return first + stream.duration - start_pts
    tagged = stream.metadata.get("DURATION")  # what FFmpeg writes into mkv and webm, from the start of the file
    if tagged is not None:
        hours, minutes, seconds = tagged.split(":")
        return round((int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)) / time_base) - start_pts
    # The container's own duration counts the sound too, which may be longer.
    if container.duration and len(container.streams) == 1:
        return _to_ticks(container.duration, time_base)
    return None


def _to_ticks(microseconds: int, time_base: Fraction) -> int:
    """FFmpeg gives times of a container in `av.time_base` parts of a second."""
    return round(Fraction(microseconds, av.time_base) / time_base)
