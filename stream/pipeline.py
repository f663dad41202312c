"""The stages from frames to results; no threads, no files, no models here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engines.results import Detections, Image, Poses
from stream.frame import Frame
from tracker.results import Look, Tracks

AT_NEED_S = 0.5
"""People who come are found within this time, where detection runs at need alone."""
PAUSE_S = 1.0
"""After a longer gap, as where a camera was lost, nobody is taken to have gone on as before."""


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What is known of one frame: row i of `tracks` is row i of `poses`."""

    frame: Frame
    tracks: Tracks
    poses: Poses


class Detector(Protocol):
    """Finds people: one Detections per image."""

    def detect(self, images: Sequence[Image]) -> list[Detections]: ...


class Estimator(Protocol):
    """Estimates poses: `boxes[i]` is (M_i, 4) xyxy in pixels of `images[i]`; one Poses of M_i people per image."""

    def estimate(self, images: Sequence[Image], boxes: Sequence[NDArray[np.float32]]) -> list[Poses]: ...


class Tracker(Protocol):
    """Keeps the identities of one source; times are seconds of media time and never go back.

    `update` takes the boxes (N, 4) and scores (N,) detected in a frame and, where they were posed, how they look.
    `coast` stands in for it in a frame that was not detected: the people stand where their last poses and speeds put
    them. `observe` hands back the poses, keypoints (M, K, 2) and scores (M, K), of `ids` (M,) in the frame of the last
    `update` or `coast` that were estimated after it. `restart` forgets everybody, but uses no id again. `is_sure` is
    whether everybody is where they are thought to be, so that a detection can wait.
    """

    @property
    def is_sure(self) -> bool: ...

    def update(
        self, boxes: NDArray[np.float32], scores: NDArray[np.float32], time_s: float, look: Look | None
    ) -> Tracks: ...

    def coast(self, time_s: float) -> Tracks: ...

    def observe(self, ids: NDArray[np.int64], keypoints: NDArray[np.float32], scores: NDArray[np.float32]) -> None: ...

    def restart(self) -> None: ...


class Smoother(Protocol):
    """Steadies the key points (M, K, 2) of identities `ids` (M,) over time; scores (M, K) say which to trust."""

    def smooth(
        self, ids: NDArray[np.int64], keypoints: NDArray[np.float32], scores: NDArray[np.float32], time_s: float
    ) -> NDArray[np.float32]: ...


class Stopwatch(Protocol):
    """Times what is done inside `with stage(name)`."""

    def stage(self, name: str) -> AbstractContextManager[None]: ...


