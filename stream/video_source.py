"""Video as a source: a file, a camera, the test device or a network stream, decoded by FFmpeg."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from typing import NamedTuple

import av

from stream.decoder import Decoder, Losses
from stream.frame import Frame
from stream.playback import RealTime
from stream.sound_input import sound_of
from stream.sound_track import SoundPacket, SoundTrack
from stream.source import Source, SourceInfo, SourceOptions, StreamError
from stream.timeline import Timeline
from stream.upright import color_of_planes, orientation, upright
from stream.video_input import VideoInput, open_input
from stream.video_length import FALLBACK_RATE, length_of

_SEEK_LEADS_S = (0, 10)
"""How far before the start a seek aims, one after the other: in formats without an index it may land behind its aim."""
_NO_TIME_STAMPS = 0x0080
"""FFmpeg's AVFMT_NOTIMESTAMPS, a flag of formats that carry bare pictures."""
_TAIL_INTERVALS = 2
"""A file whose last frame ends more frame intervals than this before the announced end was cut short."""


class _Placed(NamedTuple):
    """A decoded frame, its place in time, and the sound that came with it."""

    decoded: av.VideoFrame
    pts: int
    captured_ns: int
    sound: tuple[SoundPacket, ...]


def open_video(url: str, options: SourceOptions) -> Source:
    """Open a video and read its first frame; raises OSError or StreamError where that fails.

    The frames of a live stream that comes a segment at a time are given out at their own speed: one that was let wait
    arrived when it was due, and where a segment is late, so is all that follows.
    """
    opened = open_input(url, options)
    try:
        source = VideoSource(opened, options)
    except BaseException:
        opened.container.close()
        raise
    return RealTime(source, catch_up_s=0) if opened.in_bursts else source


