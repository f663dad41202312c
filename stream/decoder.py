"""Packets into decoded frames, as many as can be had of a damaged input."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.codec.context import Flags, ThreadType
from av.packet import Packet
from av.video.stream import VideoStream

from stream.arrivals import Arrivals, Read, arriving
from stream.sound_input import SoundInput
from stream.source import StreamError
from stream.video_input import VideoInput, forget_address, reason_of

_DEVICE_WAIT_S = 0.002
"""Pause before a device that has no picture yet is asked again; most wait by themselves."""


@dataclass(slots=True)
class Losses:
    """What could not be read: packets that did not decode, frames that decoded with faults, and why reading ended."""

    undecodable: int = 0
    faulty: int = 0
    read_error: str | None = None

    def __bool__(self) -> bool:
        return bool(self.undecodable or self.faulty or self.read_error)


class Decoder:
    """The frames of one stream in the order they are shown, each with the time its packet arrived.

    `threads` decode, 0 means one per core. A live input is decoded without delay: by slices, as frames in parallel
    would each wait for the next ones. Faults of a file are counted in `losses` and passed by; where a live input falls
    silent for longer than its time-out, breaks off, or sends nothing that can be shown for as long as it might have
    taken to open, StreamError is raised. Packets of `sound` go there, as they come between those of the pictures.
    """

    def __init__(self, opened: VideoInput, *, threads: int, sound: SoundInput | None = None) -> None:
        self.losses = Losses()
        self._shown = opened.shown
        self._live = opened.live
        self._container = opened.container
        self._stream = opened.stream
        self._sound = sound
        self._arrivals = None if opened.held_back is None else Arrivals(opened.opened_ns, opened.held_back)
        codec = opened.stream.codec_context
        codec.thread_count = threads
        codec.thread_type = ThreadType.SLICE if opened.live else ThreadType.AUTO
        codec.copy_opaque = True  # carries the time of arrival from packet to frame
        if opened.live:
            codec.flags |= Flags.low_delay

    def frames(self) -> Iterator[tuple[av.VideoFrame, int]]:
        """Each frame with the monotonic time in nanoseconds at which its packet arrived."""
        shown_s = time.monotonic()
        for packet, arrived_ns in self._arriving():
            if packet is not None:
                packet.opaque = arrived_ns
            for frame in self._decode(packet):
                self.losses.faulty += frame.is_corrupt
                carried_ns = frame.opaque
                yield frame, carried_ns if isinstance(carried_ns, int) else arrived_ns
                shown_s = time.monotonic()
            self._check_shown(shown_s)

    def _arriving(self) -> Iterator[tuple[Packet[VideoStream] | None, int]]:
        """Each packet and when it arrived; None and now at the end."""
        if self._arrivals is not None:
            return arriving(self._reads(), self._arrivals)
        return ((packet, read.at_ns) for packet, read in self._reads())

    def _reads(self) -> Iterator[tuple[Packet[VideoStream] | None, Read]]:
        """Each packet and how it was read; None at the end."""
        time_base = self._stream.time_base or Fraction(0)
        asked_ns = time.monotonic_ns()
        for packet in self._packets():
            at_ns = time.monotonic_ns()
            ticks = None if packet is None else (packet.pts if packet.dts is None else packet.dts)
            time_ns = None if ticks is None else round(ticks * time_base * 10**9)
            yield packet, Read(time_ns, at_ns, at_ns - asked_ns)
            asked_ns = time.monotonic_ns()

    def _check_shown(self, since_s: float) -> None:
        """Give a live input up that sent packets since then and never a picture: it might do so for ever."""
        limit_s = self._container.open_timeout
        if self._live and limit_s and time.monotonic() - since_s > float(limit_s):
            raise StreamError(
                f"{self._shown}: what came for {limit_s:g} s holds no picture; check what the camera sends"
            )

    def _packets(self) -> Iterator[Packet[VideoStream] | None]:
        """The packets of the stream, None at the end: the decoder then gives what it holds back.

        A read that runs into its time-out may still give the picture that the parser held back; that one is the last.
        """
        silent_since = time.monotonic()
        wanted = (self._stream,) if self._sound is None else (self._stream, self._sound.stream)
        while True:
            try:
                packets: Iterator[Packet[Any]] = self._container.demux(*wanted)
                for packet in packets:
                    is_silent = self._arrivals is not None and self._is_overdue(silent_since)
                    if self._sound is not None and packet.stream is self._sound.stream:
                        self._sound.add(packet)
                        if is_silent:  # FFmpeg's time-out is kept off by sound alone
                            raise self._silence()
                        continue
                    if packet.size:
                        yield packet
                    if is_silent:
                        raise self._silence()
                    silent_since = time.monotonic()
                break
            except av.error.BlockingIOError as error:
                # macOS cameras answer so between two pictures.
                if self._is_overdue(silent_since):
                    forget_address(error)
                    raise self._silence() from error
                time.sleep(_DEVICE_WAIT_S)
            except av.error.ExitError as error:
                forget_address(error)
                raise self._silence() from error
            except av.FFmpegError as error:
                reason = reason_of(error)
                if self._live:
                    raise StreamError(
                        f"{self._shown}: the stream broke off ({reason}); check camera and network"
                    ) from error
                self.losses.read_error = reason
                break
        yield None

    def _is_overdue(self, since_s: float) -> bool:
        return time.monotonic() - since_s >= float(self._container.read_timeout or 0)

    def _silence(self) -> StreamError:
        return StreamError(
            f"{self._shown}: nothing came for {self._container.read_timeout:g} s; "
            "check camera and network, or allow more by input.read_timeout_s"
        )

    def _decode(self, packet: Packet[VideoStream] | None) -> list[av.VideoFrame]:
        """The frames that come out when a packet goes in."""
        try:
            return self._stream.decode(packet)
        except av.error.EOFError:
            return []
        except av.FFmpegError:
            self.losses.undecodable += 1
            return []
