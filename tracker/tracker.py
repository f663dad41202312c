"""Follows the people of one source from frame to frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracker import colors, kalman, pose
from tracker.association import Seen, associate
from tracker.iou import areas, iou, touching
from tracker.match import Rows
from tracker.options import TrackerOptions
from tracker.results import Look, Tracks
from tracker.tracks import Life, newcomers

FAST = 1.0
"""Heights a second from which a box that is carried on soon stands beside its person."""
CLOSE = 0.2
"""Overlap of two people from which the pose in one box may be that of the other."""
WEAKER = 0.8
"""A mean joint score under this share of that at the last detection says that the box no longer fits."""
LOOK_S = 0.1
"""Clothes stay what they are: it is enough to look at them so often."""
ROUNDING_S = 1e-6
"""Seconds: media times are sums of ticks, and a wait of 0.1 s is over at 0.09999999 s."""


class PersonTracker:
    """Follows people by boxes, poses and clothes, with a Kalman filter and recovery where they were last; one source.

    Detections of high and low scores as in ByteTrack (Zhang et al. 2022), recovery from the last observation as in
    OC-SORT (Cao et al. 2023). Ids count from 1 in the order of confirmation and are never used again. Times must not go
    back. `body` says which joints hold the clothes; without it their colours are not looked at.
    """

    def __init__(self, options: TrackerOptions | None = None, body: colors.Body | None = None) -> None:
        self._options = options or TrackerOptions()
        self._body = body
        self._table = newcomers(np.zeros((0, 4)), np.zeros(0, np.float32), 0.0, joints=0)
        self._next_id = 1
        self._time_s: float | None = None
        self._begun = False
        self._detected = False
        self._is_in_doubt = False
        self._looked_s = -np.inf

    def update(
        self, boxes: NDArray[np.float32], scores: NDArray[np.float32], time_s: float, look: Look | None = None
    ) -> Tracks:
        """Match the boxes (N, 4) and scores (N,) detected at `time_s`; return the confirmed people among them.

        `look` has the picture and the poses of the detections, of all or of some; without it only boxes are compared.
        """
        if boxes.shape != (len(scores), 4):
            raise ValueError(f"boxes must be (N, 4) with a score each, got {boxes.shape} and {len(scores)} scores")
        if look is not None and len(look.joint_scores) != len(boxes):
            raise ValueError(f"look must have a row for each of {len(boxes)} boxes, got {len(look.joint_scores)}")
        self._advance(time_s)
        self._expire(time_s)
        seen = Seen(boxes.astype(np.float64), scores, look, self._body, self._options.min_joint_score)
        found = associate(self._table, seen, self._options, time_s)
        self._table.detections = found.astype(np.int64)
        rows = np.flatnonzero(found >= 0)
        self._see(rows, seen, look, time_s)
        self._look_at(rows, seen, time_s)
        self._miss(np.flatnonzero(found < 0))
        self._admit(seen, look, time_s)
        self._confirm(time_s, at_once=not self._begun)
        self._begun = self._detected = True
        self._is_in_doubt = False
        return self._tracks()

    def coast(self, time_s: float) -> Tracks:
        """Move the people of the last frame to `time_s`, a frame that was not detected, and return them.

        Their scores stay those of their last detections.
        """
        dt_s = self._advance(time_s)
        table, rows = self._table, np.flatnonzero(self._table.life != Life.LOST)  # the lost stay where they were last
        moved = kalman.move(kalman.to_places(table.boxes[rows]), table.mean[rows, 1], dt_s)
        table.boxes[rows] = kalman.to_boxes(moved)
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

    @property
    def is_sure(self) -> bool:
        """Whether everybody is where they are thought to be, so that a detection can wait.

        Nobody has just come or been lost, moves fast, stands before another, or has a pose much weaker than at their
        last detection.
        """
        table = self._table
        away_s = np.inf if self._time_s is None else self._time_s - table.last_s
        is_missed = (table.life == Life.LOST) & (away_s <= self._options.motion_s)
        if self._is_in_doubt or (table.life == Life.TENTATIVE).any() or is_missed.any():
            return False
        rows = self._present()
        place, speed = table.mean[rows, 0], table.mean[rows, 1]
        if (np.hypot(speed[:, 0], speed[:, 1]) > FAST * place[:, 3]).any():
            return False
        boxes = table.boxes[rows]
        first, second = touching(boxes, boxes)
        return not ((first < second) & (iou(boxes[first], boxes[second]) > CLOSE)).any()

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

    def _admit(self, seen: Seen, look: Look | None, time_s: float) -> None:
        """Start following the good detections that are nobody's."""
        is_new = seen.scores >= self._options.new_score
        is_new[self._table.detections[self._table.detections >= 0]] = False
        new = np.flatnonzero(is_new)
        if len(new):
            comers = newcomers(seen.boxes[new], seen.scores[new], time_s, self._table.anchor_scores.shape[1])
            comers.colors[:], comers.detections[:] = seen.colors[new], new
            self._table = self._table.joined(comers)
            self._anchor(np.arange(len(self._table) - len(new), len(self._table)), look)

    def _see(self, rows: Rows, seen: Seen, look: Look | None, time_s: float) -> None:
        """Note where the people of `rows` are now, and what they look like."""
        table, which = self._table, self._table.detections[rows]
        boxes = seen.boxes[which]
        table.mean[rows], table.covariance[rows] = kalman.correct(table.mean[rows], table.covariance[rows], boxes)
        table.boxes[rows] = boxes
        table.scores[rows] = seen.scores[which]
        table.last_s[rows] = time_s
        table.sightings[rows] += 1
        table.life[rows[table.life[rows] == Life.LOST]] = Life.CONFIRMED
        self._anchor(rows, look)

    def _look_at(self, rows: Rows, seen: Seen, time_s: float) -> None:
        """Note how large those of `rows` are whom nobody in front hides, and, now and then, what they wear."""
        which = self._table.detections[rows]
        is_clear = ~seen.hidden()[which]
        rows, which = rows[is_clear], which[is_clear]
        self._table.clear_boxes[rows] = seen.boxes[which]
        since_s = time_s - self._looked_s
        if since_s >= LOOK_S:
            self._table.colors[rows] = colors.settled(self._table.colors[rows], seen.colors[which], since_s)
            self._looked_s = time_s

    def _anchor(self, rows: Rows, look: Look | None) -> None:
        """Keep the poses of the people of `rows` whose detections were posed."""
        if look is None:
            return
        which = self._table.detections[rows]
        posed = look.joint_scores[which].any(axis=1)
        rows, which = rows[posed], which[posed]
        if len(rows):
            self._make_room(look.joint_scores.shape[1])
            table = self._table
            table.anchor_boxes[rows] = table.boxes[rows]
            table.anchor_points[rows] = look.keypoints[which]
            table.anchor_scores[rows] = look.joint_scores[which]

    def _miss(self, rows: Rows) -> None:
        table = self._table
        table.life[rows] = np.where(table.life[rows] == Life.TENTATIVE, Life.REMOVED, Life.LOST)

    def _expire(self, time_s: float) -> None:
        """Give up those who were away for too long: on either side of a longer gap nobody is taken for the same."""
        table = self._table
        late = time_s - table.last_s > self._options.reentry_s + ROUNDING_S
        stay = (table.life != Life.REMOVED) & ~(late & (table.life != Life.TENTATIVE))
        if not stay.all():
            self._table = table.take(stay)

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
        detections = table.detections[rows] if self._detected else None
        return Tracks(table.ids[rows], table.boxes[rows].astype(np.float32), table.scores[rows], detections)

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
        seen, sizes = scores >= options.min_joint_score, areas(table.boxes[rows])
        reach = pose.extents(points, seen)
        first, second = touching(reach, reach)
        area = np.minimum(sizes[first], sizes[second])
        alike = pose.similarity(points[first], seen[first], points[second], seen[second], area) >= options.same_pose
        rank = np.lexsort((table.ids[rows], -table.sightings[rows])).argsort()
        double = np.zeros(len(rows), np.bool_)
        double[second[alike & (rank[first] < rank[second])]] = True
        means = scores.mean(axis=1)
        lost = double | (means < options.min_pose_score)
        self._is_in_doubt |= bool(lost.any() or (means < WEAKER * table.anchor_scores[rows].mean(axis=1)).any())
        table.life[rows[lost]] = Life.LOST

        anchor_seen = table.anchor_scores[rows] >= options.min_joint_score
        implied, trusted = pose.implied_boxes(
            table.anchor_boxes[rows], table.anchor_points[rows], anchor_seen, points, seen
        )
        right = trusted & ~lost
        to, implied = rows[right], implied[right]
        table.mean[to], table.covariance[to] = kalman.correct(table.mean[to], table.covariance[to], implied)
        table.boxes[to] = implied
