"""People followed through time: identities, lives, gaps and crossings."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from tracker.iou import iou
from tracker.options import TrackerOptions
from tracker.results import Tracks
from tracker.tracker import PersonTracker

RATE = 30.0
NOBODY: tuple[np.ndarray, np.ndarray] = (np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


def person(x: float, y: float = 100.0, height: float = 100.0) -> tuple[float, float, float, float]:
    """The box of somebody whose middle is at (x, y)."""
    return (x - 0.2 * height, y - 0.5 * height, x + 0.2 * height, y + 0.5 * height)


def found(*boxes: tuple[float, float, float, float], score: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
    return np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), score, np.float32)


def follow(
    tracker: PersonTracker, xs: Iterable[float | None], rate: float = RATE, begin_s: float = 0.0
) -> list[Tracks]:
    """Update with one person at each x, with nobody where it is None."""
    return [
        tracker.update(*(NOBODY if x is None else found(person(x))), begin_s + step / rate) for step, x in enumerate(xs)
    ]


def ids_of(results: Iterable[Tracks]) -> list[list[int]]:
    return [tracks.ids.tolist() for tracks in results]


def middles(tracks: Tracks) -> dict[int, float]:
    return {int(i): float(box[0] + box[2]) / 2 for i, box in zip(tracks.ids, tracks.boxes, strict=True)}


def test_the_people_of_the_first_frame_are_confirmed_at_once_with_ids_from_one() -> None:
    boxes, scores = found(person(100), person(300), person(500))
    tracks = PersonTracker().update(boxes, scores, 7.0)
    assert tracks.ids.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(tracks.boxes, boxes)
    np.testing.assert_array_equal(tracks.scores, scores)
    assert (tracks.ids.dtype, tracks.boxes.dtype, tracks.scores.dtype) == (np.int64, np.float32, np.float32)


def test_each_tracker_counts_for_itself() -> None:
    first, second = PersonTracker(), PersonTracker()
    assert ids_of(follow(first, [100])) == ids_of(follow(second, [100])) == [[1]]


def test_empty_frames_are_empty_and_are_a_first_frame_too() -> None:
    tracker = PersonTracker()
    results = follow(tracker, [None, None, 100, 100])
    assert ids_of(results) == [[], [], [], []]
    assert results[0].boxes.shape == (0, 4)
    assert results[0].scores.shape == (0,)


@pytest.mark.parametrize(("rate", "wait"), [(60, 6), (30, 3), (10, 1), (5, 1), (1, 1)])
def test_a_newcomer_is_confirmed_after_two_sightings_and_a_tenth_of_a_second(rate: float, wait: int) -> None:
    tracker = PersonTracker()
    results = follow(tracker, [None] + [100.0] * 10, rate)
    assert ids_of(results) == [[]] * (1 + wait) + [[1]] * (10 - wait)


def test_a_false_start_takes_no_id() -> None:
    tracker = PersonTracker()
    follow(tracker, [None, 100, 100, None])
    assert ids_of(follow(tracker, [500] * 5, begin_s=1.0))[-1] == [1]


@pytest.mark.parametrize(("score", "begins"), [(0.49, False), (0.5, True)])
def test_only_good_detections_begin_somebody(score: float, begins: bool) -> None:
    tracks = PersonTracker().update(*found(person(100), score=score), 0.0)
    assert len(tracks.ids) == begins


def test_low_scores_keep_somebody_but_find_nobody_again() -> None:
    tracker = PersonTracker()
    tracker.update(*found(person(100)), 0.0)
    low = [tracker.update(*found(person(100), score=0.25), (1 + step) / RATE) for step in range(5)]
    assert ids_of(low) == [[1]] * 5
    assert low[-1].scores.tolist() == pytest.approx([0.25])
    assert ids_of([tracker.update(*NOBODY, 6 / RATE)]) == [[]]
    assert ids_of([tracker.update(*found(person(100), score=0.25), 7 / RATE)]) == [[]]
    assert ids_of([tracker.update(*found(person(100), score=0.4), 8 / RATE)]) == [[1]]


def test_scores_under_the_low_one_are_nothing() -> None:
    tracker = PersonTracker()
    tracker.update(*found(person(100)), 0.0)
    assert ids_of([tracker.update(*found(person(100), score=0.19), 1 / RATE)]) == [[]]


@pytest.mark.parametrize(("off", "taken"), [(2, 102), (12, 100)])
def test_a_high_score_is_preferred_to_a_little_nearer_low_one(off: float, taken: float) -> None:
    tracker = PersonTracker()
    tracker.update(*found(person(100)), 0.0)
    boxes, _ = found(person(100), person(100 + off))
    tracks = tracker.update(boxes, np.array([0.3, 0.8], np.float32), 1 / RATE)
    assert middles(tracks) == {1: taken}


def test_ids_are_given_in_order_and_never_again() -> None:
    tracker, ids = PersonTracker(), []
    for visit in range(4):
        ids += follow(tracker, [100] * 5, begin_s=10.0 * visit)[-1].ids.tolist()
        follow(tracker, [None], begin_s=10.0 * visit + 5)
    assert ids == [1, 2, 3, 4]


@pytest.mark.parametrize("rate", [5, 10, 30, 60])
def test_people_who_cross_keep_their_ids(rate: int) -> None:
    """Two walk past each other at a height a second, one a little nearer to the camera."""
    tracker = PersonTracker()
    for step in range(4 * rate + 1):
        left, right = 100 + 100 * step / rate, 500 - 100 * step / rate
        tracks = tracker.update(*found(person(left, 100), person(right, 110)), step / rate)
    assert middles(tracks) == {1: 500, 2: 100}


def test_somebody_hidden_behind_another_comes_out_with_the_same_id() -> None:
    tracker, rate = PersonTracker(), 30
    for step in range(3 * rate + 1):
        walker = 100 + 150 * step / rate
        hidden = abs(walker - 325) < 40
        seen = [person(325, height=120)] if hidden else [person(325, height=120), person(walker)]
        tracks = tracker.update(*found(*seen), step / rate)
        assert len(tracks.ids) == len(seen)
    assert middles(tracks) == {1: 325, 2: 550}


@pytest.mark.parametrize("seed", range(3))
def test_dropped_frames_change_nothing_but_the_gaps(seed: int) -> None:
    """Three people on their ways at 30 frames a second, half of them dropped by chance."""
    rng, tracker = np.random.default_rng(seed), PersonTracker()
    for step in range(150):
        if rng.random() < 0.5:
            continue
        t = step / RATE
        xs = (100 + 80 * t, 700 - 60 * t, 400 + 40 * np.sin(3 * t))
        ys = (100, 250, 400)
        tracks = tracker.update(*found(*(person(x, y) for x, y in zip(xs, ys, strict=True))), t)
        assert middles(tracks) == pytest.approx(dict(enumerate(xs, start=1)), abs=1e-3)


def test_times_may_stand_still_but_not_go_back() -> None:
    tracker = PersonTracker()
    assert ids_of(follow(tracker, [100, 100], rate=1e9, begin_s=1.0)) == [[1], [1]]
    tracker.update(*found(person(100)), 2.0)
    assert ids_of([tracker.update(*found(person(100)), 2.0)]) == [[1]]
    with pytest.raises(ValueError, match=r"time_s must not go back, got 1\.5 after 2\.0"):
        tracker.update(*NOBODY, 1.5)
    with pytest.raises(ValueError, match="time_s must not go back, got nan"):
        tracker.coast(float("nan"))


def test_what_was_returned_is_the_callers() -> None:
    tracker = PersonTracker()
    tracks = tracker.update(*found(person(100)), 0.0)
    tracks.boxes[:] = 0
    tracks.ids[:] = 9
    assert middles(tracker.update(*found(person(101)), 1 / RATE)) == {1: 101}


def test_overlapping_people_are_two() -> None:
    tracker = PersonTracker()
    near = found(person(100), person(112))
    assert iou(*near[0]) > 0.5
    for step in range(10):
        tracks = tracker.update(*near, step / RATE)
    assert middles(tracks) == pytest.approx({1: 100, 2: 112})


@pytest.mark.parametrize("gap_s", [5 / 30, 0.2, 0.5, 1.0])
def test_at_few_detections_a_second_the_second_sighting_confirms(gap_s: float) -> None:
    assert ids_of(follow(PersonTracker(), [None, 100, 110], 1 / gap_s)) == [[], [], [1]]


def test_a_newcomer_who_walks_is_confirmed_at_five_frames_a_second() -> None:
    assert ids_of(follow(PersonTracker(), [None, 100, 124], rate=5)) == [[], [], [1]]


def test_a_tenth_of_a_second_is_over_though_the_sum_of_ticks_falls_short() -> None:
    tracker = PersonTracker()
    assert 0.3 - 0.2 < 0.1
    tracker.update(*NOBODY, 0.1)
    assert ids_of([tracker.update(*found(person(100)), time_s) for time_s in (0.2, 0.3)]) == [[], [1]]


def test_one_sighting_is_never_enough() -> None:
    tracker = PersonTracker(TrackerOptions(confirm_after_s=0))
    assert ids_of(follow(tracker, [None, 100, 100])) == [[], [], [1]]


@pytest.mark.parametrize(("hidden_s", "wanted"), [(0.5, 1), (1.0, 1), (2.0, 1), (3.8, 1), (5.2, 2)])
@pytest.mark.parametrize("rate", [10, 30])
def test_a_walker_hidden_for_a_moment_comes_back_with_their_id(hidden_s: float, wanted: int, rate: int) -> None:
    tracker = PersonTracker()
    for step in range(8 * rate):
        hidden = 1.0 <= step / rate < 1.0 + hidden_s
        seen = NOBODY if hidden else found(person(100 + 90 * step / rate))
        tracks = tracker.update(*seen, step / rate)
        assert not (hidden and len(tracks.ids))
    assert tracks.ids.tolist() == [wanted]


def test_false_flashes_use_up_no_ids() -> None:
    tracker = PersonTracker()
    tracker.update(*found(person(100)), 0.0)
    for step in range(1, 60):
        flash = [person(300 + 120 * (step % 4))] if step % 2 else []
        assert tracker.update(*found(person(100), *flash), step / RATE).ids.tolist() == [1]
    assert ids_of(follow(tracker, [500] * 5, begin_s=2.0))[-1] == [2]


def test_known_people_choose_before_newcomers() -> None:
    tracker = PersonTracker()
    tracker.update(*found(person(100)), 0.0)
    tracker.update(*found(person(100), person(135)), 1 / RATE)
    assert middles(tracker.update(*found(person(132)), 2 / RATE)) == {1: 132}


def test_somebody_who_leaps_aside_is_found_by_the_wider_box() -> None:
    assert ids_of(follow(PersonTracker(), [100, 130])) == [[1], [1]]
    assert ids_of(follow(PersonTracker(TrackerOptions(recover_margin=0)), [100, 130])) == [[1], []]


def test_irregular_time_is_not_mistaken_for_irregular_motion() -> None:
    times = np.cumsum(np.random.default_rng(7).choice([1 / 60, 1 / 30, 0.1, 0.25], 60))
    tracker = PersonTracker()
    for time_s in times:
        tracks = tracker.update(*found(person(100 + 80 * time_s), person(100 + 80 * time_s, 300)), time_s)
        assert tracks.ids.tolist() == [1, 2]


@pytest.mark.parametrize(("boxes", "scores"), [((2, 4), 1), ((4,), 4), ((1, 5), 1)])
def test_boxes_of_another_shape_are_refused(boxes: tuple[int, ...], scores: int) -> None:
    with pytest.raises(ValueError, match=r"boxes must be \(N, 4\) with a score each, got"):
        PersonTracker().update(np.zeros(boxes, np.float32), np.ones(scores, np.float32), 0.0)


@pytest.mark.parametrize("scores", [{"low_score": 0.5}, {"high_score": 0.6}, {"new_score": 1.1}, {"low_score": -0.1}])
def test_scores_that_do_not_rise_are_refused(scores: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must rise within 0 and 1"):
        TrackerOptions(**scores)


def crowd(rng: np.random.Generator, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and scores of up to eight people who come, go, jitter and overlap, among boxes of nobody."""
    here = (np.arange(8) * 37 + step) % 90 < 60
    centres = np.stack([30 * np.arange(8) + 0.8 * step * (np.arange(8) % 3 - 1), np.full(8, 60.0)], axis=1)[here]
    centres = np.concatenate([centres, rng.uniform(-50, 300, (rng.integers(0, 3), 2))])
    centres += rng.normal(0, 3, centres.shape)
    half = rng.uniform(0, 25, centres.shape) * (rng.random((len(centres), 1)) < 0.1) + [15, 40]
    boxes = np.concatenate([centres - half, centres + half], axis=1).astype(np.float32)
    return boxes, rng.beta(3, 1, len(boxes)).astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_comes_ids_are_single_rising_and_never_used_again(seed: int) -> None:
    rng, tracker = np.random.default_rng(seed), PersonTracker()
    time_s, last_s, highest = 0.0, dict[int, float](), 0
    for step in range(150):
        time_s += rng.choice([0.0, 1 / 60, 1 / 30, 0.2, 0.7, 4.0], p=[0.1, 0.3, 0.4, 0.14, 0.05, 0.01])
        if rng.random() < 0.3:
            tracks = tracker.coast(time_s)
        else:
            boxes, scores = crowd(rng, step)
            tracks = tracker.update(boxes, scores, time_s)
            rows = [np.flatnonzero((boxes == box).all(axis=1))[0] for box in tracks.boxes]
            assert len(set(rows)) == len(rows)
            np.testing.assert_array_equal(tracks.scores, scores[rows])
            np.testing.assert_array_equal(tracks.detections, rows)
        ids = tracks.ids.tolist()
        assert ids == sorted(set(ids))
        assert np.isfinite(tracks.boxes).all()
        assert (tracks.boxes[:, 2:] > tracks.boxes[:, :2]).all()
        fresh = [identity for identity in ids if identity not in last_s]
        assert fresh == list(range(highest + 1, highest + 1 + len(fresh)))
        highest += len(fresh)
        # Away for longer than the memory and the longest gap: somebody new.
        assert all(time_s - last_s.get(identity, time_s) < 6 for identity in ids)
        last_s.update(dict.fromkeys(ids, time_s))
        some = rng.permutation(tracks.ids)[: rng.integers(0, len(ids) + 1)]
        points = rng.uniform(-50, 400, (len(some), 17, 2)).astype(np.float32)
        tracker.observe(some, points, rng.random((len(some), 17)).astype(np.float32))
    assert highest > 10


