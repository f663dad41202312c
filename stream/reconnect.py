"""A live source that lasts: it is connected again whenever its camera, its server or the network fails."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial

import av

from engines.export import Say, silent
from stream.frame import Frame
from stream.link import Connect, Link
from stream.memory import give_back_freed
from stream.source import (
    TEST_DEVICE,
    Source,
    SourceInfo,
    SourceOptions,
    StreamError,
    check_scheme,
    is_device,
    is_network,
    open_source,
    without_credentials,
)
from stream.timeline import JoinedTimeline

FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 1.0
"""Pauses between attempts double from one to the other: who comes back is seen within 1 s and the time to open it."""
LEAST_LUCK = 0.5
"""Pauses are shortened at random to this share at most, so that many clients of one server do not come all at once."""
STABLE_S = 3.0
"""A connection that gave frames for so long was a good one: the pauses begin anew."""
QUIET_S = 3.0
"""Who waits for the first connection is told so after this time, where no failure is told before."""
MARGIN_S = 2.0
"""A read that is over its own time-out by so much hangs, and is left behind."""

_REFUSALS = (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)

Failure = StreamError | OSError


def open_lasting(url: str, options: SourceOptions, say: Say = silent) -> Source:
    """Open what `url` names, as open_source does; what is live and of the network, or a camera, lasts.

    Such a source is not waited for: it is connected when its frames are read. `say` is told of every loss and every
    return, in one line each, by whichever thread finds out. Raises ValueError for an address of no known kind.
    """
    if not lasts(url):
        return open_source(url, options)
    if is_network(url):
        check_scheme(url)
    shown = without_credentials(url) if is_network(url) else f"camera {url}"
    # Start and end are moments of the joined time line, not of each connection.
    connect = partial(open_source, url, replace(options, start_s=None, end_s=None))
    return ReconnectingSource(connect, shown, options, say, open_film=partial(open_source, url, options))


def lasts(url: str) -> bool:
    """Whether an address names what may come and go: a network stream or a camera."""
    return not url.startswith(TEST_DEVICE) and (is_device(url) or is_network(url))


def pause_s(failures: int, luck: float) -> float:
    """How long to wait after so many failures in a row, from 1 on; `luck` is in [0, 1]."""
    longest_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(failures - 1, 10))
    return longest_s * (1 - luck * (1 - LEAST_LUCK))


class ReconnectingSource:
    """The frames of one connection after another, as one source; a Source.

    It is connected when its frames are read. From the first frame on `info` tells what it is, and stays as it was then,
    while frames may come in another size after a loss. Index and time go on over every loss. Opening and reading run on
    a thread of each connection's own, under a watchdog: one that hangs is left behind. What turns out to be a film,
    which ends, is read by `open_film` as a film is, once.

    `frames` raises StreamError or OSError where no attempt is left of `options.retries`, and at once where none would
    help: the password is refused, or the camera asked for was never there.
    """

    def __init__(
        self,
        connect: Connect,
        shown: str,
        options: SourceOptions,
        say: Say = silent,
        *,
        open_film: Connect | None = None,
    ) -> None:
        self._connect = connect
        self._open_film = open_film
        self._shown = shown
        self._options = options
        self._say = say
        self._stopped = threading.Event()
        self._link: Link | None = None
        self._film: Source | None = None
        self._info: SourceInfo | None = None
        self._links = 0
        self._failures = 0
        self._losses = 0
        self._lost_ns = 0
        self._hung = 0
        self._damage: str | None = None
        self._since_ns = self._last_ns = time.monotonic_ns()
        self.is_connected = False

    @property
    def info(self) -> SourceInfo:
        """What was known when the source was first connected; StreamError before."""
        if self._info is None:
            raise StreamError(f"{self._shown}: nothing is known of it before it is connected")
        return self._info

    @property
    def is_film(self) -> bool:
        """Whether it has turned out to be a film, which ends."""
        return self._film is not None

    @property
    def losses(self) -> int:
        """How often the connection was lost."""
        return self._losses

    @property
    def damage(self) -> str | None:
        """How often and how long the source was lost, and what of it could not be decoded; None for neither."""
        if self._film is not None:
            return self._film.damage
        parts = []
        if self._losses:
            times = "once" if self._losses == 1 else f"{self._losses} times"
            parts.append(f"lost {times}, for {self._lost_ns / 1e9:.1f} s in all")
        if self._hung:
            parts.append(f"reads that hung and were left behind: {self._hung}")
        if damage := (self._link and self._link.damage) or self._damage:
            parts.append(f"of one connection {damage.removeprefix(f'{self._shown}: ')}")
        return f"{self._shown}: {', '.join(parts)}" if parts else None

    def frames(self) -> Iterator[Frame]:
        """The frames, until the end asked for or `interrupt`; to be gone through once."""
        first = self._connect_first()
        if first is None:
            return
        if self.info.live or self._open_film is None:
            yield from self._joined(first, self.info)
            return
        self._leave()
        with closing(self._open_film()) as self._film:
            self._info = self._film.info
            yield from self._film.frames()

    def interrupt(self) -> None:
        """End the frames at once, whatever is waited for; any thread may ask."""
        self._stopped.set()
        if (link := self._link) is not None:
            link.interrupt()

    def close(self) -> None:
        """Close the connection; a read that hangs is left behind."""
        self.interrupt()
        if self._link is not None:
            self._link.close()

    def _joined(self, first: Frame, info: SourceInfo) -> Iterator[Frame]:
        """The frames of all connections on one time line."""
        self._timeline = JoinedTimeline(info.time_base)
        start_s, end_s = self._options.start_s or 0.0, self._options.end_s
        count = 0
        frame: Frame | None = first
        while frame is not None and not self._stopped.is_set():
            pts = self._timeline.place(frame.pts * frame.time_base, frame.captured_ns)
            moved_s = pts * info.time_base - frame.pts * frame.time_base
            sound = tuple(packet.moved(moved_s) for packet in frame.sound)
            frame = replace(
                frame, index=count, pts=pts, time_base=info.time_base, source_id=info.source_id, sound=sound
            )
            if end_s is not None and frame.time >= end_s:
                return
            if frame.time >= start_s:
                count += 1
                yield frame
            frame = self._next()

    def _connect_first(self) -> Frame | None:
        """The first frame of all; None when stopped before there is one."""
        frame = self._dial(set(), "no connection yet, trying again until there is one (Ctrl-C ends it)")
        if frame is None or self._link is None:
            return None
        if self._failures:
            self._say(f"{self._shown}: connected after {(frame.captured_ns - self._since_ns) / 1e9:.1f} s")
        self._since_ns = self._last_ns = frame.captured_ns
        self._info = self._link.info
        return frame

    def _next(self) -> Frame | None:
        """The next frame, through as many connections as it takes; None at the end."""
        if self._link is None:
            return None
        error: Failure
        try:
            frame = self._link.next(self._options.read_timeout_s + MARGIN_S)
        except TimeoutError as late:
            error = self._silence(late)
        except (StreamError, OSError) as caught:
            error = caught
        else:
            if frame is not None:
                self._last_ns = frame.captured_ns
                return frame
            if self._options.retries == 0 or self._stopped.is_set():
                return None
            error = StreamError(f"{self._shown}: the stream ended")
        return self._return(error)

    def _return(self, error: Failure) -> Frame | None:
        """The first frame after a loss; None when stopped before there is one."""
        if self._last_ns - self._since_ns >= STABLE_S * 1e9:
            self._failures = 0
        self._fail(error)
        self._losses += 1
        self._say(f"connection lost, trying again: {error}")
        lost_ns = self._last_ns
        try:
            frame = self._dial({str(error)}, "still no connection")
        finally:
            self._lost_ns += time.monotonic_ns() - lost_ns
        if frame is not None:
            self._say(f"{self._shown}: back after {(frame.captured_ns - lost_ns) / 1e9:.1f} s")
            self._since_ns = self._last_ns = frame.captured_ns
            self._timeline.begin_connection()
        return frame

    def _dial(self, told: set[str], what: str) -> Frame | None:
        """The first frame of the next connection that gives one; None when stopped. Tells each reason but those told.

        Where it is silent from the start, that is told too, once.
        """
        while not self._stopped.wait(pause_s(self._failures, random.random()) if self._failures else 0):
            self._links += 1
            self._link = Link(self._connect, f"{self._shown} {self._links}")
            if self._stopped.is_set():
                break  # by who has not seen this connection
            try:
                frame = self._first_of(self._link, told)
            except (StreamError, OSError) as caught:
                self._fail(caught)
                if str(caught) not in told:
                    self._say(f"{what}: {caught}")
                    told.add(str(caught))
            else:
                self.is_connected = frame is not None
                return frame
        return None

    def _first_of(self, link: Link, told: set[str]) -> Frame | None:
        options = self._options
        limit_s = options.open_timeout_s + options.read_timeout_s + MARGIN_S
        try:
            try:
                frame = link.next(min(QUIET_S, limit_s))
            except TimeoutError:
                if not told:
                    self._say(f"{self._shown}: no picture yet, still waiting (Ctrl-C ends it)")
                frame = link.next(max(limit_s - QUIET_S, 0))
        except TimeoutError as late:
            raise self._silence(late) from late
        if frame is None and not self._stopped.is_set():
            raise StreamError(f"{self._shown}: the stream ended before its first picture; check the address")
        return frame

    def _fail(self, error: Failure) -> None:
        """Leave the connection that failed; raise the error where no further attempt is left, or would help."""
        self._leave()
        self._failures += 1
        retries = self._options.retries
        if isinstance(error.__cause__, _REFUSALS) or (isinstance(error, FileNotFoundError) and self._info is None):
            raise error
        if retries is not None and self._failures > retries:
            if retries == 0:
                raise error
            raise StreamError(f"{error}; given up, as --retries {retries} allows no more") from error

    def _leave(self) -> None:
        """Close the connection; one that hangs is left behind and counted."""
        self.is_connected = False
        if self._link is not None:
            self._damage = self._link.damage or self._damage
            self._hung += not self._link.close()
            self._link = None
            give_back_freed()

    def _silence(self, late: TimeoutError) -> StreamError:
        return StreamError(f"{self._shown}: {late}, and reading did not end by itself; check camera and network")
