"""The tracker on a sequence with ground truth (MOT15 TUD-Campus, 71 frames at 25 a second, eight people)."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.mot import MotRow, read_results, read_sequence, replay, rows_of, score
from tracker.options import TrackerOptions
from tracker.tracker import PersonTracker

pytestmark = pytest.mark.assets


def scored(assets: Path, every: int = 1, options: TrackerOptions | None = None) -> MotRow:
    sequence = read_sequence(assets / "gt" / "mot15" / "TUD-Campus")
    frames = range(1, 72, every)
    (row,) = score({"tud": (sequence, frames, rows_of(replay(sequence, PersonTracker(options), frames)))}, "det")
    return row


def test_the_reference_result_has_its_published_score(assets: Path) -> None:
    sequence = read_sequence(assets / "gt" / "mot15" / "TUD-Campus")
    frames = range(1, 72)
    rows = read_results(sequence.folder / "reference_results.txt", frames)
    (row,) = score({"tud": (sequence, frames, rows)}, "reference")
    assert row.mota == pytest.approx(0.526, abs=5e-4)
    assert row.idf1 == pytest.approx(0.558, abs=5e-4)


@pytest.mark.parametrize(
    ("every", "mota", "idf1", "switches"),
    [
        (1, 0.60, 0.73, 3),  # measured 0.613, 0.742, 3
        (2, 0.62, 0.74, 5),  # 0.637, 0.757, 5
        (3, 0.56, 0.67, 9),  # 0.575, 0.682, 9
        (5, 0.54, 0.70, 1),  # 0.560, 0.722, 0: five frames a second
    ],
)
def test_people_of_a_street_are_followed_as_well_as_measured(
    assets: Path, every: int, mota: float, idf1: float, switches: int
) -> None:
    result = scored(assets, every)
    assert result.mota >= mota
    assert result.idf1 >= idf1
    assert result.switches <= switches


@pytest.mark.parametrize(
    "options",
    [
        {"high_iou": 0.1},
        {"high_iou": 0.25},
        {"recover_margin": 0.15},
        {"recover_margin": 0.5},
        {"motion_s": 1.0},
        {"motion_s": 3.0},
        {"reentry_s": 3.0},
        {"recover_iou": 0.35},
        {"recover_iou": 0.2},
        {"low_iou": 0.5},
    ],
)
def test_the_defaults_stand_on_no_edge(assets: Path, options: dict[str, float]) -> None:
    result = scored(assets, options=TrackerOptions(**options))
    assert result.mota >= 0.58
    assert result.idf1 >= 0.68
    assert result.switches <= 4
