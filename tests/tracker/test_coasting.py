"""The tracker between detections, where poses carry the boxes."""

from __future__ import annotations

import numpy as np
import pytest

from tracker.iou import iou
from tracker.results import Tracks
from tracker.tracker import PersonTracker

FPS = 30.0
BODY = np.random.default_rng(11).uniform([-0.2, -0.48], [0.2, 0.48], (17, 2))
"""A skeleton around (0, 0), one high."""


def skeleton(x: float, y: float = 200, height: float = 200) -> np.ndarray:
    """A pose (17, 2) by its centre."""
    return (np.array([x, y]) + height * BODY).astype(np.float32)


def box_of(points: np.ndarray) -> np.ndarray:
    """What a detector sees around a pose: a margin of a tenth of its height."""
    margin = 0.1 * np.ptp(points[:, 1])
    return np.concatenate([points.min(axis=0) - margin, points.max(axis=0) + margin]).astype(np.float32)


def detect(tracker: PersonTracker, time_s: float, *poses: np.ndarray) -> Tracks:
    boxes = np.array([box_of(points) for points in poses], np.float32).reshape(-1, 4)
    tracks = tracker.update(boxes, np.full(len(poses), 0.9, np.float32), time_s)
    whose = iou(tracks.boxes[:, None], boxes).argmax(axis=1) if len(poses) else ()
    observe(tracker, tracks.ids, *(poses[index] for index in whose))
    return tracks


def observe(tracker: PersonTracker, ids: np.ndarray, *poses: np.ndarray, score: float = 0.8) -> None:
    points = np.array(poses, np.float32).reshape(-1, 17, 2)
    tracker.observe(ids, points, np.full(points.shape[:2], score, np.float32))


def agreement(tracks: Tracks, *poses: np.ndarray) -> np.ndarray:
    """Overlap of each box with what a detector would have seen."""
    return iou(tracks.boxes, np.array([box_of(points) for points in poses], np.float32))


def test_before_any_detection_there_is_nobody_to_coast() -> None:
    tracker = PersonTracker()
    tracks = tracker.coast(0.5)
    assert [array.shape for array in (tracks.ids, tracks.boxes, tracks.scores)] == [(0,), (0, 4), (0,)]
    observe(tracker, tracks.ids)
    assert detect(tracker, 0.6, skeleton(100)).ids.tolist() == [1]


@pytest.mark.parametrize("speed", [0.0, 120.0, -400.0])
def test_after_four_coasts_the_boxes_are_where_a_detector_would_see_them(speed: float) -> None:
    tracker = PersonTracker()
    for frame in range(60):
        time_s = frame / FPS
        poses = skeleton(600 + speed * time_s), skeleton(600 - speed * time_s, y=600)
        if frame % 5 == 0:
            tracks = detect(tracker, time_s, *poses)
        else:
            tracks = tracker.coast(time_s)
            # The pose is found in the box as it was coasted; only from the second frame on is the speed known.
            assert (agreement(tracks, *poses) > (0.5 if frame < 5 else 0.9)).all()
            observe(tracker, tracks.ids, *poses)
        assert tracks.ids.tolist() == [1, 2]
    assert (agreement(tracks, *poses) > 0.95).all()


def test_a_body_that_comes_nearer_has_a_box_that_grows() -> None:
    tracker = PersonTracker()
    for frame in range(40):
        pose = skeleton(300, height=200 + 3 * frame)
        if frame % 5 == 0:
            detect(tracker, frame / FPS, pose)
        else:
            tracks = tracker.coast(frame / FPS)
            observe(tracker, tracks.ids, pose)
    assert agreement(tracks, pose) > 0.95


def test_coasted_people_keep_the_score_of_their_detection() -> None:
    tracker = PersonTracker()
    detect(tracker, 0.0, skeleton(300))
    assert tracker.coast(1 / FPS).scores.tolist() == [np.float32(0.9)]


def test_boxes_that_coast_stay_finite_float32_and_right_side_out() -> None:
    tracker = PersonTracker()
    for frame in range(4):
        detect(tracker, frame / FPS, skeleton(300, height=300 - 60 * frame))
    for second in range(1, 60):
        tracks = tracker.coast(float(second))
        assert tracks.boxes.dtype == np.float32
        assert np.isfinite(tracks.boxes).all()
        assert (tracks.boxes[:, 2:] > tracks.boxes[:, :2]).all()


