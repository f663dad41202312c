"""The stages from frames to results; no threads, no files, no models here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engines.results import Detections, Image, Poses
from stream.frame import Frame
from tracker.results import Tracks


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

    `update` takes the boxes (N, 4) and scores (N,) detected in a frame. `coast` stands in for it in a frame that was
    not detected: the people stand where their last poses and speeds put them. `observe` hands back the poses, keypoints
    (M, K, 2) and scores (M, K), estimated for `ids` (M,) in the frame of the last `update` or `coast`.
    """

    def update(self, boxes: NDArray[np.float32], scores: NDArray[np.float32], time_s: float) -> Tracks: ...

    def coast(self, time_s: float) -> Tracks: ...

    def observe(self, ids: NDArray[np.int64], keypoints: NDArray[np.float32], scores: NDArray[np.float32]) -> None: ...


class Smoother(Protocol):
    """Steadies the key points (M, K, 2) of identities `ids` (M,) over time; scores (M, K) say which joints were seen."""

    def smooth(
        self, ids: NDArray[np.int64], keypoints: NDArray[np.float32], scores: NDArray[np.float32], time_s: float
    ) -> NDArray[np.float32]: ...
