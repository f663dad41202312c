"""The sound of a live connection as it is demuxed: packets in one form, whatever they came in."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

from stream.sound_track import SoundPacket

_WAITING = 2000
"""Packets that wait for the next picture at most; older ones are dropped."""


class SoundInput:
    """Collects the packets of one connection's sound until the next picture takes them along.

    AAC that comes with a header before each packet (ADTS, in transport streams) loses it, as no other container has it.
    """

    def __init__(self, stream: AudioStream) -> None:
        self.stream = stream
        context = stream.codec_context
        self._has_headers = context.codec.canonical_name == "aac" and not context.extradata
        # The header of the first packet, where there are any, tells more.
        self.format = None if self._has_headers or not context.sample_rate else _format_of(stream, None)
        self._waiting: list[tuple[bytes, Fraction, Fraction]] = []

    def add(self, packet: Packet[AudioStream]) -> None:
        """Take a packet in; one without a time is left out."""
        if packet.pts is None or not packet.size:
            return
        data = bytes(packet)
        if self._has_headers:
            if not _is_adts(data):
                return
            header, data = data[:7], data[7 if data[1] & 1 else 9 :]  # the longer one holds a checksum
            self.format = self.format or _format_of(self.stream, audio_specific_config(header))
        elif self.format is None:
            packet.decode()  # tells the sampling rate
            self.format = _format_of(self.stream, None)
        duration_s = (packet.duration or 0) * packet.time_base
        self._waiting.append((data, packet.pts * packet.time_base, duration_s))
        del self._waiting[:-_WAITING]

    def take(self, origin_s: Fraction) -> tuple[SoundPacket, ...]:
        """What has come since the last time, on the time line that begins with `origin_s` of the connection's."""
        waiting, self._waiting = self._waiting, []
        if self.format is None:
            return ()
        return tuple(SoundPacket(data, time_s - origin_s, long_s, self.format) for data, time_s, long_s in waiting)


def sound_of(container: InputContainer) -> SoundInput | None:
    """The first sound of a live connection; None where there is none, or none that FFmpeg knows."""
    streams = container.streams.audio
    return SoundInput(streams[0]) if streams and streams[0].codec_context else None


def format_stream(sound_format: bytes) -> AudioStream:
    """A stream with all that a decoder must know, made of SoundPacket.format."""
    return av.open(io.BytesIO(sound_format), format="nut").streams.audio[0]


def _format_of(stream: AudioStream, extradata: bytes | None) -> bytes:
    """A file of the sound, in FFmpeg's own container, with headers and an empty packet: it can go to any process."""
    file = io.BytesIO()
    with av.open(file, "w", format="nut", options={"fflags": "bitexact"}) as output:
        target = output.add_stream_from_template(stream)
        if extradata is not None:
            target.codec_context.extradata = extradata
        packet: Packet[Any] = Packet(bytes(16))
        packet.stream, packet.pts, packet.dts, packet.time_base = target, 0, 0, Fraction(1, 1000)
        output.mux(packet)
    return file.getvalue()


def _is_adts(data: bytes) -> bool:
    """Whether a packet begins as ADTS does, by 12 bits that are set."""
    return len(data) > 7 and data[0] == 0xFF and data[1] & 0xF0 == 0xF0


def audio_specific_config(header: bytes) -> bytes:
    """What a container tells of AAC in one place, made of the header of a packet.

    The header (ADTS, ISO/IEC 14496-3, 1.A.2.2) becomes the AudioSpecificConfig (1.6.2.1): 5 bits of profile, 4 of
    sampling rate, 4 of channels.
    """
    bits = int.from_bytes(header[2:4], "big")
    profile, rate, channels = (bits >> 14) + 1, bits >> 10 & 15, bits >> 6 & 7
    return (profile << 11 | rate << 7 | channels << 3).to_bytes(2, "big")
