"""What the tracker believes, and for how long."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrackerOptions:
    """Scores, overlaps and likenesses in [0, 1], times in seconds of media time.

    Detections from `high_score` are matched with everybody, those from `low_score` only with people seen in the frame
    before, the rest is ignored. An unmatched one from `new_score` may be somebody new: confirmed at once in the first
    frame, later on the second sighting that is at least `confirm_after_s` after the first.

    Somebody not seen is taken to go on as before for `motion_s`, and is known again, under the same id, where they were
    seen last for `reentry_s`; after that whoever comes is somebody new.

    `high_iou` and `low_iou` are the least overlaps of a box with where somebody was expected. Boxes grown by
    `recover_margin` of their size on every side find those who moved as nobody expected, from an overlap of
    `recover_iou`, and newcomers, whose speed is not known yet, from `new_iou`. For a re-entry the box must overlap the
    last one by `reentry_iou`, or by less, `reentry_seen_iou`, where the colours of the clothes can be compared; these
    must then be alike by `same_color`, and all together by `same_person`.

    Of a pose the joints from `min_joint_score` count; with a mean score under `min_pose_score` it is none, and two
    from a similarity of `same_pose` are one.
    """

    high_score: float = 0.4
    low_score: float = 0.2
    new_score: float = 0.5
    confirm_after_s: float = 0.1
    motion_s: float = 1.5
    reentry_s: float = 5.0
    high_iou: float = 0.3
    low_iou: float = 0.3
    recover_margin: float = 0.3
    recover_iou: float = 0.3
    new_iou: float = 0.3
    reentry_iou: float = 0.4
    reentry_seen_iou: float = 0.3
    same_color: float = 0.2
    same_person: float = 0.4
    min_joint_score: float = 0.3
    min_pose_score: float = 0.2
    same_pose: float = 0.8

    def __post_init__(self) -> None:
        scores = (self.low_score, self.high_score, self.new_score)
        if not 0 <= self.low_score <= self.high_score <= self.new_score <= 1:
            raise ValueError(f"low_score, high_score and new_score must rise within 0 and 1, got {scores}")
        if not 0 <= self.motion_s <= self.reentry_s:
            raise ValueError(f"motion_s must be between 0 and reentry_s, got {self.motion_s} and {self.reentry_s}")
