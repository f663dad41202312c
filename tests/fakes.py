"""In-memory implementations of the protocols."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from engines.results import Detections, Image, Poses, Skeleton
from stream.frame import Frame
from stream.pipeline import Result
from stream.sinks.base import Picture
from stream.source import SourceInfo
from tracker.results import Look, Tracks

STICK = Skeleton("stick", ("top", "bottom"), ((0, 1),), (), (0.1, 0.1))


def make_frame(
    index: int = 0, *, source_id: str = "fake", size: tuple[int, int] = (48, 64), still: bool = False
) -> Frame:
    image = np.full((*size, 3), index % 256, np.uint8)
    return Frame(image, index, 0 if still else index, Fraction(1, 25), source_id, time.monotonic_ns(), still)


def make_result(index: int = 0, people: int = 1, *, still: bool = False) -> Result:
    boxes = np.tile(np.array([[4, 4, 20, 40]], np.float32), (people, 1))
    ids = np.zeros(people, np.int64) if still else np.arange(1, people + 1, dtype=np.int64)
    keypoints = np.tile(np.array([[[12, 6], [12, 38]]], np.float32), (people, 1, 1))
    poses = Poses(keypoints, np.ones((people, 2), np.float32), STICK)
    return Result(make_frame(index, still=still), Tracks(ids, boxes, np.ones(people, np.float32)), poses)


class FakeSource:
    """Yields `count` frames, then fails with `error` if there is one, or blocks until it is closed."""

    def __init__(self, count: int, *, error: Exception | None = None, block: bool = False, live: bool = False) -> None:
        self.info = SourceInfo("fake", "fake:", (48, 64), Fraction(1, 25), Fraction(25), count, live=live)
        self.damage: str | None = None
        self.closed = threading.Event()
        self.count = count
        self._error = error
        self._block = block

    def frames(self) -> Iterator[Frame]:
        for index in range(self.count):
            yield make_frame(index)
        if self._error is not None:
            raise self._error
        if self._block:
            self.closed.wait(10)

    def close(self) -> None:
        self.closed.set()


@dataclass
class FakeWatched:
    """A source as a window knows it."""

    info: SourceInfo
    state: str = "playing"
    is_known: bool = True

    @property
    def name(self) -> str:
        return self.info.source_id


class FakeDetector:
    """Finds one person per image at (4, 4, 20, 40), as sure as `score`; remembers how many images it was given."""

    def __init__(self, score: float = 0.9, people: int = 1) -> None:
        self.calls: list[int] = []
        self._score = score
        self._people = people

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        self.calls.append(len(images))
        boxes = np.array([[4 + 30 * i, 4, 20 + 30 * i, 40] for i in range(self._people)], np.float32).reshape(-1, 4)
        scores = np.full(self._people, self._score, np.float32)
        return [Detections(boxes, scores) for _ in images]


class FakeEstimator:
    """A stick from the middle of the top edge of each box to the middle of the bottom edge."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []

    def estimate(self, images: Sequence[Image], boxes: Sequence[NDArray[np.float32]]) -> list[Poses]:
        self.calls.append([len(rows) for rows in boxes])
        return [Poses(self._sticks(rows), np.ones((len(rows), 2), np.float32), STICK) for rows in boxes]

    @staticmethod
    def _sticks(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        middle = (boxes[:, 0] + boxes[:, 2]) / 2
        ends = np.stack([middle, boxes[:, 1], middle, boxes[:, 3]], axis=1)
        return ends.reshape(-1, 2, 2).astype(np.float32)


class FakeTracker:
    """Calls the people 1, 2, … in the order of the boxes; coasts where they were last."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.observed: list[NDArray[np.float32]] = []
        self.looks: list[Look | None] = []
        self.sure: list[bool] = []
        self._last = Tracks(np.zeros(0, np.int64), np.zeros((0, 4), np.float32), np.zeros(0, np.float32))

    def update(
        self, boxes: NDArray[np.float32], scores: NDArray[np.float32], time_s: float, look: Look | None
    ) -> Tracks:
        self.calls.append(f"update {time_s:.2f}")
        self.looks.append(look)
        rows = np.arange(len(boxes))
        self._last = Tracks(rows + 1, boxes, scores)
        return replace(self._last, detections=rows)

    def coast(self, time_s: float) -> Tracks:
        self.calls.append(f"coast {time_s:.2f}")
        return self._last

    def observe(self, ids: NDArray[np.int64], keypoints: NDArray[np.float32], scores: NDArray[np.float32]) -> None:
        self.observed.append(keypoints)

    def restart(self) -> None:
        self.calls.append("restart")

    @property
    def is_sure(self) -> bool:
        return self.sure.pop(0) if self.sure else True


class FakeSmoother:
    """Moves every key point one pixel to the right."""

    def smooth(
        self, ids: NDArray[np.int64], keypoints: NDArray[np.float32], scores: NDArray[np.float32], time_s: float
    ) -> NDArray[np.float32]:
        return keypoints + np.array([1, 0], np.float32)


class FakeSink:
    """Remembers what it was given; fails at the `fail_at`-th frame; waits at each frame for `gate` if there is one.

    With `keep_pixels` the last pixel's blue is noted when a picture is written.
    """

    def __init__(
        self, *, needs_picture: bool = True, fail_at: int = -1, gate: threading.Event | None = None,
        keep_pixels: bool = False,
    ) -> None:  # fmt: skip
        self.needs_picture = needs_picture
        self.indices: list[int] = []
        self.pictures: list[Picture | None] = []
        self.warnings: tuple[str, ...] = ()
        self.closed = 0
        self.pixels: list[int] = []
        self._keep_pixels = keep_pixels
        self._fail_at = fail_at
        self._gate = gate

    def write(self, result: Result, picture: Picture | None) -> None:
        if self._gate is not None:
            self._gate.wait(10)
        if result.frame.index == self._fail_at:
            raise OSError("disk full")
        self.indices.append(result.frame.index)
        self.pictures.append(picture)
        if self._keep_pixels and picture is not None:
            self.pixels.append(int(picture.image[-1, -1, 0]))

    def close(self, *, failed: bool = False) -> None:
        self.closed += 1
