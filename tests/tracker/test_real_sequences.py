"""The tracker on a sequence with ground truth (MOT15 TUD-Campus, 71 frames at 25 a second, eight people).

The scores are those of CLEAR MOT (Bernardin, Stiefelhagen 2008) and IDF1 (Ristani et al. 2016), at an overlap of 0.5.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from tracker.iou import iou
from tracker.tracker import PersonTracker, TrackerOptions

FPS = 25
LEAST_IOU = 0.5

Boxes = tuple[np.ndarray, np.ndarray]
"""Ids (M,), or scores, and boxes (M, 4) xyxy of one frame."""

NOBODY: Boxes = (np.zeros(0, int), np.zeros((0, 4)))


@dataclass(frozen=True)
class Score:
    mota: float
    idf1: float
    switches: int


def score(truth: Mapping[int, Boxes], found: Mapping[int, Boxes]) -> Score:
    """MOTA, IDF1 and the number of identity switches of what was found against the truth, frame by frame."""
    last: dict[int, int] = {}
    together: Counter[tuple[int, int]] = Counter()
    of_truth: Counter[int] = Counter()
    of_found: Counter[int] = Counter()
    hits = switches = 0
    for frame in sorted(truth.keys() | found.keys()):
        (people, there), (ids, here) = truth.get(frame, NOBODY), found.get(frame, NOBODY)
        overlap = iou(there, here)
        near = overlap >= LEAST_IOU
        of_truth.update(people.tolist())
        of_found.update(ids.tolist())
        together.update((int(people[i]), int(ids[j])) for i, j in np.argwhere(near))
        kept = np.array([last.get(int(person), -1) for person in people])[:, None] == ids
        # Pairs that lasted come before all others, and more pairs before better ones.
        worth = near * (1000.0 * (kept + 1) + overlap)
        for i, j in zip(*linear_sum_assignment(-worth), strict=True):
            if near[i, j]:
                hits += 1
                switches += last.get(int(people[i]), ids[j]) != ids[j]
                last[int(people[i])] = int(ids[j])
    errors = (of_truth.total() - hits) + (of_found.total() - hits) + switches
    shared = np.array([[together[person, identity] for identity in of_found] for person in of_truth])
    shared = shared.reshape(len(of_truth), len(of_found))
    identified = int(shared[linear_sum_assignment(-shared)].sum())
    return Score(1 - errors / of_truth.total(), 2 * identified / (of_truth.total() + of_found.total()), int(switches))


def read(path: Path, column: int) -> dict[int, Boxes]:
    """The boxes of a MOTChallenge file by frame, with what stands in `column`: 1 the ids, 6 the confidences."""
    rows = np.loadtxt(path, delimiter=",", ndmin=2)
    boxes = np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1)
    frames = {int(frame): rows[:, 0] == frame for frame in np.unique(rows[:, 0])}
    return {
        frame: (rows[own, column].astype(int if column == 1 else np.float32), boxes[own])
        for frame, own in frames.items()
    }


def replay(detections: Mapping[int, Boxes], every: int = 1, options: TrackerOptions | None = None) -> dict[int, Boxes]:
    tracker, found = PersonTracker(options), {}
    for frame in range(1, 72, every):
        scores, boxes = detections.get(frame, NOBODY)
        tracks = tracker.update(boxes.astype(np.float32), scores.astype(np.float32), frame / FPS)
        found[frame] = tracks.ids, tracks.boxes.astype(float)
    return found


def people(*rows: tuple[int, float]) -> Boxes:
    """Ids and 10 x 20 boxes at x, for the metric's own tests."""
    boxes = np.array([[x, 0, x + 10, 20] for _, x in rows], float).reshape(-1, 4)
    return np.array([identity for identity, _ in rows], int), boxes


def test_the_metric_on_hand_worked_frames() -> None:
    truth = {frame: people((1, 0), (2, 100)) for frame in range(4)}
    assert score(truth, truth) == Score(1.0, 1.0, 0)
    assert score(truth, {}) == Score(0.0, 0.0, 0)
    # Person 2 changes name after one frame: one switch in eight; identified are 4 and 3 of 8 on both sides.
    renamed = {frame: people((7, 0), (8 if frame == 0 else 9, 100)) for frame in range(4)}
    assert score(truth, renamed) == Score(1 - 1 / 8, 7 / 8, 1)
    # One miss, and one box of nobody.
    faulty = truth | {0: people((1, 0)), 3: people((1, 0), (2, 100), (3, 300))}
    assert score(truth, faulty) == Score(1 - 2 / 8, 2 * 7 / 16, 0)
    # A pair that lasts is kept though another fits better.
    close = {0: people((1, 0)), 1: people((1, 0))}
    assert score(close, {0: people((5, 0)), 1: people((5, 3), (6, 0))}).switches == 0


@pytest.mark.assets
def test_the_metric_gives_the_reference_result_its_published_score(assets: Path) -> None:
    folder = assets / "gt" / "mot15" / "TUD-Campus"
    result = score(read(folder / "gt" / "gt.txt", 1), read(folder / "reference_results.txt", 1))
    assert result.mota == pytest.approx(0.526, abs=5e-4)
    assert result.idf1 == pytest.approx(0.558, abs=5e-4)


@pytest.mark.assets
@pytest.mark.parametrize(
    ("every", "mota", "idf1", "switches"),
    [
        (1, 0.59, 0.70, 3),  # measured 0.607, 0.707, 3
        (2, 0.60, 0.69, 5),  # 0.626, 0.708, 5
        (3, 0.55, 0.67, 7),  # 0.567, 0.697, 7
        (5, 0.46, 0.68, 1),  # 0.480, 0.701, 1: five frames a second
    ],
)
def test_people_of_a_street_are_followed_as_well_as_measured(
    assets: Path, every: int, mota: float, idf1: float, switches: int
) -> None:
    folder = assets / "gt" / "mot15" / "TUD-Campus"
    truth = {frame: own for frame, own in read(folder / "gt" / "gt.txt", 1).items() if frame % every == 1 % every}
    result = score(truth, replay(read(folder / "det" / "det.txt", 6), every))
    assert result.mota >= mota
    assert result.idf1 >= idf1
    assert result.switches <= switches


@pytest.mark.assets
@pytest.mark.parametrize(
    "options",
    [
        {"high_iou": 0.1},
        {"high_iou": 0.3},
        {"recover_margin": 0.15},
        {"recover_margin": 0.5},
        {"memory_s": 1.0},
        {"memory_s": 3.0},
        {"low_iou": 0.5},
    ],
)
def test_the_defaults_stand_on_no_edge(assets: Path, options: dict[str, float]) -> None:
    folder = assets / "gt" / "mot15" / "TUD-Campus"
    found = replay(read(folder / "det" / "det.txt", 6), options=TrackerOptions(**options))
    result = score(read(folder / "gt" / "gt.txt", 1), found)
    assert result.mota >= 0.58
    assert result.idf1 >= 0.68
    assert result.switches <= 4
