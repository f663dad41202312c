"""This end of a stream output: the process that sends, started when it is needed and killed when it hangs."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Protocol

from stream.frame import Frame
from stream.sinks.base import Picture
from stream.sinks.encodable import encodable, picture_format
from stream.sinks.encoding import VideoOptions
from stream.sinks.sender import Close, Open, Reply, Request, Send
from stream.sinks.target import Target, clear, muxer_options
from stream.sound_track import SoundReader
from stream.source import SourceInfo, StreamError

OPEN_S, WRITE_S = 10.0, 5.0
"""Seconds that a server may take to let us in, and to take a picture: as SourceOptions has it for reading."""
_ROOT = Path(__file__).parents[2]
_PROGRAM = "from stream.sinks.sender import main; main()"
_REMEDY, _FOLDER_REMEDY = "check the address, the server, and user and password", "check the folder and its disk"


class RefusedError(StreamError):
    """A server, or an encoder, will never take this stream; to try again would not help."""


class Transmitter(Protocol):
    """Connects, sends pictures, disconnects, over and over; each may take its time and raises StreamError.

    `connect` is told of what kind the pictures are, and their sound, if there is any, and says how they are encoded.
    `kill` makes whatever is being waited for fail at once; any thread may ask.
    """

    def connect(self, info: SourceInfo, sound_format: bytes | None) -> str: ...

    def send(self, frame: Frame, picture: Picture) -> None: ...

    def disconnect(self) -> None: ...

    def kill(self) -> None: ...

    def close(self) -> None: ...


class ProcessTransmitter:
    """Sends to a target by way of a process, that lasts over connections until it hangs; a Transmitter.

    Connecting may take `open_s`, and a picture `write_s`; then the process ends and another one is started.
    """

    def __init__(
        self, target: Target, options: VideoOptions, *, open_s: float = OPEN_S, write_s: float = WRITE_S
    ) -> None:
        self._target = target
        self._options = options
        self._times = (str(open_s), str(write_s))
        self._remedy = _REMEDY if target.playlist is None else _FOLDER_REMEDY
        self._info: SourceInfo | None = None
        self._sound: SoundReader | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False

    def connect(self, info: SourceInfo, sound_format: bytes | None) -> str:
        """Connect for pictures as `info` describes them; raises RefusedError where that would never be taken."""
        if self._info is None:
            clear(self._target)
        self._info = info
        picture = picture_format(info, self._options)
        self._sound = None if info.sound is None or sound_format is None else SoundReader(info.sound, from_now=True)
        request = Open(self._target, muxer_options(self._target, info), picture, self._options, sound_format)
        return self._ask(request, "cannot be connected").note

    def send(self, frame: Frame, picture: Picture) -> None:
        """Encode and send one picture, which is free again afterwards, and the sound that is heard before it."""
        if self._info is None:
            raise StreamError(f"{self._target.shown}: nothing is connected")
        drawn = encodable(frame, picture, self._info, self._options)
        y, u, v = (bytes(plane) for plane in drawn.planes)
        sound = () if self._sound is None else tuple(self._sound.take(frame.pts * frame.time_base))
        self._ask(Send(frame.pts, (y, u, v), sound), "broke off")

    def disconnect(self) -> None:
        """Send what is held back and take leave of the server."""
        if self._process is not None:
            self._ask(Close(), "could not be finished")

    def kill(self) -> None:
        """End the process, and with it whatever it waits for."""
        self._killed = True
        if (process := self._process) is not None:
            process.kill()

    def close(self) -> None:
        """Let the process go."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _ask(self, request: Request, what: str) -> Reply:
        process = self._process = self._process or self._start()
        if self._killed:  # which may have been while it was started
            process.kill()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            pickle.dump(request, process.stdin, pickle.HIGHEST_PROTOCOL)
            process.stdin.flush()
            reply: Reply = pickle.load(process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            self.close()
            waited_s = float(self._times[0] if isinstance(request, Open) else self._times[1])
            hung = process.returncode == -getattr(signal, "SIGALRM", 0)
            reason = f"no answer in {waited_s:g} s" if hung else f"its process ended with {process.returncode}"
            raise StreamError(f"{self._target.shown}: {what} ({reason}); {self._remedy}") from error
        if reply.failure is not None:
            kind = RefusedError if reply.is_final else StreamError
            raise kind(f"{self._target.shown}: {what} ({reply.failure}); {self._remedy}")
        return reply

    def _start(self) -> subprocess.Popen[bytes]:
        if self._killed:
            raise StreamError(f"{self._target.shown}: closed")
        paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        try:
            return subprocess.Popen(
                # -P: else an av.py in the folder one works in would be taken for the library.
                [sys.executable, "-P", "-c", _PROGRAM, *self._times],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for the program, which ends it in good order
                env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            )
        except OSError as error:
            reason = f"the process that sends does not start: {error.strerror}"
            raise StreamError(f"{self._target.shown}: cannot be connected ({reason}); end other programs") from error
