"""What smoothing costs and gives on a clip: how far poses lag behind, and how much of their jitter is gone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.signal import savgol_filter

from stream.pipeline import Result
from stream.smooth import OneEuroSmoother, SmoothOptions

Floats = NDArray[np.float64]

STEADY_S = 0.3
"""The window of the reference, a local parabola over past and future: it lags not at all, and swings stay."""
PACES = (0.05, 0.25, 1.0)
"""Heights a second that divide rest, slow, usual and fast motion."""
MIN_SPEEDS = 50
"""Joints in frames without which a lag is not told."""


@dataclass(frozen=True, slots=True)
class Price:
    """What one setting does to the poses of a clip, beside the reference.

    `lag_ms` of all that moves, then `lags_ms` of slow, usual and fast motion, NaN where there was too little of it.
    `jitter` is how much the error changes from frame to frame, `error` how great it is, root mean squares in percent of
    the person's height; both also of the poses as they were estimated.
    """

    options: SmoothOptions
    lag_ms: float
    lags_ms: tuple[float, ...]
    jitter: float
    raw_jitter: float
    error: float
    raw_error: float

    @property
    def reduction(self) -> float:
        """The share of the jitter that is gone."""
        return 1 - self.jitter / self.raw_jitter


@dataclass(frozen=True, slots=True)
class Joint:
    """Joint number `joint` of one person over N frames without a gap: row `people[i]` of result `frames[i]`.

    `reference` (N, 2) is where it was, `speed` (N, 2) pixels a second, `height` of the person in pixels.
    """

    frames: tuple[int, ...]
    people: tuple[int, ...]
    joint: int
    reference: Floats
    speed: Floats
    height: float


def without_pictures(results: Iterable[Result]) -> list[Result]:
    """The results of a clip, but for their pictures, of which a clip has too many to be kept."""
    return [
        replace(result, frame=replace(result.frame, image=result.frame.image[:1, :1].copy(), planes=None))
        for result in results
    ]


def references(results: Sequence[Result], min_score: float) -> list[Joint]:
    """All joints that were trusted for some time on end, with where they really were as far as that can be known."""
    times = np.array([result.frame.time for result in results])
    step_s = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    window = max(5, round(STEADY_S / step_s) | 1)
    joints = []
    for (_, joint), places in _places(results, min_score).items():
        frames = np.array([frame for frame, _ in places])
        people = np.array([person for _, person in places])
        breaks = np.flatnonzero((np.diff(frames) > 1) | (np.diff(times[frames]) > 1.5 * step_s)) + 1
        for run, who in zip(np.split(frames, breaks), np.split(people, breaks), strict=True):
            if len(run) <= 2 * window:
                continue
            raw = np.array([results[f].poses.keypoints[p, joint] for f, p in zip(run, who, strict=True)], np.float64)
            heights = [np.ptp(results[f].poses.keypoints[p], axis=0).max() for f, p in zip(run, who, strict=True)]
            reference = savgol_filter(raw, window, 2, axis=0)
            speed = savgol_filter(raw, window, 2, deriv=1, delta=step_s, axis=0)
            joints.append(Joint(tuple(run), tuple(who), joint, reference, speed, float(np.median(heights))))
    if not joints:
        raise ValueError(f"nobody was followed for {2 * window * step_s:.1f} s on end: nothing to measure smoothing by")
    return joints


def price(results: Sequence[Result], joints: Sequence[Joint], options: SmoothOptions) -> Price:
    """What `options` do to the results."""
    smoother = OneEuroSmoother(options)
    steady = [
        smoother.smooth(result.tracks.ids, result.poses.keypoints, result.poses.scores, result.frame.time)
        for result in results
    ]
    raw = [result.poses.keypoints for result in results]
    errors, raw_errors = ([_errors(points, joint) for joint in joints] for points in (steady, raw))
    late = np.concatenate(errors)  # (E, 2) heights
    speeds = np.concatenate([joint.speed / joint.height for joint in joints])  # (E, 2) heights a second
    return Price(
        options=options,
        lag_ms=_lag_ms(late, speeds, PACES[0], np.inf),
        lags_ms=tuple(_lag_ms(late, speeds, *pace) for pace in zip(PACES, (*PACES[1:], np.inf), strict=True)),
        jitter=_percent(np.concatenate([np.diff(error, axis=0) for error in errors])),
        raw_jitter=_percent(np.concatenate([np.diff(error, axis=0) for error in raw_errors])),
        error=_percent(late),
        raw_error=_percent(np.concatenate(raw_errors)),
    )


def around(options: SmoothOptions) -> tuple[SmoothOptions, ...]:
    """The setting, one that follows twice as fast, and one that is twice as steady."""
    return tuple(
        replace(options, min_cutoff_hz=options.min_cutoff_hz * factor, beta=options.beta * factor)
        for factor in (1.0, 2.0, 0.5)
    )


def _places(results: Sequence[Result], min_score: float) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """The (frame, row) where a joint of an identity was trusted, by (id, joint)."""
    places: defaultdict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for frame, person, joint in _trusted(results, min_score):
        places[int(results[frame].tracks.ids[person]), joint].append((frame, person))
    return places


def _trusted(results: Iterable[Result], min_score: float) -> Iterator[tuple[int, int, int]]:
    for frame, result in enumerate(results):
        for person, joint in np.argwhere(result.poses.scores >= min_score).tolist():
            yield frame, person, joint


def _errors(points: Sequence[NDArray[np.float32]], joint: Joint) -> Floats:
    """How far (N, 2) a joint is from its reference, in heights of its person."""
    at = [points[frame][person, joint.joint] for frame, person in zip(joint.frames, joint.people, strict=True)]
    distance: Floats = (np.array(at, np.float64) - joint.reference) / joint.height
    return distance


def _lag_ms(errors: Floats, speeds: Floats, slowest: float, fastest: float) -> float:
    """The time by which errors are best explained as lateness at these speeds (least squares)."""
    pace = np.linalg.norm(speeds, axis=1)
    moving = (pace >= slowest) & (pace < fastest)
    if moving.sum() < MIN_SPEEDS:
        return float("nan")
    late, speed = errors[moving], speeds[moving]
    return float(-1e3 * (late * speed).sum() / (speed**2).sum())


def _percent(values: Floats) -> float:
    """Root mean square length, in percent."""
    return float(100 * np.sqrt((values**2).sum(axis=1).mean()))
