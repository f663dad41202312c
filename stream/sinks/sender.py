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
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

import av

from stream.sinks.encode import Packets, PictureEncoder, PictureFormat
from stream.sinks.encoding import VideoOptions
from stream.sinks.hardware import choose_encoder
from stream.sinks.target import Target

_REFUSALS = (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)


@dataclass(frozen=True, slots=True)
class Open:
    """Connect to a server, for pictures of this kind; `muxer` is what the muxer is told."""

    target: Target
    muxer: dict[str, str]
    picture: PictureFormat
    options: VideoOptions


@dataclass(frozen=True, slots=True)
class Send:
    """Encode and send a picture: the memory of its three planes, rows as wide as FFmpeg makes them."""

    pts: int
    planes: tuple[bytes, bytes, bytes]


@dataclass(frozen=True, slots=True)
class Close:
    """Send what the encoder still holds and take leave of the server."""


Request = Open | Send | Close


@dataclass(frozen=True, slots=True)
class Reply:
    """How it went: what failed, where something did, and whether it would fail again for ever; else what was chosen."""

    failure: str | None = None
    is_final: bool = False
    note: str = ""


class Sender:
    """One connection after another, each with its encoder."""

    def __init__(self) -> None:
        self._output: av.container.OutputContainer | None = None
        self._encoder: PictureEncoder | None = None
        self._size = (0, 0)

    def answer(self, request: Request) -> Reply:
        """Do as asked; whatever goes wrong ends the connection and is told."""
        try:
            if isinstance(request, Open):
                return self._open(request)
            if isinstance(request, Send):
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
            self._output = self._encoder = None

    def _open(self, request: Open) -> Reply:
        self.close()
        target, picture = request.target, request.picture
        encoder, note = choose_encoder(picture, request.options)
        self._output = av.open(target.address, "w", format=target.muxer, options=request.muxer)
        try:
            self._encoder = PictureEncoder(
                self._output, encoder, picture, request.options, live=True, key_every_s=target.key_every_s
            )
        except av.FFmpegError as error:
            raise ValueError(f"encoder {encoder} does not open ({error.strerror}); check --encoder") from error
        self._size = picture.size
        self._output.start_encoding()
        return Reply(note=note)

    def _encode(self, request: Send) -> Packets:
        if self._encoder is None:
            raise ConnectionError("nothing is connected")
        height, width = self._size
        frame = av.VideoFrame(width, height, "yuv420p")
        for plane, memory in zip(frame.planes, request.planes, strict=True):
            plane.update(memory)
        return self._encoder.encode(frame, request.pts)

    def _mux(self, packets: Packets) -> None:
        if self._output is not None:
            self._output.mux(packets)

    def _drop(self) -> None:
        """Forget a connection that failed."""
        output, self._output, self._encoder = self._output, None, None
        if output is not None:
            with suppress(av.FFmpegError, OSError):
                output.close()


def serve(requests: BinaryIO, replies: BinaryIO, within: Callable[[Request | None], None]) -> None:
    """Answer requests until there are no more; `within` is told when work on one begins, and with None when it ends."""
    sender = Sender()
    while True:
        try:
            request = pickle.load(requests)
        except EOFError:
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

    with suppress(BrokenPipeError):
        serve(sys.stdin.buffer, replies, within)
    os._exit(0)  # without asking FFmpeg again, which may hang


if __name__ == "__main__":
    main()
