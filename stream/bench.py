"""How much of a run is work that no pipeline could save: bare decode, inference and encode against the whole."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import PictureType
from av.video.stream import VideoStream

from engines.backends.base import Backend
from stream.build import Models, open_models, open_session
from stream.config import Config
from stream.meter import StageTime
from stream.sinks.encoding import VideoOptions, encoder_settings

PREPARED_FRAMES = 96
"""Frames held ready for the bare encode, used again and again: 300 MB at 1080p."""


@dataclass(frozen=True, slots=True)
class Efficiency:
    """Seconds that one run took, and that its parts take alone on the same frames with the same threads."""

    frames: int
    wall_s: float
    decode_s: float
    inference_s: float
    encode_s: float
    stages: tuple[StageTime, ...]
    notes: tuple[str, ...]
    copies: str = ""
    """Between host and GPU, in words; empty where there were none."""

    @property
    def bare_s(self) -> float:
        """The parts, one after the other."""
        return self.decode_s + self.inference_s + self.encode_s

    @property
    def efficiency(self) -> float:
        """Bare time over the time of the run: 1 is a pipeline that costs nothing beside its parts."""
        return self.bare_s / self.wall_s

    @property
    def fps(self) -> float:
        """Frames a second of the run, from the first frame read to the output finished."""
        return self.frames / self.wall_s


def measure(clip: str, config: Config, *, encode: bool = True) -> Efficiency:
    """Run all of `clip` file to file in its own size, then decode, infer and encode the same frames alone.

    Without `encode` it is run to records, as where a GPU waits for the encoder more than it works.
    """
    with tempfile.TemporaryDirectory(prefix="posestream-bench-") as folder:
        output = str(Path(folder) / ("bench.mp4" if encode else "bench.jsonl"))
        config = replace(
            config,
            source=(clip,),
            output=(output,),
            show=False,
            input=replace(config.input, start_s=None, end_s=None),
            video=replace(config.video, scale=None),
        )
        people: list[int] = []
        is_detected: list[bool] = []
        with open_models(config.models) as models:
            with open_session(config, models) as session:
                begun = time.perf_counter()
                for result in session:
                    people.append(len(result.tracks.ids))
                    is_detected.append(result.tracks.detections is not None)
            wall_s = time.perf_counter() - begun
            steps = [people[at : at + session.frames_a_step] for at in range(0, len(people), session.frames_a_step)]
            # With more than one frame a step people are detected in all of them.
            inference_s = bare_inference_s(models, steps, is_detected[:: session.frames_a_step], config.pose.max_batch)
    decode_s, frames = bare_decode_s(clip)
    encode_s = bare_encode_s(frames, len(people), config.video) if encode else 0.0
    stages = tuple(session.meter.stages())
    copies = session.copies.words(len(people))
    return Efficiency(len(people), wall_s, decode_s, inference_s, encode_s, stages, session.notes, copies)


def noise(backend: Backend, rows: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """A batch of the model's input size."""
    _, channels, height, width = backend.inputs[0].shape
    shape = (rows, channels or 3, height or 1, width or 1)
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def bare_inference_s(
    models: Models, steps: Sequence[Sequence[int]], is_detected: Sequence[bool], max_batch: int
) -> float:
    """Seconds of the networks alone on the batches of a run whose steps had frames with so many people each."""
    detector, pose = models.detector.backend, models.pose.backend
    sizes = [[min(sum(step) - first, max_batch) for first in range(0, sum(step), max_batch)] for step in steps]
    pictures = {len(step): noise(detector, len(step)) for step in steps}
    crops = {size: noise(pose, size) for batches in sizes for size in batches}
    begun = time.perf_counter()
    for step, batches, has_detection in zip(steps, sizes, is_detected, strict=True):
        if has_detection:
            detector.infer(pictures[len(step)])
        for size in batches:
            pose.infer(crops[size])
    return time.perf_counter() - begun


def bare_decode_s(clip: str) -> tuple[float, list[av.VideoFrame]]:
    """Seconds to decode every frame of `clip` to yuv420p, and the first frames as they came."""
    kept: list[av.VideoFrame] = []
    begun = time.perf_counter()
    with av.open(clip) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            planar = frame if frame.format.name == "yuv420p" else frame.reformat(format="yuv420p")
            if len(kept) < PREPARED_FRAMES:
                kept.append(planar)
    return time.perf_counter() - begun, kept


def bare_encode_s(frames: Sequence[av.VideoFrame], count: int, options: VideoOptions) -> float:
    """Seconds to encode `count` prepared frames as the output is encoded."""
    with tempfile.TemporaryDirectory(prefix="posestream-bench-") as folder:
        begun = time.perf_counter()
        with av.open(str(Path(folder) / "bare.mp4"), "w") as container:
            encoder = options.encoder or "libx264"
            stream = container.add_stream(encoder, rate=30, options=encoder_settings(encoder, options))
            if not isinstance(stream, VideoStream):
                raise ValueError(f"encoder {encoder} makes no video")
            stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
            stream.bit_rate = options.bits_per_second or 0
            for index in range(count):
                frame = frames[index % len(frames)]
                frame.pts, frame.time_base = index, Fraction(1, 30)
                # The decoder left the frame's type there, which the encoder would take for an order.
                frame.pict_type = PictureType.NONE
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return time.perf_counter() - begun
