"""From a configuration to running objects: the only file that names concrete classes.

with open_session(Config(source=("clip.mp4",))) as session:
    for result in session:
        print(result.frame.time, result.tracks.ids, result.poses.keypoints)
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType

import numpy as np

from engines.backends.base import Backend
from engines.export import Say, silent
from engines.hrnet import PoseEstimator
from engines.opening import OpenModel
from engines.yolo import DetectorOptions, PersonDetector
from stream.age import AgeLimit, age_text
from stream.buffer import FrameBuffer
from stream.capture import Capture
from stream.config import Config, ModelOptions
from stream.frame import Frame
from stream.meter import Meter
from stream.models import opened
from stream.outputs import check_outputs, is_folder
from stream.pace import DetectionPace
from stream.pipeline import Pipeline
from stream.reconnect import ReconnectingSource, open_lasting
from stream.session import Painter, Session
from stream.sinks.base import Sink
from stream.sinks.pictures import PictureSink
from stream.sinks.records import record_sink
from stream.sinks.segments import Segments
from stream.sinks.video import VideoSink
from stream.sinks.window import WindowSink
from stream.sinks.writer import Writer
from stream.smooth import OneEuroSmoother
from stream.source import SourceInfo, is_device, is_network, without_credentials
from tracker.tracker import PersonTracker, TrackerOptions

WARM_UP_ROWS = 8
"""As many as a backend runs side by side at most."""
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


@contextmanager
def open_models(options: ModelOptions, say: Say = silent) -> Iterator[Models]:
    """Open the detector and the pose network, and close them at the end; `say` is told what takes its time."""
    with opened(options, "detect", say=say) as detector, opened(options, "pose", say=say) as pose:
        for model in (detector, pose):
            warm_up(model.backend)
        yield Models(detector, pose)


@contextmanager
def open_session(config: Config, models: Models | None = None, say: Say = silent) -> Iterator[Session]:
    """Open everything that `config` names, in the order in which it is cheapest to fail; close the sinks first.

    Models that are open already stay open, for the next run. Raises ValueError, OSError, StreamError or EngineError,
    each in one line that names the remedy.
    """
    if not config.source:
        raise ValueError("no source: give --source with a camera's number, a file, a folder or an address")
    if len(config.source) > 1:
        names = ", ".join(without_credentials(source) for source in config.source)
        raise ValueError(f"one source at a time, got {len(config.source)}: {names}")
    check_outputs(config.source, config.output)
    stopped = threading.Event()
    meter = Meter()
    url = config.source[0]
    with ExitStack() as engines, ExitStack() as stack:
        # A file or an output that cannot be should fail before the models are loaded; what is live would grow old
        # while they are.
        if models is None and (is_device(url) or is_network(url)):
            models = engines.enter_context(open_models(config.models, say))
        source = open_lasting(url, config.input, say)
        info = source.info
        limit = AgeLimit(config.live.max_age_s if info.live else None)
        capacity = LIVE_BUFFER if info.live else FILE_BUFFER
        buffer: FrameBuffer[Frame] = FrameBuffer([info.source_id], capacity, drop_oldest=info.live)
        capture = stack.enter_context(Capture(source, buffer, info.source_id))
        if isinstance(source, ReconnectingSource):
            stack.callback(source.interrupt)  # before the capture is waited for, which may wait for a camera
        sinks = _open_sinks(config, info, meter, limit, stopped, say, stack)
        models = models or engines.enter_context(open_models(config.models, say))
        session = Session(
            infos=(info,),
            meter=meter,
            notes=(
                f"source: {_describe(info, config.live.max_age_s)}",
                f"detector: {models.detector.note}, on {models.detector.backend.name}",
                f"pose: {models.pose.note}, on {models.pose.backend.name}",
            ),
            # Whoever watches wants each frame when it is ready.
            frames_a_step=1 if info.live or config.show or config.detect.every > 1 else FILE_STEP,
            _sources=(source,),
            _captures=(capture,),
            _buffer=buffer,
            _pipeline=_pipeline(config, info, models, meter),
            _sinks=tuple(sinks),
            _painter=Painter(config.style),
            _stopped=stopped,
            _limit=limit,
            _pace=DetectionPace(config.detect.every, config.live.slowest_detection),
            _say=say,
        )
        try:
            yield session
        finally:
            if not session.is_at_end:
                stopped.set()  # Left in the middle: the outputs end here too.


def warm_up(backend: Backend) -> None:
    """Run a network alone and on `WARM_UP_ROWS`: whatever runs first takes its memory, and longer than ever after."""
    _, *size = backend.inputs[0].shape
    for rows in (1, WARM_UP_ROWS):
        backend.infer(np.zeros([rows, *(side or 1 for side in size)], np.float32))


def _pipeline(config: Config, info: SourceInfo, models: Models, meter: Meter) -> Pipeline:
    detector, pose, detect = models.detector, models.pose, config.detect
    tracking = tracker_options(config)
    smooth = info.live if config.smooth == "auto" else config.smooth == "on"
    return Pipeline(
        # The tracker rescues people by scores far under those that make one.
        PersonDetector(detector.backend, detector.card, DetectorOptions(tracking.low_score, detect.iou)),
        PoseEstimator(pose.backend, pose.card, config.pose),
        lambda: PersonTracker(tracking),
        lambda: OneEuroSmoother(config.smoothing) if smooth else None,
        meter,
        detect_every=detect.every,
        max_people=detect.max_people,
        confidence=detect.confidence,
    )


def tracker_options(config: Config) -> TrackerOptions:
    """The tracker's options with its scores scaled to the confidence that was asked for."""
    options, confidence = config.tracker, config.detect.confidence
    return replace(
        options,
        low_score=min(options.low_score, confidence),
        high_score=confidence,
        new_score=min(options.new_score * confidence / options.high_score, (1 + confidence) / 2),
    )


