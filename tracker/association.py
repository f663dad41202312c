"""Which detection is whom: boxes, poses and colours compared, stage after stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tracker import colors, kalman, pose
from tracker.iou import areas, intersection, iou, touching, widen
from tracker.kalman import Floats
from tracker.match import Rows, match
from tracker.options import TrackerOptions
from tracker.results import Look
from tracker.tracks import Life, TrackTable

Mask = NDArray[np.bool_]

LOW_COST = 0.2
"""Share by which a detection of a low score must be more alike than one of a high score, to be preferred."""
MAX_AREA_GROWTH = 2.5
"""Nobody fills so many times the area that they filled when last seen clear: a walker close by takes no box over."""
FADES = 0.3
"""Share of the likeness to somebody who was away that is lost by the end of the re-entry window."""
HIDDEN = 0.3
"""Share of a box that somebody in front covers, from which it says little of the one behind."""


@dataclass(frozen=True, eq=False)
class Seen:
    """The N detections of a frame: `boxes` (N, 4), `scores` (N,), and how they look, where that is known.

    Of a pose the joints from `min_joint_score` on count; `body` says which hold the clothes.
    """

    boxes: Floats
    scores: NDArray[np.float32]
    look: Look | None
    body: colors.Body | None
    min_joint_score: float

    @cached_property
    def points(self) -> Floats:
        """The poses (N, K, 2); K is 0 where none is known."""
        return np.zeros((len(self.boxes), 0, 2)) if self.look is None else self.look.keypoints.astype(np.float64)

    @cached_property
    def joints(self) -> Mask:
        """Which joints (N, K) count."""
        if self.look is None:
            return np.zeros((len(self.boxes), 0), np.bool_)
        return self.look.joint_scores >= self.min_joint_score

    @cached_property
    def colors(self) -> Floats:
        """The colours worn (N, 2, 3), NaN where not known."""
        if self.look is None or self.body is None:
            return np.full((len(self.boxes), colors.PARTS, 3), np.nan)
        return colors.worn(self.look, self.body, self.min_joint_score)

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """Those of the picture, xyxy, beyond which nobody is seen."""
        if self.look is None:
            return (-np.inf, -np.inf, np.inf, np.inf)
        height, width = self.look.image.shape[:2]
        return (0, 0, width, height)

    def hidden(self) -> Mask:
        """Whose box (N,) somebody in front, standing lower in the picture, covers much of."""
        behind, before = touching(self.boxes, self.boxes)
        in_front = self.boxes[before, 3] > self.boxes[behind, 3]
        behind, before = behind[in_front], before[in_front]
        share = intersection(self.boxes[behind], self.boxes[before]) / np.maximum(areas(self.boxes[behind]), 1.0)
        covered = np.zeros(len(self.boxes))
        np.maximum.at(covered, behind, share)
        return covered >= HIDDEN


def associate(table: TrackTable, seen: Seen, options: TrackerOptions, time_s: float) -> Rows:
    """For each row of the table the index of its detection, -1 where there is none.

    Stages, each on what the ones before left over: those known of late, by high and low scores together, then by high
    ones further off; those who were away, where they were last; newcomers. Of everything known of a pair, overlap, pose
    and colours of the clothes, each has one vote.
    """
    everything = _Pairs.near(table, seen, options)
    high = seen.scores >= options.high_score
    is_new, is_lost = table.life == Life.TENTATIVE, table.life == Life.LOST
    is_stale = time_s - table.last_s > options.motion_s
    found = np.full(len(table), -1)
    free = seen.scores >= options.low_score

    def take(pairs: _Pairs, likeness: Callable[[_Pairs], Floats]) -> None:
        """Make the pairs whose two have no other, and of the rest the best; only for these it is asked how alike."""
        is_sole = (np.bincount(pairs.rows)[pairs.rows] == 1) & (np.bincount(pairs.columns)[pairs.columns] == 1)
        made, rest = np.flatnonzero(is_sole), np.flatnonzero(~is_sole)
        if len(rest):
            contested = pairs.of(rest)
            made = np.concatenate([made, rest[match(contested.rows, contested.columns, likeness(contested))]])
        found[pairs.rows[made]] = pairs.columns[made]
        free[pairs.columns[made]] = False

    def open_to(who: Mask) -> _Pairs:
        """The pairs of the free among `who` (M,) and the free detections of high scores."""
        return everything.of((who & (found < 0))[everything.rows] & (free & high)[everything.columns])

    known = ~is_new & ~is_stale
    pairs = everything.of(known[everything.rows] & free[everything.columns])
    good = high[pairs.columns]
    least = np.where(good, options.high_iou, np.where(is_lost[pairs.rows], np.inf, options.low_iou))
    pairs = pairs.of((pairs.overlap >= least) & pairs.is_plausible)
    take(pairs, lambda some: np.where(high[some.columns], 1.0, 1.0 - LOW_COST) * some.expected_again(some.overlap))

    pairs = open_to(known)
    if len(pairs):
        pairs = pairs.of((pairs.wide >= options.recover_iou) & pairs.is_plausible)
        take(pairs, lambda some: some.expected_again(some.wide))

    pairs = open_to(~is_new & (is_lost | is_stale))
    if len(pairs):
        fading = 1 - FADES * (time_s - table.last_s) / max(options.reentry_s, 1e-6)
        votes = pairs.back_again() * fading[pairs.rows]
        by_color = (pairs.back >= options.reentry_seen_iou) & (pairs.color >= options.same_color)
        is_same = np.where(np.isnan(pairs.color), pairs.back >= options.reentry_iou, by_color)
        is_same &= (votes >= options.same_person) & pairs.is_plausible
        take(pairs.of(is_same), lambda some: some.back_again() * fading[some.rows])

    pairs = open_to(is_new)  # who comes in at the edge of the picture may grow as fast as they like
    if len(pairs):
        take(pairs.of(pairs.wide >= options.new_iou), lambda some: some.expected_again(some.wide))
    return found


@dataclass(frozen=True, eq=False)
class _Pairs:
    """P pairs of a row of the table and a detection, and how alike they are.

    Everything is (P,), worked out when it is first asked for. `expected` (M, 4) are the boxes of the rows where they
    were expected, `wide` those of rows and detections widened.
    """

    table: TrackTable
    seen: Seen
    expected: Floats
    wide_boxes: tuple[Floats, Floats]
    rows: Rows
    columns: Rows

    @staticmethod
    def near(table: TrackTable, seen: Seen, options: TrackerOptions) -> _Pairs:
        """All pairs that touch, widened, where somebody was expected, was last, or was seen clear last."""
        expected = _within(kalman.to_boxes(table.mean[:, 0]), seen.edges)
        wide = widen(expected, options.recover_margin), widen(seen.boxes, options.recover_margin)
        low = np.minimum(np.minimum(wide[0][:, :2], table.boxes[:, :2]), table.clear_boxes[:, :2])
        high = np.maximum(np.maximum(wide[0][:, 2:], table.boxes[:, 2:]), table.clear_boxes[:, 2:])
        rows, columns = touching(np.concatenate([low, high], axis=1), wide[1])
        return _Pairs(table, seen, expected, wide, rows, columns)

    def __len__(self) -> int:
        return len(self.rows)

    def of(self, which: Mask | Rows) -> _Pairs:
        """Those of a mask (P,) or of indices."""
        return replace(self, rows=self.rows[which], columns=self.columns[which])

    @cached_property
    def overlap(self) -> Floats:
        """With where somebody was expected."""
        return iou(self.expected[self.rows], self.seen.boxes[self.columns])

    @cached_property
    def wide(self) -> Floats:
        """The same, of both boxes widened."""
        return iou(self.wide_boxes[0][self.rows], self.wide_boxes[1][self.columns])

    @cached_property
    def back(self) -> Floats:
        """With where somebody was seen last, seen clear last, or was expected: the greatest."""
        boxes = self.seen.boxes[self.columns]
        last = iou(self.table.boxes[self.rows], boxes), iou(self.table.clear_boxes[self.rows], boxes)
        return np.maximum(np.maximum(*last), self.overlap)

    @cached_property
    def is_plausible(self) -> Mask:
        """Whether somebody can have grown so."""
        least, now = areas(self.table.clear_boxes[self.rows]), areas(self.seen.boxes[self.columns])
        return np.asarray(now <= MAX_AREA_GROWTH * least)

    @cached_property
    def color(self) -> Floats:
        """Likeness of the clothes, NaN where not known."""
        return colors.likeness(self.table.colors[self.rows], self.seen.colors[self.columns])

    @cached_property
    def pose_expected(self) -> Floats:
        """Similarity to the last pose, carried to where somebody was expected; NaN where not known."""
        then = kalman.to_places(self.table.anchor_boxes[self.rows])
        points = pose.carried(self.table.anchor_points[self.rows], then, self.table.mean[self.rows, 0])
        return self._similarity(points, self.expected)

    @cached_property
    def pose_back(self) -> Floats:
        """Similarity to the last pose where it was."""
        return self._similarity(self.table.anchor_points[self.rows], self.table.boxes)

    def expected_again(self, overlap: Floats) -> Floats:
        """How alike with whom was expected there, by an overlap, pose and clothes."""
        return self._vote(overlap, self.pose_expected)

    def back_again(self) -> Floats:
        """How alike with whom was there before."""
        return self._vote(self.back, self.pose_back)

    def _vote(self, overlap: Floats, pose_likeness: Floats) -> Floats:
        """The mean of an overlap and of what is known beside it, the likeness of pose and of clothes."""
        total, count = overlap.copy(), np.ones(len(overlap))
        for likeness in (pose_likeness, self.color):
            is_known = ~np.isnan(likeness)
            total[is_known] += likeness[is_known]
            count += is_known
        mean: Floats = total / count
        return mean

    def _similarity(self, points: Floats, boxes: Floats) -> Floats:
        """That of poses (P, K, 2) of the rows, whose boxes are (M, 4), to those of the detections."""
        seen, rows, columns = self.seen, self.rows, self.columns
        if self.table.anchor_scores.shape[1] != seen.joints.shape[1] or not seen.joints.shape[1]:
            return np.full(len(rows), np.nan)
        then = self.table.anchor_scores[rows] >= seen.min_joint_score
        area = np.sqrt(areas(boxes[rows]) * areas(seen.boxes[columns]))
        return pose.similarity(points, then, seen.points[columns], seen.joints[columns], area)


def _within(boxes: Floats, edges: tuple[float, float, float, float]) -> Floats:
    """What of the boxes (M, 4) lies within `edges`, xyxy; of those outside a box without area."""
    left, top, right, bottom = edges
    return np.clip(boxes, [left, top, left, top], [right, bottom, right, bottom])
