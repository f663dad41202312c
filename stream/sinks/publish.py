"""Results as a live stream to a server, which may be slow, away or dead without the pipeline ever waiting for it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from engines.export import Say, silent
from stream.age import AgeLimit
from stream.buffer import FrameBuffer
from stream.meter import Meter
from stream.pipeline import Result
from stream.reconnect import STABLE_S, pause_s
from stream.sinks.base import Picture
from stream.sinks.encodable import described_by
from stream.sinks.encoding import VideoOptions, asked_encoder, known_encoder
from stream.sinks.target import check_free, target_of
from stream.sinks.transmitter import ProcessTransmitter, RefusedError, Transmitter
from stream.source import SourceInfo, StreamError

QUEUE = 2
"""Frames that may wait for the server: the one to be sent next, and one to even out."""
CLOSE_S = 1.5
"""Seconds that finishing may take before the connection is broken off."""
SLOW = 25
"""Frames left out while connected, after which the server is called slow."""

Item = tuple[Result, Picture | None]


class PublishSink:
    """Sends every picture by a `transmitter`, on a thread of its own; connects again for ever whenever that fails.

    Of the pictures the newest wins: `write` never waits, and what is left out is counted. Only a film, which is not
    live, sent to where it `is_kept`, loses nothing: there it waits, and a failure is raised. `info` is asked for with
    the first picture, when it is known. `say` is told of the first connection, of every loss and every return. What a
    target that refuses for good says is raised by the next `write`.
    """

    needs_picture = True

    def __init__(
        self,
        transmitter: Transmitter,
        shown: str,
        info: Callable[[], SourceInfo],
        meter: Meter,
        limit: AgeLimit | None = None,
        say: Say = silent,
        *,
        is_kept: bool = False,
        stopped: threading.Event | None = None,
    ) -> None:
        self._transmitter = transmitter
        self._shown = shown
        self._ask_info = info
        self._info: SourceInfo | None = None
        self._meter = meter
        self._limit = limit or AgeLimit()
        self._say = say
        self._is_kept = is_kept
        self._is_lossy = True
        self._stopped = stopped or threading.Event()
        self._closing = threading.Event()
        self._queue: FrameBuffer[Item] = FrameBuffer([shown], QUEUE, drop_oldest=True)
        self._thread = threading.Thread(target=self._run, name=f"publish {shown}")
        self._error: BaseException | None = None
        self._is_over = False  # and the error that ended it was raised
        self._connected: SourceInfo | None = None
        self._sound_format: bytes | None = None  # that of the connection
        self._connected_s: float | None = None
        self._lost_at_s: float | None = None
        self._reason: str | None = None  # why there is no connection
        self._is_killed = False
        self._failures = 0
        self._losses = 0
        self._lost_s = 0.0
        self._left_out = 0
        self._dropped_before = 0  # those that the queue dropped while nothing was connected
        self._is_told_slow = False
        self.frames_sent = 0

    @property
    def warnings(self) -> tuple[str, ...]:
        """How often the server was lost, and how many frames it did not get."""
        parts = []
        if self._losses:
            times = "once" if self._losses == 1 else f"{self._losses} times"
            parts.append(f"lost {times}, for {self._lost_s:.1f} s in all")
        if missing := self._left_out + self._queue.dropped(self._shown):
            parts.append("1 frame not sent" if missing == 1 else f"{missing} frames not sent")
        return (f"{self._shown}: {', '.join(parts)}",) if parts else ()

    def write(self, result: Result, picture: Picture | None) -> None:
        """Hand over one result; the picture must not be written to before five more are."""
        if self._info is None:
            self._start(self._ask_info())
        if not self._queue.put(self._shown, (result, picture)):
            self._raise()

    def close(self, *, failed: bool = False) -> None:
        """Send what waits, take leave of the server, and break that off where it takes too long.

        Raises what ended the stream for good, and StreamError where nothing was sent because of the server.
        """
        self._queue.close(self._shown)
        if self._thread.ident is not None:
            if self._is_lossy:
                self._closing.set()
                self._thread.join(CLOSE_S)
                if self._thread.is_alive():
                    self._is_killed = True
                    self._transmitter.kill()
            self._thread.join()
        self._raise()
        was_tried = self._thread.ident is not None and not self._is_over
        never = None if self._connected_s is not None else "there was no connection before the end"
        reason = self._reason or never
        if was_tried and reason and not (self.frames_sent or failed or self._stopped.is_set()):
            raise StreamError(f"{self._shown}: nothing was sent, as {reason}")

    def _start(self, info: SourceInfo) -> None:
        self._info = info
        self._is_lossy = info.live or not self._is_kept
        self._queue.set_policy(self._shown, QUEUE, drop_oldest=self._is_lossy)
        self._thread.start()

    def _run(self) -> None:
        try:
            while items := self._queue.get():
                self._pass_on(*items[0])
            self._finish()
        except Exception as error:  # noqa: BLE001 - not handled here, but raised in whoever writes next
            self._error = error
            self._queue.abandon()
        finally:
            self._transmitter.close()

    def _finish(self) -> None:
        """Take leave of the server; one that does not answer any more has all the same got what there was."""
        try:
            if self._connected is not None:
                self._transmitter.disconnect()
        except StreamError:
            if not self._is_lossy:
                raise

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            self._is_over = True
            raise error

    def _pass_on(self, result: Result, picture: Picture | None) -> None:
        """Send one picture, once there is a connection for pictures of its kind."""
        if picture is None or self._info is None:
            raise ValueError("a stream is made of pictures, got None")
        self._info = info = described_by(result.frame, self._info)
        is_as_agreed = self._connected == info and self._sound_format == _sound_format_of(info)
        if not is_as_agreed and (not self._connect(info) or self._is_lossy):
            self._left_out += 1  # Connecting took its time: the picture is old, and may have been drawn over.
            return
        if self._limit.is_late(result.frame):
            self._left_out += 1
            return
        try:
            with self._meter.stage(f"write {self._shown}"):
                self._transmitter.send(result.frame, picture)
        except StreamError as error:
            self._left_out += 1
            self._lose(error)
            return
        self.frames_sent += 1
        self._meter.age_at(self._shown).add(self._limit.age_s(result.frame))
        self._tell_if_slow()

    def _connect(self, info: SourceInfo) -> bool:
        """Connect, after as many attempts as it takes; False where the output is being closed."""
        if (was := self._connected) is not None:
            self._connected = None
            what = "the sound is another" if was == info else f"the pictures are {info.size[1]}x{info.size[0]}"
            self._say(f"{self._shown}: {what} now; the stream begins anew")
            with suppress(StreamError):
                self._transmitter.disconnect()
        told: set[str] = set() if self._reason is None else {self._reason}
        while not self._closing.wait(pause_s(self._failures, random.random()) if self._failures else 0):
            try:
                self._sound_format = _sound_format_of(info)
                note = self._transmitter.connect(info, self._sound_format)
            except StreamError as error:
                if self._is_killed:
                    return False
                self._failures += 1
                self._reason = str(error)
                if isinstance(error, RefusedError) or not self._is_lossy:
                    raise
                if self._reason not in told:
                    self._say(f"no connection yet, trying again: {error}")
                    told.add(self._reason)
            else:
                self._connected, self._reason = info, None
                self._begin(note)
                return True
        return False

    def _begin(self, note: str) -> None:
        """Note that there is a connection now, and tell."""
        now_s = time.monotonic()
        if self._lost_at_s is not None:
            self._lost_s += now_s - self._lost_at_s
            self._say(f"{self._shown}: back after {now_s - self._lost_at_s:.1f} s")
        elif self._connected_s is None:
            self._say(f"{self._shown}: connected, {note}")
        self._lost_at_s, self._connected_s = None, now_s
        self._dropped_before = self._queue.dropped(self._shown)

    def _lose(self, error: StreamError) -> None:
        """Note that the connection broke off, and tell; raise the error where that must not be."""
        if not self._is_lossy:
            raise error
        now_s = time.monotonic()
        if self._connected_s is not None and now_s - self._connected_s >= STABLE_S:
            self._failures = 0
        self._failures += 1
        self._losses += 1
        self._lost_at_s, self._connected = now_s, None
        if not self._is_killed:
            self._reason = str(error)
        if not self._closing.is_set():
            self._say(f"connection lost, trying again: {error}")

    def _tell_if_slow(self) -> None:
        if not self._is_told_slow and self._queue.dropped(self._shown) - self._dropped_before >= SLOW:
            self._is_told_slow = True
            self._say(f"{self._shown}: slower than the pictures come; the newest are sent, the others left out")


def _sound_format_of(info: SourceInfo) -> bytes | None:
    """What the sound is like that has come last; None where none has."""
    return None if info.sound is None else info.sound.format


def publish(
    output: str,
    info: Callable[[], SourceInfo],
    options: VideoOptions,
    meter: Meter,
    limit: AgeLimit,
    say: Say = silent,
    *,
    stopped: threading.Event,
    overwrite: bool,
) -> PublishSink:
    """The sink that an address or a playlist's name means; nothing is connected before the first picture.

    Raises ValueError for an address or an encoder that there is not, FileExistsError where a playlist is there.
    """
    target = target_of(output)
    if (encoder := asked_encoder(options)) is not None:
        known_encoder(encoder)
    check_free(target, overwrite=overwrite)
    return PublishSink(
        ProcessTransmitter(target, options),
        target.shown,
        info if options.sound else lambda: replace(info(), sound=None),
        meter,
        limit,
        say,
        is_kept=target.playlist is not None,
        stopped=stopped,
    )
