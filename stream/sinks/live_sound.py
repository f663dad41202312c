"""The sound of a live source into an output: copied where that takes it as it is, else encoded anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.filter import Graph
from av.packet import Packet

from stream.sinks.encoding import Container
from stream.sinks.sound import AudioPackets, add_encoder, drain, resampling
from stream.sound_input import format_stream
from stream.sound_track import SoundPacket, SoundReader, SoundTrack

WAIT_S = 1
"""How long a film's first pictures are kept back for the first sound that was announced: see LiveSound."""
_GAP_S = 1
"""A longer gap in sound that is encoded stays one, a shorter one becomes silence."""


class SoundConverter:
    """Makes of a source's sound that of a stream, which it adds to an output that is not started yet.

    Sound of a codec in `copied` stays as it is, all else is encoded by `encoder`. Times must rise; what lies before the
    sound at hand is left out. Raises ValueError or av.FFmpegError where that cannot be.
    """

    def __init__(self, output: OutputContainer, sound_format: bytes, copied: frozenset[str], encoder: str) -> None:
        self._format = sound_format
        self._source = format_stream(sound_format)
        self._is_copied = self._source.codec_context.codec.canonical_name in copied
        self._target = (
            output.add_stream_from_template(self._source)
            if self._is_copied
            else add_encoder(output, encoder, self._source)
        )
        self._graph: Graph | None = None
        self._held: Packet[AudioStream] | None = None
        self._last_s: Fraction | None = None
        self._end_s = Fraction(0)

    def convert(self, sound: SoundPacket) -> AudioPackets:
        """What goes to the output now; ValueError where the sound has become another that cannot be followed."""
        if self._last_s is not None and sound.begin_s <= self._last_s:
            return
        if self._is_copied and sound.format != self._format:
            raise ValueError("it has become another")
        has_gap = self._last_s is None or sound.begin_s - self._end_s > _GAP_S
        self._last_s, self._end_s = sound.begin_s, sound.begin_s + sound.duration_s
        if self._is_copied:
            yield from self._hold(_packet_of(sound, self._source), self._target)
            return
        if has_gap or sound.format != self._format:
            self._graph = None
        if sound.format != self._format:
            self._format, self._source = sound.format, format_stream(sound.format)
        try:
            frames = self._source.decode(_packet_of(sound, self._source))
        except av.FFmpegError:
            return  # a damaged packet becomes silence
        for frame in frames:
            if frame.pts is not None:
                # Not before: some decoders know only now which channels there are.
                self._graph = self._graph or resampling(self._source, self._target, sound.begin_s)
                self._graph.push(frame)
                yield from self._held_back(drain(self._graph, self._target))

    def finish(self) -> AudioPackets:
        """What is still held back."""
        if self._graph is not None:
            self._graph.push(None)
            yield from self._held_back(drain(self._graph, self._target))
            yield from self._held_back(iter(self._target.encode(None)))
        if self._held is not None:
            yield self._held
            self._held = None

    def _held_back(self, packets: AudioPackets) -> AudioPackets:
        for packet in packets:
            yield from self._hold(packet, self._target)

    def _hold(self, packet: Packet[AudioStream], target: AudioStream) -> AudioPackets:
        """The packet before this one, which lasts until this one: FFmpeg's mp4 writer goes by what a packet lasts."""
        packet.stream = target
        held, self._held = self._held, packet
        if held is not None:
            held.duration = (packet.pts or 0) - (held.pts or 0)
            yield held


class LiveSound:
    """Writes the sound of a track into a film beside its pictures; `shift_s` is added to all its times.

    A film's streams are named in its header. So while the sound `is_awaited`, the film must not be begun: until the
    first sound comes, or the pictures have lasted for WAIT_S without any. What lies before 0 is left out. Sound that
    cannot be taken over never fails the pictures: `warnings` says what is missing.
    """

    def __init__(self, track: SoundTrack, output: OutputContainer, container: Container, *, shift_s: Fraction) -> None:
        self.warnings: list[str] = []
        self.is_awaited = True
        self._reader = SoundReader(track)
        self._output = output
        self._container = container
        self._shift_s = shift_s
        self._since_s: Fraction | None = None
        self._converter: SoundConverter | None = None

    def advance(self, until_s: Fraction) -> None:
        """Write the sound that has come and begins before `until_s` of the output's time."""
        taken = (packet.moved(self._shift_s) for packet in self._reader.take(until_s - self._shift_s))
        packets = [packet for packet in taken if packet.begin_s >= 0]
        if self.is_awaited and packets:
            self._begin(packets[0])
        elif self.is_awaited:
            self._since_s = until_s if self._since_s is None else self._since_s
            if until_s - self._since_s >= WAIT_S:
                self.is_awaited = False
                self._warn("is missing", f"none came in the first {WAIT_S} s")
        for packet in packets:
            if self._converter is not None:
                self._write(self._converter.convert(packet), packet.begin_s)

    def settle(self) -> None:
        """Wait no longer: the film ends."""
        self.is_awaited = False

    def finish(self, _stopped: Callable[[], bool]) -> None:
        """Write what is held back; of what is live no more will come."""
        if self._converter is not None:
            self._write(self._converter.finish(), Fraction(0))

    def close(self) -> None:
        """Let the sound go."""
        self._converter = None

    def _begin(self, first: SoundPacket) -> None:
        self.is_awaited = False
        taken, encoder = self._container.sound_copied, self._container.sound_encoder
        try:
            self._converter = SoundConverter(self._output, first.format, taken, encoder)
        except (av.FFmpegError, ValueError) as error:
            self._warn("cannot be taken over", error)

    def _write(self, packets: Iterator[Packet[AudioStream]], at_s: Fraction) -> None:
        try:
            for packet in packets:
                self._output.mux(packet)
        except (av.error.InvalidDataError, av.error.ArgumentError, ValueError) as error:
            self._converter = None
            self._warn(f"ends at {float(at_s):.1f} s", error)

    def _warn(self, what: str, reason: Exception | str) -> None:
        self.warnings.append(f"sound {what} ({getattr(reason, 'strerror', None) or reason}); the pictures are whole")


def _packet_of(sound: SoundPacket, stream: AudioStream) -> Packet[AudioStream]:
    """The sound as FFmpeg has it, in the ticks of the stream."""
    packet: Packet[Any] = Packet(sound.data)
    time_base = stream.time_base or Fraction(1, stream.codec_context.sample_rate)
    packet.time_base = time_base
    packet.pts = packet.dts = round(sound.begin_s / time_base)
    packet.duration = round(sound.duration_s / time_base)
    return packet