class Pipeline:
    """Frames in, results out: detect, pose, track, smooth.

    Who is detected is posed before the tracker sees them, as it knows people by their poses and clothes too; who was
    not, because they are carried on between two detections or are among too many, is posed where it says they are.

    One detector and one estimator serve all sources; a tracker and a smoother belong to one source each and are made by
    `new_tracker` and, for its source_id, `new_smoother` (None: no smoothing) when its first frame comes. Detection runs
    on every `detect_every`-th step of a source, with `detects_at_need` only where the tracker is not sure, and after
    AT_NEED_S; between detections people stand where the tracker lets them coast. Of more
    than `max_people` those followed longest are kept. `confidence` is the lowest score of a person on a still picture;
    on moving ones the tracker decides.
    """

    def __init__(
        self,
        detector: Detector,
        estimator: Estimator,
        new_tracker: Callable[[], Tracker],
        new_smoother: Callable[[str], Smoother | None],
        meter: Stopwatch,
        *,
        detect_every: int = 1,
        detects_at_need: bool = False,
        max_people: int | None = None,
        confidence: float = 0.4,
    ) -> None:
        self._detector = detector
        self._estimator = estimator
        self._new_tracker = new_tracker
        self._new_smoother = new_smoother
        self._meter = meter
        self.detect_every = detect_every
        self._detects_at_need = detects_at_need
        self._max_people = max_people
        self._confidence = confidence
        self._sources: dict[str, _SourceState] = {}

    @property
    def detect_every(self) -> int:
        """Of how many steps of a source one detects people; a change holds from the next detection on."""
        return self._detect_every

    @detect_every.setter
    def detect_every(self, every: int) -> None:
        if every < 1:
            raise ValueError(f"detect_every must be 1 or more, got {every}")
        self._detect_every = every

    def step(self, frames: Sequence[Frame]) -> list[Result]:
        """One result per frame, in their order.

        Several frames of one moving source, in the order of time, only where detection runs on every frame: else the
        poses of one guide the boxes of the next.
        """
        is_carried = self._detect_every > 1 or self._detects_at_need
        if is_carried and len({frame.source_id for frame in frames}) < len(frames):
            raise ValueError("where people are carried from frame to frame a step takes one frame of each source")
        with self._meter.stage("detect"):
            detections = self._detect(frames)
        carried = [self._carry(*row) for row in zip(frames, detections, strict=True)]
        worth = [self._worth_posing(*row) for row in zip(frames, detections, carried, strict=True)]
        posed = self._estimate(frames, worth)
        with self._meter.stage("track"):
            tracks = [self._follow(*row) for row in zip(frames, detections, carried, posed, strict=True)]
        poses = self._complete(frames, tracks, posed)
        with self._meter.stage("smooth"):
            return [self._settle(*row) for row in zip(frames, tracks, poses, strict=True)]

    def _detect(self, frames: Sequence[Frame]) -> list[Detections | None]:
        """The detections of each frame, None for those between two detections."""
        due = [frame.still or self._state(frame).is_due(frame, self._detects_at_need) for frame in frames]
        images = [frame.image for frame, is_due in zip(frames, due, strict=True) if is_due]
        found = iter(self._detector.detect(images) if images else [])
        return [next(found) if is_due else None for is_due in due]

    def _carry(self, frame: Frame, found: Detections | None) -> Tracks | None:
        """The people of a frame that was not detected; None where it was."""
        if found is not None:
            return None
        state = self._state(frame)
        state.last = frame.image.shape, frame.time
        state.steps_to_detection = max(state.steps_to_detection - 1, 0)
        return self._limited(state.tracker.coast(frame.time))

    def _worth_posing(
        self, frame: Frame, found: Detections | None, carried: Tracks | None
    ) -> NDArray[np.float32] | None:
        """The boxes to pose at once: of people carried, of a still, or of whom it is not known yet who they are.

        None where of these there are too many.
        """
        if found is None or carried is not None:
            return None if carried is None else carried.boxes
        if frame.still:
            return self._unfollowed(found).boxes
        return None if self._max_people is not None and len(found.boxes) > self._max_people else found.boxes

    def _estimate(self, frames: Sequence[Frame], boxes: Sequence[NDArray[np.float32] | None]) -> list[Poses | None]:
        """The poses of the people in the boxes of each frame, None where there are no boxes to look at."""
        given = [(frame.image, own) for frame, own in zip(frames, boxes, strict=True) if own is not None]
        if not given:
            return [None] * len(frames)
        with self._meter.stage("pose"):
            poses = iter(self._estimator.estimate([image for image, _ in given], [own for _, own in given]))
            return [None if own is None else next(poses) for own in boxes]

    def _follow(self, frame: Frame, found: Detections | None, carried: Tracks | None, posed: Poses | None) -> Tracks:
        """The people of a frame, known by what was detected unless they were carried into it."""
        if found is None or carried is not None:
            return carried or self._unfollowed(Detections.none())
        if frame.still:
            return self._unfollowed(found)
        state = self._state(frame)
        if state.is_other_scene(frame):
            state.tracker.restart()
        state.last = frame.image.shape, frame.time
        state.steps_to_detection, state.detected_s = self._detect_every - 1, frame.time
        look = None if posed is None else Look(frame.image, posed.keypoints, posed.scores)
        return self._limited(state.tracker.update(found.boxes, found.scores, frame.time, look))

    def _limited(self, tracks: Tracks) -> Tracks:
        """Of too many people those followed longest."""
        if self._max_people is None or len(tracks.ids) <= self._max_people:
            return tracks
        return tracks.take(np.argsort(tracks.ids)[: self._max_people])

    def _complete(
        self, frames: Sequence[Frame], tracks: Sequence[Tracks], posed: Sequence[Poses | None]
    ) -> list[Poses]:
        """The poses of everybody of each frame: those there are, else estimated now.

        The tracker is told of those that it does not know yet, of the last frame of each source.
        """
        late = self._estimate(
            frames, [own.boxes if poses is None else None for own, poses in zip(tracks, posed, strict=True)]
        )
        last = {frame.source_id: index for index, frame in enumerate(frames)}
        complete = []
        for index, (frame, own, *some) in enumerate(zip(frames, tracks, posed, late, strict=True)):
            poses = next(poses for poses in some if poses is not None)
            is_told = some[0] is not None and own.detections is not None
            if not (is_told or frame.still) and last[frame.source_id] == index:
                self._state(frame).tracker.observe(own.ids, poses.keypoints, poses.scores)
            complete.append(_of(own, poses) if is_told else poses)
        return complete

    def _unfollowed(self, found: Detections) -> Tracks:
        """The people of a still picture: no identities, best first."""
        count = int((found.scores >= self._confidence).sum())
        count = count if self._max_people is None else min(count, self._max_people)
        return Tracks(np.zeros(count, np.int64), found.boxes[:count], found.scores[:count], np.arange(count))

    def _settle(self, frame: Frame, tracks: Tracks, poses: Poses) -> Result:
        """Smooth the poses of a moving source."""
        if frame.still:
            return Result(frame, tracks, poses)
        smoother = self._state(frame).smoother
        if smoother is not None:
            keypoints = smoother.smooth(tracks.ids, poses.keypoints, poses.scores, frame.time)
            poses = Poses(keypoints, poses.scores, poses.skeleton)
        return Result(frame, tracks, poses)

    def _state(self, frame: Frame) -> _SourceState:
        state = self._sources.get(frame.source_id)
        if state is None:
            state = self._sources[frame.source_id] = _SourceState(
                self._new_tracker(), self._new_smoother(frame.source_id)
            )
        return state


def _of(tracks: Tracks, poses: Poses) -> Poses:
    """Of the poses of all detections those of the people followed, in their order."""
    rows = tracks.detections
    return Poses(poses.keypoints[rows], poses.scores[rows], poses.skeleton)


@dataclass(slots=True)
class _SourceState:
    """What one source remembers from frame to frame."""

    tracker: Tracker
    smoother: Smoother | None
    steps_to_detection: int = 0
    last: tuple[tuple[int, ...], float] | None = None  # shape and time of the last frame
    detected_s: float | None = None  # time of the last frame that was detected

    def is_due(self, frame: Frame, at_need: bool) -> bool:
        """Whether people are to be detected in this frame: it is its turn, or where they stand cannot be guessed."""
        after_pause = self.last is not None and frame.time - self.last[1] > PAUSE_S
        if after_pause or self.is_other_scene(frame) or self.detected_s is None:
            return True
        is_needed = not at_need or frame.time - self.detected_s >= AT_NEED_S or not self.tracker.is_sure
        return self.steps_to_detection == 0 and is_needed

    def is_other_scene(self, frame: Frame) -> bool:
        """Whether this frame is of another size than the last one, as after a camera was exchanged or turned."""
        return self.last is not None and self.last[0] != frame.image.shape