def test_of_two_boxes_on_one_pose_the_one_seen_more_often_stays() -> None:
    tracker = PersonTracker()
    for frame in range(4):
        detect(tracker, frame / FPS, skeleton(600))
    for frame in range(4, 9):
        detect(tracker, frame / FPS, skeleton(300), skeleton(600))
    tracks = tracker.coast(9 / FPS)
    assert tracks.ids.tolist() == [1, 2]
    observe(tracker, tracks.ids, skeleton(600), skeleton(602))
    assert tracker.coast(10 / FPS).ids.tolist() == [1]
    assert detect(tracker, 11 / FPS, skeleton(300), skeleton(600)).ids.tolist() == [1, 2]


def test_of_two_seen_equally_often_the_first_stays() -> None:
    tracker = PersonTracker()
    detect(tracker, 0.0, skeleton(300), skeleton(600))
    tracks = tracker.coast(1 / FPS)
    observe(tracker, tracks.ids[::-1], skeleton(600), skeleton(600))
    assert tracker.coast(2 / FPS).ids.tolist() == [1]


def test_people_side_by_side_are_not_taken_for_one() -> None:
    tracker = PersonTracker()
    detect(tracker, 0.0, skeleton(300), skeleton(340))
    for frame in range(1, 5):
        tracks = tracker.coast(frame / FPS)
        observe(tracker, tracks.ids, skeleton(300), skeleton(340))
    assert tracks.ids.tolist() == [1, 2]


def test_a_pose_that_is_none_loses_its_person_until_the_next_detection() -> None:
    tracker = PersonTracker()
    detect(tracker, 0.0, skeleton(300), skeleton(600))
    tracks = tracker.coast(1 / FPS)
    points = np.array([skeleton(300), skeleton(600)])
    tracker.observe(tracks.ids, points, np.repeat(np.float32([[0.05], [0.8]]), 17, axis=1))
    assert tracker.coast(2 / FPS).ids.tolist() == [2]
    assert detect(tracker, 3 / FPS, skeleton(300), skeleton(600)).ids.tolist() == [1, 2]


def test_a_weak_pose_in_a_detected_frame_loses_nobody() -> None:
    tracker = PersonTracker()
    tracks = detect(tracker, 0.0, skeleton(300))
    observe(tracker, tracks.ids, skeleton(300), score=0.05)
    assert tracker.coast(1 / FPS).ids.tolist() == [1]


def test_poses_of_some_in_any_order_move_only_those() -> None:
    tracker = PersonTracker()
    detect(tracker, 0.0, skeleton(200), skeleton(500), skeleton(800))
    before = tracker.coast(1 / FPS)
    observe(tracker, np.array([3, 1]), skeleton(806), skeleton(190))
    after = tracker.coast(1 / FPS)
    np.testing.assert_allclose(after.boxes[:, 0] - before.boxes[:, 0], [-10, 0, 6], atol=1e-3)


def test_without_poses_people_go_on_at_their_speed() -> None:
    tracker = PersonTracker()
    for frame in range(30):
        tracker.update(box_of(skeleton(300 + 3 * frame))[None], np.ones(1, np.float32), frame / FPS)
    for frame in range(30, 36):
        tracks = tracker.coast(frame / FPS)
    np.testing.assert_allclose(tracks.boxes[0], box_of(skeleton(300 + 3 * 35)), atol=1)


@pytest.mark.parametrize(("every", "confirmed"), [(3, 6), (5, 10)])
def test_newcomers_wait_for_their_second_detection_through_coasted_frames(every: int, confirmed: int) -> None:
    tracker = PersonTracker()
    detect(tracker, 0.0, skeleton(200))
    for frame in range(1, 12):
        if frame % every:
            tracks = tracker.coast(frame / FPS)
        else:
            tracks = detect(tracker, frame / FPS, skeleton(200), skeleton(600))
        assert tracks.ids.tolist() == ([1] if frame < confirmed else [1, 2])


@pytest.mark.parametrize("stranger", [0, 2, 4, 99, -1])
def test_an_id_that_is_not_in_the_frame_is_refused(stranger: int) -> None:
    tracker = PersonTracker()
    detect(tracker, 0.0, skeleton(200), skeleton(500), skeleton(800))
    detect(tracker, 1 / FPS, skeleton(200), skeleton(800))  # 2 is lost
    with pytest.raises(ValueError, match=rf"ids must be of people of this frame, \[1, 3\], got \[{stranger}\]"):
        observe(tracker, np.array([1, stranger]), skeleton(200), skeleton(500))


