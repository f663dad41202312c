"""One source of a run with all that belongs to it: its thread, its outputs, its figures."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from stream.age import Drops
from stream.buffer import FrameBuffer
from stream.capture import Capture
from stream.delivery import Delivery
from stream.frame import Frame
from stream.meter import SourceMeter
from stream.painter import Painter
from stream.pipeline import Result
from stream.reconnect import ReconnectingSource
from stream.sinks.base import Picture
from stream.source import Interruptible, Source, SourceInfo


class State(StrEnum):
    """How it stands with a source."""

    CONNECTING = "connecting"
    PLAYING = "playing"
    LOST = "lost"
    ENDED = "ended"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class FeedState:
    """What may be told of a source at one moment: no credential and no path of the disk.

    `size` (height, width) is None and `live` unknown, taken as True, before the first frame. `age_s` is that of the
    last frame when it was handed to the outputs, `ages_s` p50, p95 and p99 of all; `fps` and `people` are those of now,
    0 unless it plays, `people_seen` sums the people of all frames.
    """

    name: str
    state: State
    live: bool
    size: tuple[int, int] | None
    frames: int
    fps: float
    age_s: float
    ages_s: tuple[float, float, float]
    people: int
    people_seen: int
    identities: int
    drops: Drops
    reconnects: int


class Feed:
    """One source of a run; a Source itself, whose frames bear its `name`.

    `painter` draws its pictures, and `outputs` are those that belong to it alone; `{source}` in their names stands for
    `short`. `connected` is told of a source that connects, by the thread that reads, when there is a first frame,
    before that frame is handed on. The session reads it through `capture`, counts by `meter` and the two `late_…`, and
    says by `end` that it is over. Still pictures keep their names, `several` sources apart as NAME/PICTURE.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        buffer: FrameBuffer[Frame],
        painter: Painter,
        connected: Callable[[Feed], None],
        *,
        short: str | None = None,
        several: bool = False,
    ) -> None:
        self.name = name
        self.short = short or name
        self.painter = painter
        self.outputs = Delivery()
        self.meter = SourceMeter()
        self.late_before_detection = 0
        self.late_before_output = 0
        self.error: BaseException | None = None
        self.capture = Capture(self, buffer, name)
        self.is_over = False
        self._source = source
        self.buffer = buffer
        self._connected = connected
        self._several = several
        self._has_frames = False
        self._finishing: threading.Thread | None = None
        self._unfinished: list[Exception] = []

    @property
    def info(self) -> SourceInfo:
        """What is known of the source, under its name; StreamError before the first frame of one that connects."""
        return replace(self._source.info, source_id=self.name)

    @property
    def is_known(self) -> bool:
        """Whether `info` may be asked for."""
        return self._has_frames or not isinstance(self._source, ReconnectingSource)

    @property
    def is_live(self) -> bool:
        """Whether the source is live, as far as is known."""
        return not self.is_known or self._source.info.live

    @property
    def damage(self) -> str | None:
        """What could not be read, in one line; None where all was."""
        return self._source.damage

    @property
    def drops(self) -> Drops:
        """The frames that were not shown."""
        return Drops(self.buffer.dropped(self.name), self.late_before_detection, self.late_before_output)

    @property
    def reconnects(self) -> int:
        """How often the source was lost."""
        return self._source.losses if isinstance(self._source, ReconnectingSource) else 0

    @property
    def state(self) -> State:
        """How it stands with the source."""
        if self.is_over:
            return State.ENDED if self.error is None else State.FAILED
        if not isinstance(self._source, ReconnectingSource) or self._source.is_connected or self._source.is_film:
            return State.PLAYING
        return State.LOST if self._has_frames else State.CONNECTING

    def snapshot(self) -> FeedState:
        """All that may be told; any thread may ask."""
        meter, is_known, state = self.meter, self.is_known, self.state
        p50, p95, p99 = (meter.age.percentile_s(percent) for percent in (50, 95, 99))
        return FeedState(
            name=self.name,
            state=state,
            live=self.is_live,
            size=self._source.info.size if is_known else None,
            frames=meter.frames,
            fps=meter.fps_now(time.monotonic_ns()),
            age_s=meter.age.latest_s,
            ages_s=(p50, p95, p99),
            people=meter.people_now if state is State.PLAYING else 0,
            people_seen=meter.people,
            identities=meter.identities,
            drops=self.drops,
            reconnects=self.reconnects,
        )

    def frames(self) -> Iterator[Frame]:
        """The frames under the feed's name; to be gone through once."""
        for frame in self._source.frames():
            self._take_sound(frame)
            if not self.is_known:
                self._has_frames = True
                self._connected(self)
            source_id = self._id_of(frame)
            is_other = frame.source_id != source_id or frame.sound
            yield replace(frame, source_id=source_id, sound=()) if is_other else frame

    def _id_of(self, frame: Frame) -> str:
        """What a frame is called."""
        if not frame.still:
            return self.name
        return f"{self.name}/{frame.source_id}" if self._several else frame.source_id

    def _take_sound(self, frame: Frame) -> None:
        """Hand the sound to the outputs by a way of its own: frames may be dropped."""
        if frame.sound and (track := self._source.info.sound) is not None:
            track.put(frame.sound)

    def interrupt(self) -> None:
        """Wake a thread that waits for the source; any thread may ask."""
        if isinstance(self._source, Interruptible):
            self._source.interrupt()

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def write(self, result: Result, picture: Picture | None) -> list[Exception]:
        """Hand a result to the outputs of its own; the errors of those that end by it."""
        errors = self.outputs.write(result, picture)
        self.meter.saw(result)
        return errors

    def end(self, error: BaseException | None, unfinished: Callable[[Exception], None] | None = None) -> None:
        """The source is over; its outputs are finished on the side, so that the other sources need not wait.

        Where one cannot be, `unfinished` is told at once; without it, whoever calls `finish` is.
        """
        self.is_over, self.error = True, error

        def finish() -> None:
            errors = self.outputs.close(failed=error is not None)
            if unfinished is None:
                self._unfinished = errors
                return
            self.outputs.failures += errors
            for fault in errors:
                unfinished(fault)

        self._finishing = threading.Thread(target=finish, name=f"finish {self.name}")
        self._finishing.start()

    def finish(self, *, failed: bool = False) -> list[Exception]:
        """Finish the outputs, as the run left them, or wait until they are; the errors of those that could not be."""
        if self._finishing is None:
            return self.outputs.close(failed=failed)
        self._finishing.join()
        errors, self._unfinished = self._unfinished, []
        return errors
