"""Sources at their own speed and over again: a file as if it were a camera, and streams that come in bursts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction

from stream.frame import Frame
from stream.source import Source, SourceInfo

Open = Callable[[], Source]

LONGEST_GAP_S = 10.0
"""Frames that are further apart by their time than this follow on each other at once: the time line has jumped."""


class RealTime:
    """A source at its own speed: each frame is given out when it is due, and counts as arrived then; a Source, live.

    The first is due when it is asked for. A frame that comes late, as its source is slow, is given out at once and
    arrived when it was due; where it is later than `catch_up_s`, time goes on from it, as it does from one that is
    `LONGEST_GAP_S` ahead. `clock` is the monotonic time in nanoseconds, `wait` lets some seconds pass and says whether
    it was interrupted.
    """

    def __init__(
        self, source: Source, *, catch_up_s: float = 1.0, clock: Callable[[], int] = time.monotonic_ns,
        wait: Callable[[float], bool] | None = None,
    ) -> None:  # fmt: skip
        self._source = source
        self._catch_up_ns = round(catch_up_s * 1e9)
        self._clock = clock
        self._stopped = threading.Event()
        self._wait = wait or self._stopped.wait

    @property
    def info(self) -> SourceInfo:
        """That of the source, which is live now: no end is known of it, and its sound is not read."""
        return replace(self._source.info, live=True, frame_count=None, sound_url=None)

    @property
    def damage(self) -> str | None:
        """What could not be read, in one line; None where all was."""
        return self._source.damage

    def frames(self) -> Iterator[Frame]:
        """The frames, each when it is due; to be gone through once."""
        start_ns: int | None = None  # when the time line began
        for frame in self._source.frames():
            time_ns = round(frame.pts * frame.time_base * 10**9)
            now_ns = self._clock()
            late_ns = 0 if start_ns is None else now_ns - (start_ns + time_ns)
            if start_ns is None or not -LONGEST_GAP_S * 1e9 <= late_ns <= self._catch_up_ns:
                start_ns = now_ns - time_ns
            due_ns = start_ns + time_ns
            if due_ns > now_ns and self._wait((due_ns - now_ns) / 1e9):
                return
            yield replace(frame, captured_ns=due_ns)

    def interrupt(self) -> None:
        """End the frames at once; any thread may ask."""
        self._stopped.set()

    def close(self) -> None:
        """Close the source."""
        self.interrupt()
        self._source.close()


class Looped:
    """A source that begins again at its end, `times` in all, None for ever; a Source.

    It is opened anew each time. Index and time go on: the first frame comes an interval after the last one, wherever in
    the source it stands.
    """

    def __init__(self, open_again: Open, times: int | None = None) -> None:
        if times is not None and times < 1:
            raise ValueError(f"a source is played once or more often, got {times}; leave it out to play it for ever")
        self._open = open_again
        self._times = times
        self._source = open_again()
        self._first_info = self._source.info
        self._is_closed = False
        self._damage: str | None = None

    @property
    def info(self) -> SourceInfo:
        """That of the first time; frames are counted over all. The sound ends with the first time and is not read."""
        once = self._first_info
        count = None if self._times is None or once.frame_count is None else once.frame_count * self._times
        return replace(once, frame_count=count, sound_url=once.sound_url if self._times == 1 else None)

    @property
    def damage(self) -> str | None:
        """What could not be read the last time anything could not be, in one line; None where all was."""
        return self._source.damage or self._damage

    def frames(self) -> Iterator[Frame]:
        """The frames, over and over; to be gone through once."""
        base = self._first_info.time_base
        index = begin_pts = played = 0
        while not self._is_closed:
            last_pts, step = begin_pts, 0
            from_s = None if played else Fraction(0)
            for frame in self._source.frames():
                at_s = frame.pts * frame.time_base
                from_s = at_s if from_s is None else from_s
                pts = begin_pts + round((at_s - from_s) / base)
                step, last_pts = (pts - last_pts) or step, pts
                yield replace(frame, index=index, pts=pts, time_base=base)
                index += 1
            played += 1
            if self._is_closed or played == self._times:
                return
            begin_pts = last_pts + (step or self._interval())
            self._reopen()

    def interrupt(self) -> None:
        """Let the frames end after the next one; any thread may ask."""
        self._is_closed = True

    def close(self) -> None:
        """Close the source; not while another thread goes through the frames."""
        self._is_closed = True
        self._source.close()

    def _reopen(self) -> None:
        self._damage = self._source.damage or self._damage
        self._source.close()
        self._source = self._open()

    def _interval(self) -> int:
        """How long a source of one frame lasts, in ticks: by its rate, else a second."""
        info = self._first_info
        return max(1, round(1 / (info.rate or Fraction(1)) / info.time_base))