class VideoSource:
    """The frames of one video stream, each once, upright, with their time; a Source.

    The first frame is read when the source is made, as only it tells size and rotation.
    """

    def __init__(self, opened: VideoInput, options: SourceOptions) -> None:
        self._opened = opened
        self._time_base = opened.stream.time_base or Fraction(1, av.time_base)
        self._length = length_of(opened.container, opened.stream, self._time_base)
        self._from_pts = self._ticks(options.start_s or 0)
        self._before_pts = None if options.end_s is None else self._ticks(options.end_s)
        self._sound = sound_of(opened.container) if opened.live else None
        self._decoder = Decoder(opened, threads=options.threads, sound=self._sound)
        self._count = 0
        self._end_pts = 0
        self._is_read = False
        self._is_closed = False
        self._placed = (placed for placed in self._begin() if placed.pts >= self._from_pts)
        self._first = self._read_first()
        self._orientation = orientation(self._first.decoded, mirror=options.mirror)
        self._info = self._describe(self._first.decoded)

    @property
    def info(self) -> SourceInfo:
        """What is known before the first frame."""
        return self._info

    @property
    def damage(self) -> str | None:
        """What could not be read, in one line; None where all was."""
        losses = self._decoder.losses
        is_short = self._is_short()
        if not losses and not is_short:
            return None
        expected = self._info.frame_count
        parts = [f"{self._count} frames read" if expected is None else f"{self._count} of {expected} frames read"]
        if is_short:
            parts.append(f"the file ends early, at {float(self._end_pts * self._time_base):.2f} s")
        if losses.undecodable:
            parts.append(f"{losses.undecodable} could not be decoded")
        if losses.faulty:
            parts.append(f"{losses.faulty} with faults in the picture")
        if losses.read_error is not None:
            parts.append(f"reading stopped: {losses.read_error}")
        return f"{self._info.url}: {', '.join(parts)}"

    def frames(self) -> Iterator[Frame]:
        """The frames; to be gone through once."""
        placed: _Placed | None = self._first
        while placed is not None:
            if self._is_closed or self._is_past(placed.pts):
                return
            yield self._finish(placed)
            # PyAV crashes where a closed container is read.
            placed = None if self._is_closed else next(self._placed, None)
        self._is_read = not self._is_closed

    def close(self) -> None:
        """Close the input; not while another thread goes through the frames."""
        self._is_closed = True
        self._opened.container.close()

    def _begin(self) -> Iterator[_Placed]:
        """The frames from the last one before the start asked for, or from earlier ones."""
        # Without time stamps in the file only counting from its beginning tells the time.
        is_untimed = self._opened.container.format.flags & _NO_TIME_STAMPS
        if self._from_pts == 0 or self._opened.live or is_untimed:
            return self._place()
        aims = [self._from_pts - self._ticks(lead_s) for lead_s in _SEEK_LEADS_S]
        # The last aim lies before everything: a seek goes by the times of decoding, which begin below 0.
        for aim in (*(aim for aim in aims if aim > 0), -self._ticks(1)):
            if not self._seek(aim):
                break
            placed = self._place()
            first = next(placed, None)
            if first is not None and first.pts <= self._from_pts:
                return chain([first], placed)
        return self._place()

    def _seek(self, pts: int) -> bool:
        """Go to the key frame before `pts`; False where the input cannot, and stays where it is."""
        try:
            self._opened.container.seek(pts + self._length.start_pts, stream=self._opened.stream)
        except av.FFmpegError:
            return False
        return True

    def _place(self) -> Iterator[_Placed]:
        """The frames from where the input stands, in time."""
        origin = None if self._opened.live else self._length.start_pts
        timeline = Timeline(self._time_base, 1 / (self._length.rate or FALLBACK_RATE), origin)
        for decoded, captured_ns in self._decoder.frames():
            stamp = decoded.dts if decoded.pts is None else decoded.pts
            pts = timeline.place(stamp, decoded.duration)
            sound = () if self._sound is None else self._sound.take(timeline.origin_s)
            yield _Placed(decoded, pts, captured_ns, sound)

    def _read_first(self) -> _Placed:
        first = next(self._placed, None)
        if first is not None and not self._is_past(first.pts):
            if self._opened.live or self._from_pts:
                self._decoder.losses = Losses()  # what went wrong before the first frame asked for is no damage
            return first
        shown, losses = self._opened.shown, self._decoder.losses
        if first is None and losses:
            raise StreamError(f"{shown}: not one frame can be read, {losses.undecodable} are damaged; record it anew")
        if first is None and self._from_pts == 0:
            raise StreamError(f"{shown}: it has no frames; record it anew")
        end_pts = self._length.end_pts
        length = "" if end_pts is None else f", it lasts {float(end_pts * self._time_base):.2f} s"
        raise StreamError(f"{shown}: no frame between the start and the end asked for{length}; change --start or --end")

    def _describe(self, first: av.VideoFrame) -> SourceInfo:
        opened = self._opened
        aspect = opened.stream.sample_aspect_ratio or Fraction(1)
        return SourceInfo(
            source_id=opened.source_id,
            url=opened.shown,
            size=self._orientation.size_of(first),
            time_base=self._time_base,
            rate=self._length.rate,
            frame_count=None if opened.live else self._expected_frames(),
            live=opened.live,
            # A live clock starts anywhere; there is nothing to come back to.
            start_pts=0 if opened.live else self._length.start_pts,
            color=color_of_planes(first),
            sample_aspect=1 / aspect if self._orientation.is_sideways else aspect,
            sound_url=opened.sound_url,
            sound=None if self._sound is None else SoundTrack(self._sound.format),
        )

    def _expected_frames(self) -> int | None:
        """The announced number of frames between start and end, where they share out evenly in time."""
        count, end_pts = self._length.frame_count, self._length.end_pts
        whole = self._from_pts == 0 and self._before_pts is None
        if whole or count is None or not end_pts:
            return count if whole else None
        before_pts = end_pts if self._before_pts is None else min(end_pts, self._before_pts)
        return max(1, round(count * (before_pts - self._from_pts) / end_pts))

    def _finish(self, placed: _Placed) -> Frame:
        """What goes out for a decoded frame."""
        decoded, pts, captured_ns, sound = placed
        size = self._orientation.size_of(decoded)
        # What is live may come back in another size; a file goes into one film.
        if size != self._info.size and not self._opened.live:
            was, now = (f"{width}x{height}" for height, width in (self._info.size, size))
            at_s = float(pts * self._time_base)
            raise StreamError(
                f"{self._info.url}: the picture changes from {was} to {now} at {at_s:.2f} s; split it there"
            )
        image, planes = upright(decoded, self._orientation)
        source_id = self._info.source_id
        frame = Frame(image, self._count, pts, self._time_base, source_id, captured_ns, planes=planes, sound=sound)
        self._count += 1
        self._end_pts = pts + (decoded.duration or 1)
        return frame

    def _is_short(self) -> bool:
        """Whether a file that was read to its end ended before the end it announces."""
        if not self._is_read or self._opened.live or self._length.end_pts is None:
            return False
        missing_s = (self._length.end_pts - self._end_pts) * self._time_base
        return missing_s > _TAIL_INTERVALS / (self._length.rate or FALLBACK_RATE)

    def _is_past(self, pts: int) -> bool:
        return self._before_pts is not None and pts >= self._before_pts

    def _ticks(self, seconds: float) -> int:
        """The first tick at or after a time, which is taken as it is written: 0.1 is one tenth."""
        return math.ceil(Fraction(str(seconds)) / self._time_base)
