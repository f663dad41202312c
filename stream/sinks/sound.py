"""The sound of a source beside its pictures: copied where the container takes it as it is, else encoded anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import chain
from typing import TypeAlias

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.filter import Graph
from av.packet import Packet
from av.stream import Discard

from stream.sinks.encoding import Container
from stream.sound_input import audio_specific_config
from stream.source import is_network

_BITRATE = {"aac": 160_000, "libopus": 128_000}
_MAX_DRIFT_S = 0.02
"""A gap or an overlap of more than this is filled with silence or cut, so that encoded sound stays in step."""
_SEEK_LEAD_S = 1
"""How much earlier than wanted reading begins: a seek goes by the pictures, whose sound may lie before them."""
_LATE_S = 1
"""Sound that begins later than this after the pictures is encoded anew, with silence before it."""
NETWORK_TIMEOUT_S = (10.0, 5.0)
"""How long a server may be silent when its film is opened, and at each read: as SourceOptions has it for pictures."""

_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
"""The sampling rates that AAC knows (ISO/IEC 14496-3, table 1.18)."""

AudioPackets: TypeAlias = "Iterator[Packet[AudioStream]]"


class Sound:
    """Takes over the first sound of `url` into an output that is not started yet; whoever opened it closes it.

    `shift_s` is added to the source's times; the pictures begin at `begin_s` of the output's time. With `cut_start`
    what lies before 0 is left out. A server that is silent for longer than `timeout_s`, (open, read), has failed. Sound
    that cannot be taken over never fails the pictures: `warnings` says what is missing.
    """

    def __init__(
        self,
        url: str,
        output: OutputContainer,
        container: Container,
        *,
        shift_s: Fraction,
        begin_s: Fraction,
        cut_start: bool,
        timeout_s: tuple[float, float] = NETWORK_TIMEOUT_S,
    ) -> None:
        self.warnings: list[str] = []
        self._output = output
        self._shift_s, self._begin_s, self._cut_start = shift_s, begin_s, cut_start
        self._upcoming: AudioPackets = iter(())
        self._next: Packet[AudioStream] | None = None
        self._source: InputContainer | None = None
        try:
            self._source = av.open(url, timeout=timeout_s if is_network(url) else None)
            self._upcoming = self._take_over(self._source, container)
            self._next = next(self._upcoming, None)
        except (av.FFmpegError, ValueError) as error:
            self._warn("cannot be taken over", error)
        except BaseException:
            self.close()
            raise

    def advance(self, until_s: Fraction) -> None:
        """Write the sound that begins before `until_s` of the output's time."""
        while self._next is not None and _start_s(self._next) < until_s:
            self._write_next(self._next)

    def finish(self, stopped: Callable[[], bool]) -> None:
        """Write all the sound that is left, until `stopped` says so: it may last much longer than the pictures."""
        while self._next is not None and not stopped():
            self._write_next(self._next)

    def _write_next(self, packet: Packet[AudioStream]) -> None:
        """Write the packet at hand and make ready the one after it."""
        self._next = None
        at_s = float(_start_s(packet))  # before the muxer takes the packet over
        try:
            self._output.mux(packet)
        except (av.error.InvalidDataError, av.error.ArgumentError) as error:
            self._warn(f"ends at {at_s:.1f} s", error)
            return
        try:
            self._next = next(self._upcoming, None)
        except (av.FFmpegError, ValueError) as error:
            self._warn(f"ends at {at_s:.1f} s", error)

    def close(self) -> None:
        """Let the source go."""
        self._next = None
        if self._source is not None:
            self._source.close()
            self._source = None

    def _take_over(self, source: InputContainer, container: Container) -> AudioPackets:
        """Add a stream of sound to the output; the packets for it."""
        if not source.streams.audio:
            raise ValueError("there is none")
        stream = source.streams.audio[0]
        codec = stream.codec_context.codec.canonical_name
        packets = self._read(source, stream)
        first = next(packets, None)
        if first is None:
            raise ValueError("it is empty")
        packets = chain([first], packets)
        # An mp4 begins with the first packet of each of its streams: until then it would only grow in memory.
        late = _start_s(first) - self._begin_s > _LATE_S
        if codec not in container.sound_copied or late:
            target = add_encoder(self._output, container.sound_encoder, stream)
            begin_s = self._begin_s if self._cut_start else min(self._begin_s, _start_s(first))
            return _encoded(packets, resampling(stream, target, begin_s, cut_start=self._cut_start), target)
        target = self._output.add_stream_from_template(stream)
        # Opus and Matroska carry the lead in a header, others need an edit list: else it would move everything else.
        carried = codec == "opus" or ("matroska" in source.format.name and container.muxer == "matroska")
        cut_lead = self._cut_start or not (carried or container.edit_list)
        return _copied(packets, _adts_filter(stream, target, bytes(first)), target, cut_lead)

    def _read(self, source: InputContainer, stream: AudioStream) -> AudioPackets:
        """The packets of the stream, in the output's time, up to its end, or up to where it cannot be read."""
        for other in source.streams:
            if other is not stream:
                other.discard = Discard.all
        try:
            if self._cut_start:
                source.seek(max(0, int((-self._shift_s - _SEEK_LEAD_S) * av.time_base)), backward=True)
            for packet in source.demux(stream):
                if packet.pts is None or not packet.size:
                    continue
                ticks = round(self._shift_s / packet.time_base)
                packet.pts += ticks
                packet.dts = packet.pts if packet.dts is None else packet.dts + ticks
                if not self._cut_start or packet.pts + (packet.duration or 0) > 0:
                    yield packet
        except av.FFmpegError as error:
            self._warn("cannot be read to its end", error)

    def _warn(self, what: str, error: Exception) -> None:
        silent = isinstance(error, av.error.ExitError)  # as PyAV calls a time-out
        reason = "the server is silent" if silent else getattr(error, "strerror", None) or error
        self.warnings.append(f"sound {what} ({reason}); the pictures are whole")