@pytest.mark.parametrize(("seconds", "wanted"), [(1.0, [1, 2]), (4.5, [1, 2]), (5.5, [1, 3])])
def test_the_lost_are_remembered_through_coasts_and_given_up_in_time(seconds: float, wanted: list[int]) -> None:
    tracker = PersonTracker()
    detect(tracker, 0.0, skeleton(200), skeleton(800))
    for frame in range(1, int(seconds * FPS)):
        if frame % 5 == 1:
            tracks = detect(tracker, frame / FPS, skeleton(200))
        else:
            tracks = tracker.coast(frame / FPS)
            observe(tracker, tracks.ids, skeleton(200))
        assert tracks.ids.tolist() == [1]
    detect(tracker, seconds, skeleton(200), skeleton(800))
    assert detect(tracker, seconds + 0.2, skeleton(200), skeleton(800)).ids.tolist() == wanted


@pytest.mark.parametrize("shape", [(2, 17, 2), (1, 16, 2), (1, 17, 3)])
def test_poses_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    tracker = PersonTracker()
    tracks = detect(tracker, 0.0, skeleton(300))
    with pytest.raises(ValueError, match=r"keypoints must be \(1, 17, 2\), got"):
        tracker.observe(tracks.ids, np.zeros(shape, np.float32), np.ones((1, 17), np.float32))


def test_another_skeleton_begins_afresh() -> None:
    tracker = PersonTracker()
    detect(tracker, 0.0, skeleton(300))
    tracks = tracker.coast(1 / FPS)
    tracker.observe(tracks.ids, np.zeros((1, 26, 2), np.float32), np.ones((1, 26), np.float32))
    assert tracker.coast(2 / FPS).ids.tolist() == [1]


def carried(tracker: PersonTracker, frames: int = 3, score: float = 0.8, *poses: np.ndarray) -> bool:
    """Detect the poses in three frames, carry them through some more; whether the tracker is sure then."""
    for frame in range(3):
        detect(tracker, frame / FPS, *poses)
    for frame in range(3, 3 + frames):
        tracks = tracker.coast(frame / FPS)
        observe(tracker, tracks.ids, *poses, score=score)
    return tracker.is_sure


def test_people_apart_who_stand_are_sure() -> None:
    assert carried(PersonTracker(), 3, 0.8, skeleton(300), skeleton(600))
    assert PersonTracker().is_sure


def test_people_before_each_other_are_not_sure() -> None:
    assert not carried(PersonTracker(), 3, 0.8, skeleton(300), skeleton(340))


def test_a_weaker_pose_is_not_sure_until_the_next_detection() -> None:
    tracker = PersonTracker()
    assert not carried(tracker, 3, 0.5, skeleton(300))
    detect(tracker, 1.0, skeleton(300))
    assert tracker.is_sure


def test_who_has_come_or_is_missed_makes_unsure() -> None:
    tracker = PersonTracker()
    assert carried(tracker, 3, 0.8, skeleton(300))
    detect(tracker, 0.3, skeleton(300), skeleton(600))
    assert not tracker.is_sure
    for time_s in (0.4, 0.5):
        detect(tracker, time_s, skeleton(300), skeleton(600))
    assert tracker.is_sure
    detect(tracker, 0.6, skeleton(300))
    assert not tracker.is_sure
    detect(tracker, 2.1, skeleton(300))
    assert tracker.is_sure  # who was missed is no longer waited for at any moment


@pytest.mark.parametrize(("speed", "sure"), [(100, True), (300, False)])
def test_who_runs_is_not_sure(speed: float, sure: bool) -> None:
    tracker = PersonTracker()
    for frame in range(30):
        detect(tracker, frame / FPS, skeleton(300 + speed * frame / FPS))
    assert tracker.is_sure == sure


def test_the_lost_are_known_again_where_they_were_though_others_were_carried_on() -> None:
    tracker = PersonTracker()
    for frame in range(10):
        detect(tracker, frame / FPS, skeleton(300 + 4 * frame), skeleton(900))
    last = 9 / FPS
    detect(tracker, last + 1 / FPS, skeleton(900))  # 1 stops behind something
    for frame in range(2, 70):
        tracks = tracker.coast(last + frame / FPS)
        observe(tracker, tracks.ids, skeleton(900))
    assert detect(tracker, last + 71 / FPS, skeleton(336), skeleton(900)).ids.tolist() == [1, 2]