def test_somebody_lost_is_not_revived_after_a_stall_longer_than_the_memory() -> None:
    tracker = PersonTracker()
    follow(tracker, [100, 100, None])
    assert tracker.update(*found(person(100)), 10.0).ids.tolist() == []
    assert tracker.update(*found(person(100)), 10.2).ids.tolist() == [2]


@pytest.mark.parametrize(("pause_s", "wanted"), [(1.0, [1]), (4.9, [1]), (5.2, [])])
@pytest.mark.parametrize("is_lost", [True, False])
def test_over_a_pause_of_the_source_people_are_known_within_the_reentry_window(
    pause_s: float, wanted: list[int], is_lost: bool
) -> None:
    tracker = PersonTracker()
    follow(tracker, [100, 100, *([None] if is_lost else [])])
    assert tracker.update(*found(person(100)), 1 / RATE + pause_s).ids.tolist() == wanted


@pytest.mark.parametrize(("away_s", "wanted"), [(3.0, 1), (4.5, 1), (5.5, 2)])
def test_who_stood_still_and_was_hidden_is_known_again_within_the_reentry_window(away_s: float, wanted: int) -> None:
    tracker = PersonTracker()
    follow(tracker, [100] * 10 + [None])
    assert follow(tracker, [104] * 5, begin_s=9 / RATE + away_s)[-1].ids.tolist() == [wanted]


def test_after_a_restart_nobody_is_known_and_no_id_comes_again() -> None:
    tracker = PersonTracker()
    boxes, scores = np.array([[10, 10, 50, 90]], np.float32), np.array([0.9], np.float32)
    assert tracker.update(boxes, scores, 0.0).ids.tolist() == [1]
    tracker.restart()
    assert tracker.coast(0.04).ids.tolist() == []
    assert tracker.update(boxes, scores, 0.08).ids.tolist() == [2]