def _copied(
    packets: AudioPackets, unwrap: av.BitStreamFilterContext | None, target: AudioStream, cut_lead: bool
) -> AudioPackets:
    """Packets as they are; with `cut_lead` none that begins before 0."""
    last_dts: int | None = None
    for packet in packets:
        dts = packet.dts or 0
        repeats = last_dts is not None and dts <= last_dts  # a muxer takes rising times only
        if repeats or (cut_lead and _start_s(packet) < 0):
            continue
        last_dts = dts
        for ready in unwrap.filter(packet) if unwrap else [packet]:
            ready.stream = target
            yield ready


def _encoded(packets: AudioPackets, graph: Graph, target: AudioStream) -> AudioPackets:
    """Packets decoded, brought to what the encoder takes, and encoded."""
    for packet in packets:
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue  # a damaged packet becomes silence
        for frame in frames:
            if frame.pts is not None:
                graph.push(frame)
                yield from drain(graph, target)
    graph.push(None)
    yield from drain(graph, target)
    yield from target.encode(None)


def resampling(source: AudioStream, target: AudioStream, begin_s: Fraction, *, cut_start: bool = False) -> Graph:
    """A graph from the decoder's sound to the encoder's, which begins at `begin_s`; silence fills gaps."""
    context = target.codec_context
    rate, layout, sample_format = context.sample_rate, context.layout.name, context.format.name
    graph = Graph()
    graph.link_nodes(
        graph.add_abuffer(template=source),
        *([graph.add("atrim", "start=0")] if cut_start else []),
        graph.add("aresample", f"{rate}:async=1:min_hard_comp={_MAX_DRIFT_S}:first_pts={round(begin_s * rate)}"),
        graph.add("aformat", f"sample_fmts={sample_format}:sample_rates={rate}:channel_layouts={layout}"),
        graph.add("abuffersink"),
    )
    graph.configure()
    if context.frame_size:
        graph.set_audio_frame_size(context.frame_size)
    return graph


def drain(graph: Graph, target: AudioStream) -> AudioPackets:
    """What the encoder makes of the frames that are ready."""
    while True:
        try:
            frame = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        if isinstance(frame, AudioFrame):
            yield from target.encode(frame)


def add_encoder(output: OutputContainer, encoder: str, source: AudioStream) -> AudioStream:
    """A stream of encoded sound, its encoder open, as like the source as the encoder allows; stereo at most."""
    source_rate = source.codec_context.sample_rate
    rate = 48_000 if encoder == "libopus" else min(_AAC_RATES, key=lambda known: abs(known - source_rate))
    target = output.add_stream(encoder, rate=rate, bit_rate=_BITRATE[encoder])
    if not isinstance(target, AudioStream):
        raise ValueError(f"{encoder} encodes no sound")
    context = target.codec_context
    context.layout = "mono" if source.codec_context.channels == 1 else "stereo"
    context.time_base = Fraction(1, rate)
    context.open()
    return target


def _adts_filter(source: AudioStream, target: AudioStream, first: bytes) -> av.BitStreamFilterContext | None:
    """What takes the headers off AAC as transport streams carry it, where the target wants them in one place.

    `first` is the first packet, whose header becomes the one of the target.
    """
    context = source.codec_context
    wrapped = context.codec.canonical_name == "aac" and not context.extradata and first[:1] == b"\xff"
    if not wrapped or target.container.format.name == "mpegts":
        return None
    target.codec_context.extradata = audio_specific_config(first)
    return av.BitStreamFilterContext("aac_adtstoasc", source)


def _start_s(packet: Packet[AudioStream]) -> Fraction:
    return (packet.pts or 0) * packet.time_base
