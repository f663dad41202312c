"""From a configuration to running objects; concrete classes are named here and in the other build files alone.

with open_session(Config(source=("clip.mp4",))) as session:
    for result in session:
        print(result.frame.time, result.tracks.ids, result.poses.keypoints)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

from engines.cards import Task
from engines.catalog import BETTER, FETCH, is_embedded
from engines.export import Say, silent
from engines.images import ImageBatch
from engines.opening import OpenModel
from stream.age import AgeLimit, LiveOptions, age_text
from stream.buffer import FrameBuffer
from stream.build_pipeline import build_pipeline, least_interval
from stream.build_sinks import Run, open_outputs, open_shared
from stream.config import Config, ModelOptions
from stream.delivery import Delivery, side_by_side
from stream.feed import Feed
from stream.frame import Frame
from stream.meter import Meter
from stream.models import LABELS, opened, warm_up
from stream.outputs import check_outputs, files_of
from stream.pace import DetectionPace
from stream.painter import Painter
from stream.pipeline import Pipeline
from stream.playback import Looped, RealTime
from stream.reconnect import lasts, open_lasting
from stream.session import Session
from stream.sinks.window import WindowSink
from stream.source import TEST_DEVICE, Source, SourceInfo, SourceOptions, open_source, without_credentials
from stream.streams_file import NamedSource, read_sources
from stream.turns import Turns

FILE_STEP = 4
"""Frames of a file that go through the networks together: side by side on the cores, they take a tenth less time."""
FILE_BUFFER = FILE_STEP + 2
"""Frames read ahead of a file: the next step, and some to even out its slow frames."""
LIVE_BUFFER = 1
"""Frames of a live source that may wait: none but the newest."""


@dataclass(frozen=True, slots=True)
class Models:
    """The two networks of a run, open and warm; they may serve one run after another."""

    detector: OpenModel
    pose: OpenModel

    @property
    def notes(self) -> tuple[str, str]:
        """What runs, on what, a line each."""
        detector, pose = self.detector, self.pose
        return f"detector: {detector.note}, on {detector.backend.name}", f"pose: {pose.note}, on {pose.backend.name}"

    @property
    def summary(self) -> str:
        """Which models these are, in a line, and how to get better ones where they came with the program."""
        models: dict[Task, OpenModel] = {"detect": self.detector, "pose": self.pose}
        embedded = [task for task, model in models.items() if is_embedded(model.path)]
        names = ", ".join(
            f"{model.card.name} (embedded)" if task in embedded else model.card.name for task, model in models.items()
        )
        if not embedded:
            return names
        better = " ".join(BETTER[task] for task in embedded)
        flags = " ".join(f"--{LABELS[task]} {BETTER[task]}" for task in embedded)
        return f"{names}; better: {FETCH} {better}, then {flags}"


@contextmanager
def open_models(options: ModelOptions, say: Say = silent) -> Iterator[Models]:
    """Open the detector and the pose network, and close them at the end; `say` is told what takes its time.

    What takes long, as the export of a checkpoint, is not waited for: until it is done a substitute serves.
    """
    with (
        opened(options, "detect", say=say, at_once=True) as detector,
        opened(options, "pose", say=say, at_once=True) as pose,
    ):
        for model in (detector, pose):
            warm_up(model.backend)
        yield Models(detector, pose)


@contextmanager
def open_session(config: Config, models: Models | None = None, say: Say = silent) -> Iterator[Session]:
    """Open everything that `config` names, in the order in which it is cheapest to fail; close the sinks first.

    Network streams and cameras are connected when the session runs, each by a thread of its own. Models that are open
    already stay open, for the next run. Raises ValueError, OSError, StreamError or EngineError, each in one line that
    names the remedy.
    """
    sources = read_sources(config.source)
    if not sources:
        raise ValueError("no source: give --source with a camera's number, a file, a folder or an address")
    if config.angles and not any(output.lower().endswith((".jsonl", ".csv")) for output in config.output):
        raise ValueError("angles go into records: give --output NAME.jsonl or NAME.csv too")
    check_outputs(sources, config.output, is_cut=config.recording.segment_s is not None)
    stopped, meter, several = threading.Event(), Meter(), len(sources) > 1
    limit = AgeLimit(config.live.max_age_s)
    is_watched = config.show or config.serve.address is not None
    with ExitStack() as engines, ExitStack() as stack:
        # A file or an output that cannot be should fail before the models are loaded; the test device would grow old
        # while they are. Cameras and streams are connected after.
        if models is None and any(source.url.startswith(TEST_DEVICE) for source in sources):
            models = engines.enter_context(open_models(config.models, say))
        feeds, shared = _open_feeds(config, sources, limit, say), Delivery()
        stack.push(partial(_leave, feeds, shared, say))
        run = Run(config, meter, limit, stopped, say, several, files_of(sources, config.output))
        names = [name for feed in feeds for name in open_outputs(run, feed)] + [*open_shared(run, feeds, shared)]
        screen = WindowSink(feeds, stopped, Path(config.snapshots)) if config.show else None
        if screen is not None:
            stack.callback(screen.close)
        models = models or engines.enter_context(open_models(config.models, say))
        images = ImageBatch()
        session = Session(
            feeds=feeds,
            meter=meter,
            notes=(
                *(source_note(feed, config.live, several=several) for feed in feeds if feed.is_known),
                *models.notes,
            ),
            outputs=tuple(names),
            models=models.summary,
            # Whoever watches wants each frame when it is ready.
            _most=1 if is_watched or config.detect.every != 1 else max(1, FILE_STEP // len(feeds)),
            _buffer=feeds[0].buffer,
            _pipeline=build_pipeline(config, models.detector, models.pose, images, meter, _smoothed(config, feeds)),
            _shared=shared,
            _screen=screen,
            _stopped=stopped,
            _limit=limit,
            _pace=DetectionPace(least_interval(config), config.live.slowest_detection),
            _turns=Turns(len(feeds)),
            _say=say,
            copies=images.copies,
        )
        try:
            yield session
        finally:
            if not session.is_at_end:
                stopped.set()  # Left in the middle: the outputs end here too.


def _open_feeds(config: Config, sources: Sequence[NamedSource], limit: AgeLimit, say: Say) -> tuple[Feed, ...]:
    """The feeds of a run, on one buffer."""
    several = len(sources) > 1
    opened: list[tuple[str, str, Source]] = []
    with ExitStack() as undo:
        for named in sources:
            source = _open_source(named.url, config.input, partial(_say_of, named.name, say) if several else say)
            undo.callback(source.close)
            # One source alone is called as it calls itself, but for a name that was given.
            keeps_its_own = not (several or named.is_named or lasts(named.url))
            opened.append((source.info.source_id if keeps_its_own else named.name, named.name, source))
        undo.pop_all()
    buffer: FrameBuffer[Frame] = FrameBuffer([name for name, _, _ in opened], LIVE_BUFFER, drop_oldest=True)

    def settle(feed: Feed) -> None:
        """Keep to the policy of a source that is known now."""
        is_latest = policy_of(feed.info, config.live) == "latest"
        buffer.set_policy(feed.name, LIVE_BUFFER if is_latest else FILE_BUFFER, drop_oldest=is_latest)
        if not feed.info.live:
            limit.spare(feed.name)

    def connected(feed: Feed) -> None:
        settle(feed)
        say(source_note(feed, config.live, several=several))

    feeds = tuple(
        Feed(name, source, buffer, Painter(config.style), connected, short=short, several=several)
        for name, short, source in opened
    )
    for feed in feeds:
        if feed.is_known:
            settle(feed)
    return feeds


def _open_source(url: str, options: SourceOptions, say: Say) -> Source:
    """The source of an address, a film played over and over and in real time where that is asked for."""
    source = open_lasting(url, options, say)
    is_repeatable = not (lasts(url) or source.info.still or source.info.live)
    if not is_repeatable:
        if options.loop != 1 or options.realtime:
            say(f"{without_credentials(url)}: --loop and --realtime are for video files; it is played as it comes")
        return source
    if options.loop != 1:
        source.close()
        source = Looped(partial(open_source, url, options), options.loop or None)
    return RealTime(source) if options.realtime else source


def _say_of(name: str, say: Say, line: str) -> None:
    say(f"{name}: {line}")


def _close_captures(feeds: Sequence[Feed]) -> None:
    """End all threads that read, side by side: each may have to be waited for."""
    for feed in feeds:  # before any is waited for, which may wait for a camera
        feed.interrupt()
    side_by_side(feed.capture.close for feed in feeds)


def _leave(
    feeds: Sequence[Feed],
    shared: Delivery,
    say: Say,
    _kind: type[BaseException] | None,
    error: BaseException | None,
    _trace: TracebackType | None,
) -> None:
    """Finish all outputs and end all threads that read at once, as each may hang for as long as it is allowed to.

    Raises what the first output that could not be finished raised, unless the run has failed already.
    """
    errors: list[Exception] = []
    has_failed = error is not None
    side_by_side([
        partial(_close_captures, feeds),
        lambda: errors.extend(shared.close(failed=has_failed)),
        *(partial(lambda feed: errors.extend(feed.finish(failed=has_failed)), feed) for feed in feeds),
    ])  # fmt: skip
    for fault in errors[0 if has_failed else 1 :]:
        say(f"an output could not be finished: {fault}")
    if errors and not has_failed:
        raise errors[0]


@contextmanager
def open_pipeline(config: Config, say: Say = silent) -> Iterator[tuple[Pipeline, tuple[str, str]]]:
    """The stages alone, for whoever brings frames of their own, and the notes on the models; poses are not smoothed."""
    with open_models(config.models, say) as models:
        pipeline = build_pipeline(config, models.detector, models.pose, ImageBatch(), Meter(), lambda _: False)
        yield pipeline, models.notes


def _smoothed(config: Config, feeds: Sequence[Feed]) -> Callable[[str], bool]:
    """Whether the poses of a source are smoothed, by its name; asked when its first frame is there."""
    by_name = {feed.name: feed for feed in feeds}
    if config.smooth == "auto" and not config.angles:
        return lambda source_id: by_name[source_id].is_live
    return lambda _: config.smooth != "off"


def policy_of(info: SourceInfo, live: LiveOptions) -> str:
    """What becomes of frames that come faster than they can be worked on: of files every one is kept."""
    return live.policy if info.live else "every"


def source_note(feed: Feed, live: LiveOptions, *, several: bool) -> str:
    """What is said of a source once it is known."""
    info = feed.info
    height, width = info.size
    rate = f", {float(info.rate):.4g} fps" if info.rate else ""
    frames = f", {info.frame_count} frames" if info.frame_count else ""
    name = f"source {feed.name}" if several else "source"
    return f"{name}: {info.url}, {width}x{height}{rate}{frames} ({_policy_text(info, live)})"


def _policy_text(info: SourceInfo, live: LiveOptions) -> str:
    age = None if live.max_age_s is None else age_text(live.max_age_s)
    if not info.live:
        return "every frame" + ("" if age is None else ", of whatever age: max_age_s is for live sources")
    if policy_of(info, live) == "every":
        return "live: every frame, however old it grows"
    return "live: the newest frame wins" + ("" if age is None else f", none older than {age}")
