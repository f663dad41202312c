"""A process that encodes pictures and sends them to a server: python -m stream.sinks.sender, started by transmitter.py.

FFmpeg connects to a server and takes leave of it while PyAV holds Python's lock, for as long as the server likes: in
the process of the pipeline that would stop everything. This one may hang. It then ends by itself, by the system's alarm
clock; it also ends when the one who asks is gone. Requests and replies are pickled, through standard input and output;
the address, which may hold a password, is told that way too, so that no list of processes shows it.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO

import av
from av.packet import Packet

from stream.sinks.encode import Packets, PictureEncoder, PictureFormat
from stream.sinks.encoding import VideoOptions
from stream.sinks.hardware import choose_encoder
from stream.sinks.live_sound import SoundConverter
from stream.sinks.target import Target
from stream.sound_track import SoundPacket

_SOUND_ENCODER, _COPIED = "aac", frozenset({"aac"})
"""All kinds of streams carry AAC, as it is or encoded."""
_NOT_HELD_BACK = {"max_interleave_delta": "1"}
"""Microseconds that pictures wait for sound, which may never come: at most until the next picture."""
_REFUSALS = (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)


@dataclass(frozen=True, slots=True)
class Open:
    """Connect to a server, for pictures and sound of this kind; `muxer` is what the muxer is told."""

    target: Target
    muxer: dict[str, str]
    picture: PictureFormat
    options: VideoOptions
    sound_format: bytes | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Encode and send a picture, the memory of its three planes, rows as wide as FFmpeg makes them, after its sound."""

    pts: int
    planes: tuple[bytes, bytes, bytes]
    sound: tuple[SoundPacket, ...] = ()


@dataclass(frozen=True, slots=True)
class Close:
    """Send what the encoder still holds and take leave of the server."""


Request = Open | Send | Close
Choose = Callable[[PictureFormat, VideoOptions], tuple[str, str]]
"""Chooses the encoder for such pictures, and says which."""


@dataclass(frozen=True, slots=True)
class Reply:
    """How it went: what failed, where something did, and whether it would fail again for ever; else what was chosen."""

    failure: str | None = None
    is_final: bool = False
    note: str = ""


