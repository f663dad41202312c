"""Frames in, results out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fakes import FakeDetector, FakeEstimator, FakeSmoother, FakeTracker, make_frame

from stream.meter import Meter
from stream.pipeline import Pipeline
from stream.smooth import OneEuroSmoother
from tracker.results import Look, Tracks
from tracker.tracker import PersonTracker


class Stages:
    """A pipeline of fakes and the trackers it made."""

    def __init__(self, people: int = 1, smooth: bool = False, **options: Any) -> None:
        self.detector = FakeDetector(people=people)
        self.estimator = FakeEstimator()
        self.trackers: list[FakeTracker] = []
        self.meter = Meter()
        smoother = FakeSmoother() if smooth else None
        self.pipeline = Pipeline(
            self.detector, self.estimator, self._new_tracker, lambda _: smoother, self.meter, **options
        )

    def _new_tracker(self) -> FakeTracker:
        self.trackers.append(FakeTracker())
        return self.trackers[-1]


def test_a_frame_becomes_a_result_with_rows_that_belong_together() -> None:
    frame = make_frame()
    (result,) = Stages(people=2).pipeline.step([frame])
    assert result.frame is frame
    assert result.tracks.ids.tolist() == [1, 2]
    assert result.poses.keypoints[:, 0, 0].tolist() == [12, 42]
    assert result.poses.keypoints.shape == (2, 2, 2)


def test_no_frames_give_no_results() -> None:
    stages = Stages()
    assert stages.pipeline.step([]) == []
    assert stages.detector.calls == []


def test_people_of_all_sources_are_estimated_in_one_call_and_each_source_has_its_tracker() -> None:
    stages = Stages(people=2)
    stages.pipeline.step([make_frame(source_id="a"), make_frame(source_id="b")])
    stages.pipeline.step([make_frame(1, source_id="b")])
    assert stages.detector.calls == [2, 1]
    assert stages.estimator.calls == [[2, 2], [2]]
    assert [tracker.calls for tracker in stages.trackers] == [["update 0.00"], ["update 0.00", "update 0.04"]]


def test_detection_every_third_step_whatever_the_frame_index() -> None:
    stages = Stages(detect_every=3)
    for index in (0, 2, 5, 7, 11, 12, 30):
        stages.pipeline.step([make_frame(index)])
    assert len(stages.detector.calls) == 3
    assert [call.split()[0] for call in stages.trackers[0].calls] == ["update", "coast", "coast"] * 2 + ["update"]


def test_another_interval_of_detection_holds_from_the_next_detection_on() -> None:
    stages = Stages()
    intervals = [1, 1, 3, 3, 3, 3, 2, 2, 2, 1, 1]
    for index, every in enumerate(intervals):
        stages.pipeline.detect_every = every
        stages.pipeline.step([make_frame(index)])
    calls = "".join(call[0] for call in stages.trackers[0].calls)
    assert calls == "uuuccuccucu"


@pytest.mark.parametrize("every", [0, -1])
def test_an_interval_below_one_is_refused_in_mid_run_too(every: int) -> None:
    stages = Stages()
    with pytest.raises(ValueError, match=f"detect_every must be 1 or more, got {every}"):
        stages.pipeline.detect_every = every


def test_the_tracker_sees_the_poses_as_estimated_and_the_result_has_them_smoothed() -> None:
    stages = Stages(smooth=True)
    (result,) = stages.pipeline.step([make_frame()])
    (look,) = stages.trackers[0].looks
    assert look is not None
    assert look.image is result.frame.image
    assert look.keypoints[0].tolist() == [[12, 4], [12, 40]]
    assert stages.trackers[0].observed == []
    assert result.poses.keypoints[0].tolist() == [[13, 4], [13, 40]]


def test_still_pictures_pass_tracker_and_smoother_by() -> None:
    stages = Stages(people=2, smooth=True)
    (result,) = stages.pipeline.step([make_frame(still=True)])
    assert stages.trackers == []
    assert result.tracks.ids.tolist() == [0, 0]
    assert result.poses.keypoints[0].tolist() == [[12, 4], [12, 40]]


def test_people_of_a_still_under_the_confidence_are_left_out() -> None:
    stages = Stages(people=2, confidence=0.95)
    (result,) = stages.pipeline.step([make_frame(still=True)])
    assert result.tracks.boxes.shape == (0, 4)


@pytest.mark.parametrize("still", [True, False])
def test_no_more_than_max_people(still: bool) -> None:
    (result,) = Stages(people=5, max_people=2).pipeline.step([make_frame(still=still)])
    assert len(result.tracks.ids) == 2
    assert result.tracks.boxes[:, 0].tolist() == [4, 34]


def test_of_too_many_those_followed_longest_stay() -> None:
    class Newest(FakeTracker):
        """Lists the newest first."""

        def update(self, boxes: np.ndarray, scores: np.ndarray, time_s: float, look: Look | None) -> Any:
            tracks = super().update(boxes, scores, time_s, look)
            return replace(tracks, ids=tracks.ids[::-1].copy())

    pipeline = Pipeline(FakeDetector(people=3), FakeEstimator(), Newest, lambda _: None, Meter(), max_people=1)
    (result,) = pipeline.step([make_frame()])
    assert result.tracks.ids.tolist() == [1]
    assert result.tracks.boxes[0, 0] == 64


def test_nobody_is_an_empty_result() -> None:
    (result,) = Stages(people=0).pipeline.step([make_frame()])
    assert result.tracks.boxes.shape == (0, 4)
    assert result.poses.keypoints.shape == (0, 2, 2)


def test_every_stage_is_timed() -> None:
    stages = Stages()
    stages.pipeline.step([make_frame()])
    assert [stage.name for stage in stages.meter.stages()] == ["detect", "pose", "track", "smooth"]


def test_detect_every_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="detect_every must be 1 or more, got 0"):
        Stages(detect_every=0)


def test_frames_of_one_source_go_through_the_networks_together_and_through_the_tracker_in_order() -> None:
    stages = Stages(people=2)
    results = stages.pipeline.step([make_frame(index) for index in range(3)])
    assert [result.frame.index for result in results] == [0, 1, 2]
    assert stages.detector.calls == [3]
    assert stages.estimator.calls == [[2, 2, 2]]
    assert stages.trackers[0].calls == ["update 0.00", "update 0.04", "update 0.08"]
    assert [len(look.keypoints) for look in stages.trackers[0].looks if look is not None] == [2, 2, 2]


def test_frames_of_one_source_come_singly_where_poses_guide_the_next() -> None:
    with pytest.raises(ValueError, match="a step takes one frame of each source"):
        Stages(detect_every=2).pipeline.step([make_frame(0), make_frame(1)])


def test_another_size_is_another_scene_which_is_detected_at_once() -> None:
    stages = Stages(detect_every=3)
    for index, size in enumerate([(48, 64), (48, 64), (96, 128), (96, 128)]):
        stages.pipeline.step([make_frame(index, size=size)])
    assert stages.trackers[0].calls == ["update 0.00", "coast 0.04", "restart", "update 0.08", "coast 0.12"]


def test_people_are_detected_at_once_after_a_pause() -> None:
    stages = Stages(detect_every=3)
    for index in (0, 25, 51, 52):  # 1.00 s, 1.04 s and 0.04 s apart
        stages.pipeline.step([make_frame(index)])
    assert stages.trackers[0].calls == ["update 0.00", "coast 1.00", "update 2.04", "coast 2.08"]


def test_carried_people_are_posed_where_they_are_thought_to_be_and_shown_to_the_tracker() -> None:
    stages = Stages(people=2, detect_every=2)
    first, second = (stages.pipeline.step([make_frame(index)])[0] for index in range(2))
    assert stages.estimator.calls == [[2], [2]]
    (observed,) = stages.trackers[0].observed
    np.testing.assert_array_equal(observed, second.poses.keypoints)
    np.testing.assert_array_equal(first.poses.keypoints, second.poses.keypoints)


def test_of_too_many_detections_only_those_kept_are_posed() -> None:
    stages = Stages(people=5, max_people=2)
    stages.pipeline.step([make_frame(0), make_frame(1)])
    assert stages.estimator.calls == [[2, 2]]
    assert stages.trackers[0].looks == [None, None]
    assert len(stages.trackers[0].observed) == 1  # of the last frame: the tracker has left the first


def test_poses_are_those_of_the_people_whatever_their_order() -> None:
    class Backwards(FakeTracker):
        """Follows all but the first detection, the last one first."""

        def update(self, boxes: np.ndarray, scores: np.ndarray, time_s: float, look: Look | None) -> Tracks:
            rows = np.arange(len(boxes))[:0:-1].copy()
            return Tracks(rows, boxes[rows], scores[rows], rows)

    pipeline = Pipeline(FakeDetector(people=3), FakeEstimator(), Backwards, lambda _: None, Meter())
    (result,) = pipeline.step([make_frame()])
    assert result.tracks.boxes[:, 0].tolist() == [64, 34]
    assert result.poses.keypoints[:, 0, 0].tolist() == [72, 42]


def test_at_need_people_are_detected_where_the_tracker_is_not_sure_and_twice_a_second() -> None:
    stages = Stages(detects_at_need=True)
    for index in range(30):  # 25 frames a second
        if index == 1:
            stages.trackers[0].sure = [True, True, False, True, False, False]
        stages.pipeline.step([make_frame(index)])
    detected = [index for index, call in enumerate(stages.trackers[0].calls) if call.startswith("update")]
    assert detected == [0, 3, 5, 6, 19]


def test_at_need_detection_keeps_the_interval_of_a_machine_that_is_too_slow() -> None:
    stages = Stages(detects_at_need=True, detect_every=3)
    for index in range(8):
        if index == 1:
            stages.trackers[0].sure = [False] * 9
        stages.pipeline.step([make_frame(index)])
    assert "".join(call[0] for call in stages.trackers[0].calls) == "uccuccuc"


def test_at_need_frames_of_one_source_come_singly() -> None:
    with pytest.raises(ValueError, match="a step takes one frame of each source"):
        Stages(detects_at_need=True).pipeline.step([make_frame(0), make_frame(1)])


@pytest.mark.parametrize(("away", "known"), [(3, True), (6, False)])  # seconds
@pytest.mark.parametrize("every", [1, 3])
def test_after_a_camera_was_away_people_are_who_they_were_within_the_reentry_window(
    away: int, known: bool, every: int
) -> None:
    smoother = OneEuroSmoother()
    stages = Pipeline(
        FakeDetector(people=2), FakeEstimator(), PersonTracker, lambda _: smoother, Meter(), detect_every=every
    )
    for index in (0, 1, 2):
        (before,) = stages.step([make_frame(index)])
    assert before.tracks.ids.tolist() == [1, 2]
    for index in range(12):
        (after,) = stages.step([make_frame(2 + 25 * away + index)])
    assert after.tracks.ids.tolist() == ([1, 2] if known else [3, 4])
