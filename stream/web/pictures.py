"""Results as JPEG pictures, drawn when somebody watches, once for all who watch in that size.

The server draws for itself and not with the other outputs: only what is asked for, in the size it is asked for, so that
lines and letters fit it, and on its own threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import cv2
import numpy as np

from engines.results import Image, Poses
from stream.pipeline import Result
from stream.render import Style, draw
from stream.web.board import Board, Pinned
from tracker.results import Tracks

SLOW_S = 0.25
"""A client that takes longer for a picture gets smaller ones: four a second are no film."""
FAST_S = 0.06
"""A client that takes less for each picture may get larger ones."""
TRIAL_S = 4.0
"""How long a client must be fast before it gets larger pictures; twice as long after each time that was too much."""
LONGEST_TRIAL_S = 120.0


@dataclass(frozen=True, slots=True)
class Rung:
    """How pictures are made: no larger than `side` pixels on their shorter side, in JPEG's `quality`."""

    side: int
    quality: int


RUNGS = (Rung(1080, 85), Rung(720, 80), Rung(540, 78), Rung(360, 75), Rung(270, 65), Rung(180, 50))
"""From the best down; few, so that clients share. Half the bytes or less from one to the next."""


@dataclass(frozen=True, slots=True, eq=False)
class Jpeg:
    """A picture as it is sent: `number` is that of the result, `size` its (height, width)."""

    number: int
    result: Result
    size: tuple[int, int]
    data: bytes


def rung_for(side: int) -> int:
    """Which of `RUNGS` shows `side` pixels at least, or most."""
    return max((i for i, rung in enumerate(RUNGS) if rung.side >= side), default=0)


class Ladder:
    """Which rung one client gets, by how long it takes for its pictures: never better than `best`."""

    def __init__(self, best: int = 0) -> None:
        self.rung = best
        self._best = best
        self._trial_s = TRIAL_S
        self._fast_since_s: float | None = None
        self._is_trial = False

    def want(self, best: int) -> None:
        """The client shows its pictures in another size now."""
        if best != self._best:
            self.rung = max(best, self.rung) if self.rung > self._best else best
            self._best = best

    def sent(self, took_s: float, now_s: float) -> int:
        """Count a picture that the client took so long for; the rung of its next one."""
        if took_s > SLOW_S:
            if self._is_trial:
                self._trial_s = min(2 * self._trial_s, LONGEST_TRIAL_S)
            self.rung = min(self.rung + 1, len(RUNGS) - 1)
            self._fast_since_s, self._is_trial = None, False
        elif took_s > FAST_S:
            self._fast_since_s = None
        elif self._fast_since_s is None:
            self._fast_since_s = now_s
        elif now_s - self._fast_since_s >= self._trial_s and self.rung > self._best:
            self.rung -= 1
            self._fast_since_s, self._is_trial = now_s, True
        return self.rung


class Gallery:
    """Makes pictures of what is on a board, on the threads of `executor`; for the loop of the server only."""

    def __init__(self, board: Board, style: Style, executor: Executor) -> None:
        self._board = board
        self._style = style
        self._executor = executor
        self._made: dict[tuple[str, int], tuple[int, asyncio.Future[Jpeg]]] = {}

    async def newer(self, source: str, number: int, rung: Callable[[], int]) -> Jpeg:
        """The newest picture of a source, once there is one of a higher number; `rung` is asked for then."""
        pinned = await self._board.newer(source, number)
        key = source, rung()
        made_of, made = self._made.get(key, (0, None))
        if made is None or made_of < pinned.number:
            loop = asyncio.get_running_loop()
            made = loop.run_in_executor(self._executor, encode, pinned, RUNGS[key[1]], self._style)
            self._made[key] = pinned.number, made
        # One who gives up must not take the picture from the others.
        return await asyncio.shield(made)


def encode(pinned: Pinned, rung: Rung, style: Style) -> Jpeg:
    """A result drawn and made a JPEG."""
    image = pinned.result.frame.image
    height, width = image.shape[:2]
    scale = min(1.0, rung.side / min(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    if style.background == "black":
        canvas: Image = np.zeros((*size, 3), np.uint8)
    elif size == (height, width):
        canvas = image.copy()
    else:
        canvas = np.asarray(cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    draw(canvas, scaled(pinned.result, size), style)
    is_made, data = cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, rung.quality])
    if not is_made:
        raise ValueError(f"no JPEG can be made of a picture of {size[1]}x{size[0]}")
    return Jpeg(pinned.number, pinned.result, size, data.tobytes())


def scaled(result: Result, size: tuple[int, int]) -> Result:
    """A result as it lies on its frame resized to `size` (height, width); pixels are counted from their centres."""
    height, width = result.frame.image.shape[:2]
    if size == (height, width):
        return result
    scale = np.array([size[1] / width, size[0] / height], np.float32)  # x, y
    keypoints = (result.poses.keypoints + np.float32(0.5)) * scale - np.float32(0.5)
    boxes = (result.tracks.boxes.reshape(-1, 2, 2) + np.float32(0.5)) * scale - np.float32(0.5)
    tracks = Tracks(result.tracks.ids, boxes.reshape(-1, 4).astype(np.float32), result.tracks.scores)
    poses = Poses(keypoints.astype(np.float32), result.poses.scores, result.poses.skeleton)
    return replace(result, tracks=tracks, poses=poses)