class Sender:
    """One connection after another, each with its encoder, which is chosen once for all pictures of a kind."""

    def __init__(self, choose: Choose = choose_encoder) -> None:
        self._choose = choose
        self._choices: dict[tuple[PictureFormat, VideoOptions], tuple[str, str]] = {}
        self._output: av.container.OutputContainer | None = None
        self._encoder: PictureEncoder | None = None
        self._sound: SoundConverter | None = None
        self._size = (0, 0)
        self._time_base = Fraction(1)
        self._first_s: Fraction | None = None  # of the pictures of this connection

    def answer(self, request: Request) -> Reply:
        """Do as asked; whatever goes wrong ends the connection and is told."""
        try:
            if isinstance(request, Open):
                return self._open(request)
            if isinstance(request, Send):
                self._send_sound(request)
                self._mux(self._encode(request))
            else:
                self.close()
        except (av.FFmpegError, ValueError, OSError) as error:
            self._drop()
            if isinstance(error, av.FFmpegError | OSError):
                return Reply(error.strerror or type(error).__name__, isinstance(error, _REFUSALS))
            return Reply(str(error), is_final=True)
        return Reply()

    def close(self) -> None:
        """Finish the connection at hand, if there is one."""
        if self._output is not None:
            if self._encoder is not None:
                self._mux(self._encoder.finish())
            self._output.close()
            self._output = self._encoder = self._sound = None

    def _open(self, request: Open) -> Reply:
        self.close()
        target, picture = request.target, request.picture
        kind = (picture, request.options)
        is_new = kind not in self._choices
        if is_new:
            self._choices[kind] = self._choose(*kind)
        encoder, note = self._choices[kind]
        has_sound = request.sound_format is not None
        muxer = request.muxer | (_NOT_HELD_BACK if has_sound else {})
        self._output = av.open(target.address, "w", format=target.muxer, options=muxer)
        try:
            self._encoder = PictureEncoder(
                self._output, encoder, picture, request.options, live=True, key_every_s=target.key_every_s
            )
        except av.FFmpegError as error:
            if not is_new:  # It did once: the next attempt chooses anew.
                del self._choices[kind]
                raise
            raise ValueError(f"encoder {encoder} does not open ({error.strerror}); check --encoder") from error
        if request.sound_format is not None:
            note += self._add_sound(self._output, request.sound_format)
        self._size, self._time_base, self._first_s = picture.size, picture.time_base, None
        self._output.start_encoding()
        return Reply(note=note)

    def _add_sound(self, output: av.container.OutputContainer, sound_format: bytes) -> str:
        """Make ready for sound, which never fails the pictures; what to say of it."""
        try:
            self._sound = SoundConverter(output, sound_format, _COPIED, _SOUND_ENCODER)
        except (av.FFmpegError, ValueError):
            return ", without the sound, which cannot be taken over"
        return ""

    def _send_sound(self, request: Send) -> None:
        if self._first_s is None:
            self._first_s = request.pts * self._time_base  # RTMP takes nothing from before the first packet
        for each in request.sound:
            if self._sound is None:
                return
            try:
                packets = [packet for packet in self._sound.convert(each) if _time_s(packet) >= self._first_s]
            except (av.FFmpegError, ValueError):
                self._sound = None  # until the next connection
                return
            self._mux(packets)

    def _encode(self, request: Send) -> Packets:
        if self._encoder is None:
            raise ConnectionError("nothing is connected")
        height, width = self._size
        frame = av.VideoFrame(width, height, "yuv420p")
        for plane, memory in zip(frame.planes, request.planes, strict=True):
            plane.update(memory)
        return self._encoder.encode(frame, request.pts)

    def _mux(self, packets: Iterable[Packet[Any]]) -> None:
        for packet in packets:
            if self._output is not None:
                self._output.mux(packet)

    def _drop(self) -> None:
        """Forget a connection that failed."""
        output, self._output = self._output, None
        self._encoder = self._sound = None
        if output is not None:
            with suppress(av.FFmpegError, OSError):
                output.close()


def _time_s(packet: Packet[Any]) -> Fraction:
    return (packet.pts or 0) * packet.time_base


def serve(requests: BinaryIO, replies: BinaryIO, within: Callable[[Request | None], None]) -> None:
    """Answer requests until there are no more; `within` is told when work on one begins, and with None when it ends."""
    sender = Sender()
    while True:
        try:
            request = pickle.load(requests)
        except (EOFError, pickle.UnpicklingError):  # the latter in the middle of one
            within(Close())
            sender.answer(Close())
            return
        within(request)
        reply = sender.answer(request)
        within(None)
        pickle.dump(reply, replies)
        replies.flush()


def main() -> None:
    """Serve standard input, OPEN_S and WRITE_S as arguments: seconds that connecting, or anything else, may take."""
    open_s, write_s = (float(argument) for argument in sys.argv[1:])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # The one who asks says when it is over.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library may print is no reply

    def within(request: Request | None) -> None:
        limit_s = open_s if isinstance(request, Open) else write_s
        if hasattr(signal, "setitimer"):  # Windows has none: there it hangs until the output is closed.
            # An alarm that nobody handles ends the process, whoever holds Python's lock.
            signal.setitimer(signal.ITIMER_REAL, 0 if request is None else limit_s)

    failure: BaseException | None = None
    try:
        serve(sys.stdin.buffer, replies, within)
    except BrokenPipeError:
        pass
    except BaseException as error:  # noqa: BLE001 - this is the end of the process, whatever it was
        failure = error
        traceback.print_exception(error)
    finally:
        os._exit(0 if failure is None else 1)  # without asking FFmpeg again, which may hang


if __name__ == "__main__":
    main()
