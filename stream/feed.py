"""One source of a run with all that belongs to it: its thread, its outputs, its figures."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import StrEnum
from types import TracebackType

from stream.age import Drops
from stream.buffer import FrameBuffer
from stream.capture import Capture
from stream.frame import Frame
from stream.meter import SourceMeter
from stream.painter import Painter
from stream.pipeline import Result
from stream.playback import Looped, RealTime
from stream.reconnect import ReconnectingSource
from stream.sinks.base import Picture, Sink
from stream.source import Source, SourceInfo


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
    `people_seen` sums the people of all frames.
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
    """One source of a run; a Source itself, whose frames bear its `name`, unless they are still pictures.

    `painter` draws its pictures, `sinks` are the outputs that belong to it alone, and `outputs` closes them: leaving
    the feed's context does, if `end` has not before. `connected` is told of a source that connects, by the thread that
    reads, when there is a first frame, before that frame is handed on. The session reads it through `capture`, counts
    by `meter` and the two `late_…`, and says by `end` that it is over.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        buffer: FrameBuffer[Frame],
        painter: Painter,
        connected: Callable[[Feed], None],
    ) -> None:
        self.name = name
        self.painter = painter
        self.sinks: Sequence[Sink] = ()
        self.outputs = ExitStack()
        self.meter = SourceMeter()
        self.late_before_detection = 0
        self.late_before_output = 0
        self.error: BaseException | None = None
        self.capture = Capture(self, buffer, name)
        self._source = source
        self.buffer = buffer
        self._connected = connected
        self._has_frames = False
        self._is_ended = False
        self._finishing: threading.Thread | None = None
        self._finish_error: BaseException | None = None

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
        if self._is_ended:
            return State.ENDED if self.error is None else State.FAILED
        if not isinstance(self._source, ReconnectingSource) or self._source.is_connected or self._source.is_film:
            return State.PLAYING
        return State.LOST if self._has_frames else State.CONNECTING

    def snapshot(self) -> FeedState:
        """All that may be told; any thread may ask."""
        meter, is_known = self.meter, self.is_known
        p50, p95, p99 = (meter.age.percentile_s(percent) for percent in (50, 95, 99))
        return FeedState(
            name=self.name,
            state=self.state,
            live=self.is_live,
            size=self._source.info.size if is_known else None,
            frames=meter.frames,
            fps=meter.fps_now(time.monotonic_ns()),
            age_s=meter.age.latest_s,
            ages_s=(p50, p95, p99),
            people=meter.people_now,
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
            is_other = frame.source_id != self.name and not frame.still
            yield replace(frame, source_id=self.name, sound=()) if is_other or frame.sound else frame

    def _take_sound(self, frame: Frame) -> None:
        """Hand the sound to the outputs by a way of its own: frames may be dropped."""
        if frame.sound and (track := self._source.info.sound) is not None:
            track.put(frame.sound)

    def interrupt(self) -> None:
        """Wake a thread that waits for the source; any thread may ask."""
        if isinstance(self._source, ReconnectingSource | RealTime | Looped):
            self._source.interrupt()

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    @property
    def needs_picture(self) -> bool:
        """Whether an output of its own wants its results drawn."""
        return any(sink.needs_picture for sink in self.sinks)

    def write(self, result: Result, picture: Picture | None) -> None:
        """Hand a result to the outputs of its own."""
        for sink in self.sinks:
            sink.write(result, picture if sink.needs_picture else None)
        self.meter.saw(result)

    def end(self, error: BaseException | None) -> None:
        """The source is over; its outputs are finished on the side, so that the other sources need not wait."""
        self._is_ended, self.error = True, error
        self._finishing = threading.Thread(target=self._finish, args=(error,), name=f"finish {self.name}")
        self._finishing.start()

    def __enter__(self) -> Feed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the outputs, as the run left them, or wait until they are; raises what they raise."""
        if self._finishing is None:
            self.outputs.__exit__(kind, error, trace)
            return
        self._finishing.join()
        if self._finish_error is not None and error is None:
            raise self._finish_error

    def _finish(self, error: BaseException | None) -> None:
        try:
            with self.outputs:
                if error is not None:
                    raise error
        except Exception as caught:  # noqa: BLE001 - not handled here, but raised in whoever waits for the end
            if caught is not error:
                self._finish_error = caught
