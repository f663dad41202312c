"""From a configuration and open models to the stages of a run, and their trackers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from engines.hrnet import PoseEstimator
from engines.images import ImageBatch
from engines.opening import OpenModel
from engines.yolo import DetectorOptions, PersonDetector
from stream.config import Config
from stream.meter import Meter
from stream.pipeline import Pipeline
from stream.smooth import OneEuroSmoother
from tracker.colors import Body
from tracker.options import TrackerOptions
from tracker.tracker import PersonTracker


def build_pipeline(
    config: Config,
    detector: OpenModel,
    pose: OpenModel,
    images: ImageBatch,
    meter: Meter,
    is_smooth: Callable[[str], bool],
) -> Pipeline:
    """The stages, on models that stay the caller's; `is_smooth` is asked by source_id when its first frame is there."""
    detect, tracking = config.detect, tracker_options(config)
    estimator = PoseEstimator(pose.backend, pose.card, config.pose, images)
    body = Body(*(estimator.skeleton.names.index(joint) for joint in Body._fields))
    return Pipeline(
        # The tracker rescues people by scores far under those that make one.
        PersonDetector(detector.backend, detector.card, DetectorOptions(tracking.low_score, detect.iou), images),
        estimator,
        lambda: PersonTracker(tracking, body),
        lambda source_id: OneEuroSmoother(config.smoothing) if is_smooth(source_id) else None,
        meter,
        detect_every=least_interval(config),
        detects_at_need=detect.every == "auto",
        max_people=detect.max_people,
        confidence=detect.confidence,
    )


def least_interval(config: Config) -> int:
    """Of how many frames one is detected where it is detected most often."""
    every = config.detect.every
    return 1 if every == "auto" else every


def box_tracker(config: Config) -> PersonTracker:
    """A tracker for boxes alone, as of a file, with the options of a run."""
    return PersonTracker(tracker_options(config))


def tracker_options(config: Config) -> TrackerOptions:
    """The tracker's options with its scores scaled to the confidence that was asked for."""
    options, confidence = config.tracker, config.detect.confidence
    return replace(
        options,
        low_score=min(options.low_score, confidence),
        high_score=confidence,
        new_score=min(options.new_score * confidence / options.high_score, (1 + confidence) / 2),
    )