def _open_sinks(
    config: Config,
    info: SourceInfo,
    meter: Meter,
    limit: AgeLimit,
    stopped: threading.Event,
    say: Say,
    stack: ExitStack,
) -> Sequence[Sink]:
    sinks: list[Sink] = []
    for output in config.output:
        sink: Sink = Writer(_open_output(output, config, info, stopped, say), output, meter, limit)
        stack.push(partial(_close_sink, sink))
        sinks.append(sink)
    if config.show:
        window = WindowSink(info, stopped, Path(config.snapshots))
        stack.push(partial(_close_sink, window))
        sinks.append(window)
    return sinks


def _close_sink(
    sink: Sink, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
) -> None:
    """Finish an output as the run left it."""
    sink.close(failed=error is not None)


def _open_output(output: str, config: Config, info: SourceInfo, stopped: threading.Event, say: Say) -> Sink:
    """The sink that an output's name means: a folder of pictures, a file of records, or a video."""
    path = Path(output)
    if is_folder(output):
        return PictureSink(path, overwrite=config.overwrite)
    if info.still and path.name.lower().endswith(".mot.txt"):
        raise ValueError(f"{output}: MOT records need identities, and still pictures have none; write .jsonl or .csv")
    records = record_sink(path, overwrite=config.overwrite)
    if records is not None:
        return records
    if info.still:
        raise ValueError(f"{output}: pictures have no time to make a video of; name a folder, as {path.stem}/")

    def open_film(path: Path, info: SourceInfo, origin_s: float) -> VideoSink:
        return VideoSink(
            path,
            info,
            config.video,
            origin_s=origin_s,
            ends_early=config.input.end_s is not None,
            stopped=stopped,
            overwrite=config.overwrite,
        )

    origin_s = config.input.start_s or 0.0
    if info.live:
        return Segments(path, info, open_film, say, origin_s=origin_s, overwrite=config.overwrite)
    return open_film(path, info, origin_s)


def _describe(info: SourceInfo, max_age_s: float | None) -> str:
    height, width = info.size
    rate = f", {float(info.rate):.4g} fps" if info.rate else ""
    frames = f", {info.frame_count} frames" if info.frame_count else ""
    return f"{info.url}, {width}x{height}{rate}{frames} ({_policy(info, max_age_s)})"


def _policy(info: SourceInfo, max_age_s: float | None) -> str:
    """What becomes of the frames where they come faster than they can be worked on."""
    if info.live:
        return "live: the newest frame wins" + ("" if max_age_s is None else f", none older than {age_text(max_age_s)}")
    return "every frame" + ("" if max_age_s is None else ", of whatever age: max_age_s is for live sources")
