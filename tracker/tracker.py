"""Follows the people of one source from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracker import kalman, pose
from tracker.iou import areas, iou, widen
from tracker.match import match
from tracker.results import Tracks
from tracker.tracks import Life, newcomers

Rows = NDArray[np.intp]

ROUNDING_S = 1e-6
"""Seconds: media times are sums of ticks, and a wait of 0.1 s is over at 0.09999999 s."""


@dataclass(frozen=True, slots=True)
class TrackerOptions:
    """What is believed, and for how long; scores and overlaps in [0, 1], times in seconds of media time.

    Detections from `high_score` are matched with everybody, those from `low_score` only with people seen a moment ago,
    the rest is ignored. An unmatched one from `new_score` may be somebody new: confirmed at once in the first frame,
    later on the second sighting that is at least `confirm_after_s` after the first. Somebody not seen is waited for
    `memory_s`, and given up at the first detection after that without them.

    `high_iou` and `low_iou` are the least overlaps of a box with where somebody was expected. Boxes grown by
    `recover_margin` of their size on every side find those who moved as nobody expected, from an overlap of
    `recover_iou`, and newcomers, whose speed is not known yet, from `new_iou`.

    Of a pose the joints from `min_joint_score` count; with a mean score under `min_pose_score` it is none, and two
    from a similarity of `same_pose` are one.
    """

    high_score: float = 0.4
    low_score: float = 0.1
    new_score: float = 0.5
    confirm_after_s: float = 0.1
    memory_s: float = 1.5
    high_iou: float = 0.2
    low_iou: float = 0.4
    recover_margin: float = 0.3
    recover_iou: float = 0.2
    new_iou: float = 0.3
    min_joint_score: float = 0.3
    min_pose_score: float = 0.2
    same_pose: float = 0.8

    def __post_init__(self) -> None:
        scores = (self.low_score, self.high_score, self.new_score)
        if not 0 <= self.low_score <= self.high_score <= self.new_score <= 1:
            raise ValueError(f"low_score, high_score and new_score must rise within 0 and 1, got {scores}")


class PersonTracker:
    """Two-stage association on overlap with a Kalman filter (Zhang et al. 2022, ByteTrack), for one source.

    Ids count from 1 in the order of confirmation and are never used again. Times must not go back.
    """

    def __init__(self, options: TrackerOptions | None = None) -> None:
        self._options = options or TrackerOptions()
        self._table = newcomers(np.zeros((0, 4)), np.zeros(0, np.float32), 0.0, joints=0)
        self._next_id = 1
        self._time_s: float | None = None
        self._begun = False
        self._detected = False

    def update(self, boxes: NDArray[np.float32], scores: NDArray[np.float32], time_s: float) -> Tracks:
        """Match the boxes (N, 4) and scores (N,) detected at `time_s`; return the confirmed people among them."""
        if boxes.shape != (len(scores), 4):
            raise ValueError(f"boxes must be (N, 4) with a score each, got {boxes.shape} and {len(scores)} scores")
        self._advance(time_s)
        self._expire(time_s)
        found = self._associate(boxes, scores)
        rows = np.flatnonzero(found >= 0)
        self._see(rows, boxes[found[rows]], scores[found[rows]], time_s)
        self._miss(np.flatnonzero(found < 0))
        self._expire(time_s)
        self._admit(boxes, scores, found, time_s)
        self._confirm(time_s, at_once=not self._begun)
        self._begun = self._detected = True
        return self._tracks()

    def coast(self, time_s: float) -> Tracks:
        """Move the people of the last frame to `time_s`, a frame that was not detected, and return them.

        Their scores stay those of their last detections.
        """
        dt_s = self._advance(time_s)
        table = self._table
        table.boxes = kalman.to_boxes(kalman.move(kalman.to_places(table.boxes), table.mean[:, 1], dt_s))
        self._detected = False
        return self._tracks()

    def observe(self, ids: NDArray[np.int64], keypoints: NDArray[np.float32], scores: NDArray[np.float32]) -> None:
        """Take the poses, keypoints (M, K, 2) and scores (M, K), of people `ids` (M,) of this frame: all or some.

        After a detection a pose is kept with its box; after `coast` it corrects the box, and where it is none, or the
        same as that of somebody seen more often, the person is lost until the next detection. Raises ValueError for an
        id that was not returned for this frame, and for another shape.
        """
        if keypoints.shape != (*scores.shape, 2) or len(scores) != len(ids):
            raise ValueError(f"keypoints must be {(len(ids), *scores.shape[1:], 2)}, got {keypoints.shape}")
        table, rows = self._table, self._rows_of(ids)
        self._make_room(scores.shape[1])
        if self._detected:
            table.anchor_boxes[rows] = table.boxes[rows]
            table.anchor_points[rows] = keypoints
            table.anchor_scores[rows] = scores
        else:
            self._follow(rows, keypoints.astype(np.float64), scores)

    def restart(self) -> None:
        """Forget everybody, as where another scene begins; time and ids go on."""
        self._table = newcomers(np.zeros((0, 4)), np.zeros(0, np.float32), 0.0, joints=0)
        self._begun = self._detected = False

    def _advance(self, time_s: float) -> float:
        """Move what is expected of everybody to `time_s`; return the seconds since the last frame."""
        dt_s = 0.0 if self._time_s is None else time_s - self._time_s
        if not dt_s >= 0:
            raise ValueError(f"time_s must not go back, got {time_s} after {self._time_s}")
        self._time_s = time_s
        self._table.mean, self._table.covariance = kalman.predict(self._table.mean, self._table.covariance, dt_s)
        return dt_s

    def _associate(self, boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> Rows:
        """For each row of the table the index of its detection, -1 where there is none.

        Four stages, each on what the ones before left over: who is known with high scores, with low scores, with high
        scores further off; then newcomers with high scores.
        """
        options, table = self._options, self._table
        expected = kalman.to_boxes(table.mean[:, 0])
        overlap = iou(expected, boxes)
        wide = iou(widen(expected, options.recover_margin), widen(boxes, options.recover_margin))
        high = scores >= options.high_score
        low = (scores >= options.low_score) & ~high
        new = table.life == Life.TENTATIVE
        stages = (
            (~new, high, overlap, options.high_iou),
            (table.life == Life.CONFIRMED, low, overlap, options.low_iou),
            (~new, high, wide, options.recover_iou),
            (new, high, wide, options.new_iou),
        )
        found = np.full(len(table), -1)
        free = np.ones(len(boxes), np.bool_)
        for who, which, likeness, least in stages:
            rows, columns = np.flatnonzero(who & (found < 0)), np.flatnonzero(which & free)
            pairs = match(1 - likeness[np.ix_(rows, columns)], 1 - least)
            found[rows[pairs[:, 0]]] = columns[pairs[:, 1]]
            free[columns[pairs[:, 1]]] = False
        return found

    def _admit(self, boxes: NDArray[np.float32], scores: NDArray[np.float32], found: Rows, time_s: float) -> None:
        """Start following the good detections that are nobody's."""
        new = scores >= self._options.new_score
        new[found[found >= 0]] = False
        joints = self._table.anchor_scores.shape[1]
        self._table = self._table.joined(newcomers(boxes[new], scores[new], time_s, joints))

    def _see(self, rows: Rows, boxes: NDArray[np.float32], scores: NDArray[np.float32], time_s: float) -> None:
        table = self._table
        table.mean[rows], table.covariance[rows] = kalman.correct(table.mean[rows], table.covariance[rows], boxes)
        table.boxes[rows] = boxes
        table.scores[rows] = scores
        table.last_s[rows] = time_s
        table.sightings[rows] += 1
        table.life[rows[table.life[rows] == Life.LOST]] = Life.CONFIRMED

    def _miss(self, rows: Rows) -> None:
        table = self._table
        table.life[rows] = np.where(table.life[rows] == Life.TENTATIVE, Life.REMOVED, Life.LOST)

    def _expire(self, time_s: float) -> None:
        """Give up the lost who were waited for too long; who was seen in the last frame has a chance however late."""
        table = self._table
        late = time_s - table.last_s > self._options.memory_s + ROUNDING_S
        table.life[late & (table.life == Life.LOST)] = Life.REMOVED
        self._table = table.take(table.life != Life.REMOVED)

    def _confirm(self, time_s: float, at_once: bool) -> None:
        table = self._table
        old = (table.sightings >= 2) & (time_s - table.first_s >= self._options.confirm_after_s - ROUNDING_S)
        rows = np.flatnonzero((table.life == Life.TENTATIVE) & (at_once | old))
        table.life[rows] = Life.CONFIRMED
        table.ids[rows] = self._next_id + np.arange(len(rows))
        self._next_id += len(rows)

    def _present(self) -> Rows:
        """The rows of the people of this frame; as who came first is confirmed first, their ids rise."""
        return np.flatnonzero(self._table.life == Life.CONFIRMED)

    def _tracks(self) -> Tracks:
        table, rows = self._table, self._present()
        return Tracks(table.ids[rows], table.boxes[rows].astype(np.float32), table.scores[rows])

    def _rows_of(self, ids: NDArray[np.int64]) -> Rows:
        present = self._present()
        known = self._table.ids[present]
        strangers = np.setdiff1d(ids, known)
        if len(strangers):
            raise ValueError(f"ids must be of people of this frame, {known.tolist()}, got {strangers.tolist()} too")
        return present[np.searchsorted(known, ids)]

    def _make_room(self, joints: int) -> None:
        """Forget the poses kept where they have another number of joints."""
        table = self._table
        if table.anchor_scores.shape[1] != joints:
            table.anchor_points = np.zeros((len(table), joints, 2))
            table.anchor_scores = np.zeros((len(table), joints))

    def _follow(self, rows: Rows, points: kalman.Floats, scores: NDArray[np.float32]) -> None:
        """Correct the boxes of coasted `rows` by their poses; lose those without a pose of their own where they were.

        Of people with one pose the one of most sightings has it, then the one of the lowest id.
        """
        options, table = self._options, self._table
        seen = scores >= options.min_joint_score
        alike = pose.similarity(points, seen, areas(table.boxes[rows])) >= options.same_pose
        rank = np.lexsort((table.ids[rows], -table.sightings[rows])).argsort()
        double = (alike & (rank[None] < rank[:, None])).any(axis=1)
        lost = double | (scores.mean(axis=1) < options.min_pose_score)
        table.life[rows[lost]] = Life.LOST

        anchor_seen = table.anchor_scores[rows] >= options.min_joint_score
        implied, trusted = pose.implied_boxes(
            table.anchor_boxes[rows], table.anchor_points[rows], anchor_seen, points, seen
        )
        right = trusted & ~lost
        to, implied = rows[right], implied[right]
        table.mean[to], table.covariance[to] = kalman.correct(table.mean[to], table.covariance[to], implied)
        table.boxes[to] = implied
