"""From the names of outputs to sinks: those that belong to one source each, and those that take all."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from engines.export import Say
from stream.age import AgeLimit
from stream.config import Config
from stream.delivery import Delivery
from stream.feed import Feed
from stream.frame import Frame
from stream.meter import Meter
from stream.outputs import is_folder, is_records, is_shared, place_of
from stream.sinks.base import Sink
from stream.sinks.encoding import find_encoder
from stream.sinks.later import LaterSink
from stream.sinks.partfile import PartFile, added
from stream.sinks.pictures import PictureSink
from stream.sinks.publish import PublishSink, publish
from stream.sinks.record_formats import UtcOf
from stream.sinks.records import RecordSink, record_sink
from stream.sinks.segments import Film, Segments
from stream.sinks.target import is_stream
from stream.sinks.utc import UtcClock, utc_stamp
from stream.sinks.video import VideoSink
from stream.sinks.web import open_web
from stream.sinks.writer import Writer
from stream.source import SourceInfo, without_credentials


@dataclass(frozen=True, slots=True)
class Run:
    """What the outputs of one run share."""

    config: Config
    meter: Meter
    limit: AgeLimit
    stopped: threading.Event
    say: Say
    several: bool
    """Whether there is more than one source."""
    files: frozenset[str] = frozenset()
    """Full paths that the run reads or writes."""
    utc: UtcClock = field(default_factory=UtcClock)

    def utc_of(self, feeds: Sequence[Feed]) -> UtcOf | None:
        """Tells for records when the frames of live sources arrived; None where none of the sources is live."""
        by_name = {feed.name: feed for feed in feeds}
        if not any(feed.is_live for feed in feeds):
            return None

        def utc_ns(frame: Frame) -> int | None:
            is_live = not frame.still and by_name[frame.source_id].is_live
            return self.utc.utc_ns(frame.captured_ns) if is_live else None

        return utc_ns

    def records(self, path: Path, feeds: Sequence[Feed]) -> RecordSink | None:
        """The sink of records that a file's name means, None where it means none."""
        config = self.config
        least = config.smoothing.min_score if config.angles else None
        return record_sink(path, overwrite=config.overwrite, utc_of=self.utc_of(feeds), least_angle_score=least)


def open_outputs(run: Run, feed: Feed) -> tuple[str, ...]:
    """Open the outputs that belong to one source alone, which finishes them; their names, without credentials."""
    names = []
    for output in run.config.output:
        if is_shared(output, several=run.several):
            continue
        place = place_of(output, feed.short)
        feed.outputs.add(open_stream(run, feed, place) if is_stream(place) else open_writer(run, feed, place))
        names.append(shown_place(run, place))
    return tuple(names)


def open_shared(run: Run, feeds: Sequence[Feed], shared: Delivery) -> tuple[str, ...]:
    """Open what takes the results of all sources, which `shared` finishes: outputs, named here, and the page."""
    names = []
    for output in run.config.output:
        if is_shared(output, several=run.several):
            records = run.records(Path(output), feeds)
            if records is not None:
                shared.add(Writer(records, output, run.meter, run.limit))
                names.append(output)
    if run.config.serve.address is not None:
        page = open_web(
            tuple(feed.name for feed in feeds),
            lambda: tuple(feed.snapshot() for feed in feeds),
            run.config.serve,
            run.config.style,
            run.say,
            run.utc_of(feeds),
        )
        shared.add(page)
    return tuple(names)


def open_stream(run: Run, feed: Feed, place: str) -> PublishSink:
    """A stream of one source, on a thread of its own, that is connected when there is a first picture."""
    if feed.is_known and feed.info.still:
        raise ValueError(f"{without_credentials(place)}: pictures have no time to make a stream of; name a folder/")
    config = run.config
    return publish(
        place,
        lambda: feed.info,
        config.video,
        run.meter,
        run.limit,
        run.say,
        stopped=run.stopped,
        overwrite=config.overwrite,
    )


def open_writer(run: Run, feed: Feed, place: str) -> Writer:
    """The thread of one output of one source, around a sink that is opened when the source is there.

    What cannot be, whatever the source will be like, is refused now: ValueError, FileExistsError or StreamError.
    """
    shown = shown_place(run, place)
    open_it = partial(open_output, run, place, feed)
    sink = open_it() if feed.is_known else LaterSink(open_it, needs_picture=check_output(run, place))
    return Writer(sink, shown, run.meter, run.limit)


def shown_place(run: Run, place: str) -> str:
    """What an output is called where it is told of: without credentials, NAME-*.EXT where there are several files."""
    is_cut = run.config.recording.segment_s is not None and not (is_stream(place) or is_folder(place))
    return str(added(Path(place), "-*")) if is_cut else without_credentials(place)


def check_output(run: Run, place: str) -> bool:
    """Refuse an output that cannot be, without leaving anything there; whether it is made of pictures."""
    path = Path(place)
    if is_folder(place):
        PictureSink(path, overwrite=run.config.overwrite)
        return True
    if run.config.recording.segment_s is not None:
        path = added(path, f"-{utc_stamp(run.utc.now_ns())}")
    records = record_sink(path, overwrite=run.config.overwrite)
    if records is not None:
        records.close()
        return False
    find_encoder(path, run.config.video)
    PartFile(path, overwrite=run.config.overwrite).discard()
    return True


def open_output(run: Run, place: str, feed: Feed) -> Sink:
    """The sink that an output's name means: a folder of pictures, a file of records, or a video."""
    path, config, info = Path(place), run.config, feed.info
    if is_folder(place):
        return PictureSink(path, overwrite=config.overwrite)
    if info.still and path.name.lower().endswith(".mot.txt"):
        raise ValueError(f"{place}: MOT records need identities, and still pictures have none; write .jsonl or .csv")
    if info.still and not is_records(place):
        raise ValueError(f"{place}: pictures have no time to make a video of; name a folder, as {path.stem}/")

    def open_film(path: Path, info: SourceInfo, origin_s: float) -> Film:
        return run.records(path, [feed]) or VideoSink(
            path,
            info,
            config.video,
            origin_s=origin_s,
            ends_early=config.input.end_s is not None,
            stopped=run.stopped,
            overwrite=config.overwrite,
        )

    origin_s = config.input.start_s or 0.0
    is_cut = config.recording.segment_s is not None and not info.still
    if is_cut or (info.live and not is_records(place)):
        return Segments(
            path, info, open_film, run.say,
            origin_s=origin_s, overwrite=config.overwrite, recording=config.recording, utc=run.utc,
            others=run.files,
        )  # fmt: skip
    return open_film(path, info, origin_s)
