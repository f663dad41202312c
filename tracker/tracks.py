"""The people being followed: one row each, and the states a row goes through."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tracker import kalman
from tracker.colors import PARTS


class Life:
    """What a row of the table is worth; plain numbers, as arrays of them are compared many times a frame.

    TENTATIVE: seen, not yet believed, without an id. CONFIRMED: believed, and seen in the last frame. LOST: believed,
    but not seen in the last frame; it is waited for. REMOVED: given up; the row leaves the table with the next sweep.
    """

    TENTATIVE: Final = 1
    CONFIRMED: Final = 2
    LOST: Final = 3
    REMOVED: Final = 4


@dataclass(slots=True, eq=False)
class TrackTable:
    """M rows of people, every field one array with a row each.

    `ids` (M,) int64, 0 while tentative; `life` (M,) int8 of Life; `mean` (M, 2, 4) and `covariance` (M, 3, 4) as in
    kalman.py; `boxes` (M, 4) xyxy where they stood in the last frame they were seen or coasted in; `scores` (M,) of
    the last detection; `first_s` and `last_s` (M,) seconds of media time of the first and the last detection;
    `sightings` (M,) int64, detections so far; `detections` (M,) int64, which one of the last frame
    that was detected, -1 where none. `clear_boxes` (M, 4): the last that nobody in front hid much of; `colors`
    (M, 2, 3) worn then, NaN where not known. `anchor_boxes` (M, 4), `anchor_points` (M, K, 2), `anchor_scores` (M, K):
    the last detection that was posed, scores 0 where there is none; K is 0 until a pose was observed.
    """

    ids: NDArray[np.int64]
    life: NDArray[np.int8]
    mean: kalman.Floats
    covariance: kalman.Floats
    boxes: kalman.Floats
    scores: NDArray[np.float32]
    first_s: kalman.Floats
    last_s: kalman.Floats
    sightings: NDArray[np.int64]
    detections: NDArray[np.int64]
    clear_boxes: kalman.Floats
    colors: kalman.Floats
    anchor_boxes: kalman.Floats
    anchor_points: kalman.Floats
    anchor_scores: kalman.Floats

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> TrackTable:
        """Return a table of the rows chosen by a mask (M,) or by indices."""
        return TrackTable(*(getattr(self, field.name)[rows] for field in fields(self)))

    def joined(self, other: TrackTable) -> TrackTable:
        """Return the rows of this table and, below them, those of another with as many joints."""
        columns = ((getattr(self, field.name), getattr(other, field.name)) for field in fields(self))
        return TrackTable(*(np.concatenate(pair) for pair in columns))


def newcomers(boxes: NDArray[np.floating], scores: NDArray[np.float32], time_s: float, joints: int) -> TrackTable:
    """Tentative rows for people first seen at `boxes` (M, 4), with room for poses of `joints` joints."""
    count = len(boxes)
    mean, covariance = kalman.start(boxes)
    return TrackTable(
        ids=np.zeros(count, np.int64),
        life=np.full(count, Life.TENTATIVE, np.int8),
        mean=mean,
        covariance=covariance,
        boxes=boxes.astype(np.float64),
        scores=scores.copy(),
        first_s=np.full(count, time_s),
        last_s=np.full(count, time_s),
        sightings=np.ones(count, np.int64),
        detections=np.full(count, -1),
        clear_boxes=boxes.astype(np.float64),
        colors=np.full((count, PARTS, 3), np.nan),
        anchor_boxes=np.zeros((count, 4)),
        anchor_points=np.zeros((count, joints, 2)),
        anchor_scores=np.zeros((count, joints)),
    )
