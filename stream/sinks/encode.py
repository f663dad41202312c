"""Pictures in, packets out: the part that a film and a stream share."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import TypeAlias

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import PictureType
from av.video.stream import VideoStream

from stream.frame import Color
from stream.sinks.clock import USUAL_RATE, FrameClock
from stream.sinks.encoding import VideoOptions, bits_per_second, encoder_settings, pixel_format

Packets: TypeAlias = "list[Packet[VideoStream]]"

_MUXERS_90_KHZ = frozenset({"mpegts", "hls", "rtsp"})
"""They count in ticks of 1/90,000 s, and fail where two pictures fall into one."""


@dataclass(frozen=True, slots=True)
class PictureFormat:
    """What all pictures of one encoder have in common; `size` is (height, width), both even, `rate` frames a second."""

    size: tuple[int, int]
    time_base: Fraction
    rate: Fraction | None
    color: Color
    sample_aspect: Fraction = Fraction(1)


class PictureEncoder:
    """Encodes pictures for an output that is not started yet, into a stream that it adds there.

    With `live` nothing is held back: every picture's packet comes at once. With `key_every_s` there is a key frame at
    least so often. A picture that comes within a tick of the one before, as the muxer counts, is put off until the next
    tick. Raises ValueError or av.FFmpegError where FFmpeg's encoder of that name does not open.
    """

    def __init__(
        self,
        output: OutputContainer,
        encoder: str,
        picture: PictureFormat,
        options: VideoOptions,
        *,
        live: bool = False,
        key_every_s: float | None = None,
    ) -> None:
        self._picture = picture
        self._format = pixel_format(encoder)
        self._clock = FrameClock(picture.rate, picture.time_base)
        self._key_every = None if key_every_s is None else round(Fraction(key_every_s) / picture.time_base)
        self._next_key: int | None = None
        is_90_khz = output.format.name in _MUXERS_90_KHZ
        self._step = ceil(1 / (90_000 * picture.time_base)) if is_90_khz else 0
        self._soonest: int | None = None
        stream = output.add_stream(encoder, rate=picture.rate or USUAL_RATE)
        if not isinstance(stream, VideoStream):
            raise ValueError(f"{encoder} encodes no video")
        context = stream.codec_context
        (context.height, context.width), context.pix_fmt = picture.size, self._format
        context.time_base = stream.time_base = picture.time_base
        context.sample_aspect_ratio = picture.sample_aspect
        context.colorspace, context.color_range = picture.color.matrix, picture.color.range
        context.color_primaries, context.color_trc = picture.color.primaries, picture.color.transfer
        context.options = encoder_settings(encoder, options, live=live)
        context.bit_rate = bits_per_second(encoder, options, picture.size, picture.rate or USUAL_RATE)
        context.thread_count = 0  # as many as the encoder thinks good
        context.open()
        self._stream = stream

    @property
    def end(self) -> int:
        """When the last picture ends, in ticks."""
        return self._clock.end

    def encode(self, frame: av.VideoFrame, pts: int) -> Packets:
        """The packets that are ready once this picture, 4:2:0 and of the size agreed on, is in."""
        if self._step:
            pts = pts if self._soonest is None else max(pts, self._soonest)
            self._soonest = pts + self._step
        frame.pts, frame.time_base = pts, self._picture.time_base
        if self._key_every is not None and (self._next_key is None or pts >= self._next_key):
            frame.pict_type = PictureType.I
            self._next_key = pts + self._key_every
        self._clock.saw(pts)
        if self._format != frame.format.name:
            packed = frame.reformat(format=self._format)
            packed.pts, packed.time_base, packed.pict_type = pts, frame.time_base, frame.pict_type
            frame = packed
        return self._timed(self._stream.encode(frame))

    def finish(self) -> Packets:
        """The encoder's last packets, of which the very last stands until the end of the film.

        FFmpeg's mp4 writer takes the end of its last fragment for that of the film. Where it holds but frames that are
        shown before one of the fragment before it, players would leave out that one.
        """
        packets = self._stream.encode(None)
        if packets and packets[-1].pts is not None:
            self._clock.stretch(packets[-1].pts)
        return self._timed(packets)

    def _timed(self, packets: Packets) -> Packets:
        for packet in packets:
            packet.duration = self._clock.duration(packet.pts)
        return packets
