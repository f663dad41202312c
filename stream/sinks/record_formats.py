"""What records look like: JSONL, COCO results, MOTChallenge tracks, CSV."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from stream.angles import ANGLES, joint_angles
from stream.frame import Frame
from stream.pipeline import Result
from stream.sinks.utc import utc_text

PERSON_CATEGORY = 1
"""COCO's number of the category person."""
COCO_JOINT_SCORE = 0.2
"""Joints above it count in the score of a COCO pose (the reference evaluation of HRNet)."""
PIXEL_DIGITS, SCORE_DIGITS, SECOND_DIGITS, DEGREE_DIGITS = 2, 4, 6, 1

UtcOf = Callable[[Frame], int | None]
"""When a frame arrived, in nanoseconds of UTC; None for one that did not arrive at any time of day, as of a file."""

_PICTURE_NUMBER = re.compile(r"(\d+)\D*$")


class RecordFormat(Protocol):
    """Text of records: what stands before the first, for each result, and after the last."""

    def begin(self) -> str: ...

    def rows(self, result: Result) -> str: ...

    def end(self) -> str: ...


class Jsonl:
    """One JSON object per frame and line, valid to the last line after a kill; with `utc` for frames that have one.

    With `least_angle_score` everybody has `angles`, of joints that score as much; null is what is not known.
    """

    def __init__(self, utc_of: UtcOf | None = None, least_angle_score: float | None = None) -> None:
        self._utc_of = utc_of
        self._least_angle_score = least_angle_score

    def begin(self) -> str:
        """Nothing."""
        return ""

    def rows(self, result: Result) -> str:
        """One line."""
        frame = result.frame
        utc = _utc(frame, self._utc_of)
        people = [_person(result, row) for row in range(len(result.tracks.ids))]
        if self._least_angle_score is not None:
            for person, angles in zip(people, _angles(result, self._least_angle_score), strict=True):
                person["angles"] = dict(zip(ANGLES, angles, strict=True))
        record = {
            "source": frame.source_id,
            "frame": frame.index,
            "pts": None if frame.still else frame.pts,
            "time_s": _time(frame),
            **({} if utc is None else {"utc": utc}),
            "people": people,
        }
        return _json(record) + "\n"

    def end(self) -> str:
        """Nothing."""
        return ""


class CocoResults:
    """A COCO key-point results file: a JSON array, written element by element."""

    def __init__(self) -> None:
        self._separator = ""

    def begin(self) -> str:
        """The bracket."""
        return "["

    def rows(self, result: Result) -> str:
        """One element per person."""
        text = ""
        for row in range(len(result.tracks.ids)):
            text += self._separator + "\n" + _json(self._element(result, row))
            self._separator = ","
        return text

    def end(self) -> str:
        """The bracket."""
        return "\n]\n"

    @staticmethod
    def _element(result: Result, row: int) -> dict[str, Any]:
        scores = result.poses.scores[row]
        sure = scores[scores > COCO_JOINT_SCORE]
        score = float(result.tracks.scores[row]) * (float(sure.mean()) if len(sure) else 0.0)
        return {
            "image_id": image_id(result.frame),
            "category_id": PERSON_CATEGORY,
            "keypoints": [number for joint in _joints(result, row) for number in joint],
            "score": round(score, SCORE_DIGITS),
        }


class MotChallenge:
    """MOTChallenge tracks: frame,id,left,top,w,h,conf,-1,-1,-1; frames from 1."""

    def begin(self) -> str:
        """Nothing."""
        return ""

    def rows(self, result: Result) -> str:
        """One line per person; ValueError for a still picture, which has no identities."""
        if result.frame.still:
            raise ValueError("MOT records need identities, and still pictures have none; write .jsonl or .csv")
        text = ""
        for row, identity in enumerate(result.tracks.ids.tolist()):
            x1, y1, x2, y2 = (float(side) for side in result.tracks.boxes[row])
            box = ",".join(f"{side:.{PIXEL_DIGITS}f}" for side in (x1, y1, x2 - x1, y2 - y1))
            score = f"{float(result.tracks.scores[row]):.{SCORE_DIGITS}f}"
            text += f"{result.frame.index + 1},{identity},{box},{score},-1,-1,-1\n"
        return text

    def end(self) -> str:
        """Nothing."""
        return ""


class Csv:
    """One row per person and frame; the header comes with the first frame, which knows the joints.

    With `least_angle_score` there are columns of angles, of joints that score as much, with `utc_of` a last column
    `utc`; what is not known is empty.
    """

    def __init__(self, utc_of: UtcOf | None = None, least_angle_score: float | None = None) -> None:
        self._utc_of = utc_of
        self._least_angle_score = least_angle_score
        self._has_header = False

    def begin(self) -> str:
        """Nothing."""
        return ""

    def rows(self, result: Result) -> str:
        """The rows of one frame, RFC 4180."""
        text = io.StringIO()
        table = csv.writer(text)
        if not self._has_header:
            joints = result.poses.skeleton.names
            columns = [f"{joint}_{what}" for joint in joints for what in ("x", "y", "score")]
            columns += [] if self._least_angle_score is None else [f"{name}_deg" for name in ANGLES]
            last = [] if self._utc_of is None else ["utc"]
            table.writerow(["source", "frame", "time_s", "id", "x1", "y1", "x2", "y2", "score", *columns, *last])
            self._has_header = True
        frame = result.frame
        end = [] if self._utc_of is None else [_utc(frame, self._utc_of)]
        least = self._least_angle_score
        angles = [[]] * len(result.tracks.ids) if least is None else _angles(result, least)
        for row in range(len(result.tracks.ids)):
            person = _person(result, row)
            numbers = [number for joint in person["keypoints"] for number in joint]
            # None is written as nothing at all.
            start = [frame.source_id, frame.index, _time(frame), person["id"]]
            table.writerow([*start, *person["box"], person["score"], *numbers, *angles[row], *end])
        return text.getvalue()

    def end(self) -> str:
        """Nothing."""
        return ""


def image_id(frame: Frame) -> int:
    """The last number in a picture's name, else the frame's index."""
    match = _PICTURE_NUMBER.search(Path(frame.source_id).stem) if frame.still else None
    return int(match[1]) if match else frame.index


def _person(result: Result, row: int) -> dict[str, Any]:
    """One person as JSON has it; the id of a still picture's is None."""
    identity = int(result.tracks.ids[row])
    return {
        "id": identity or None,
        "box": [round(float(side), PIXEL_DIGITS) for side in result.tracks.boxes[row]],
        "score": round(float(result.tracks.scores[row]), SCORE_DIGITS),
        "keypoints": _joints(result, row),
    }


def _angles(result: Result, least_score: float) -> list[list[float | None]]:
    """The ANGLES of everybody, None where they are not known."""
    poses = result.poses
    degrees = joint_angles(poses.keypoints, poses.scores, poses.skeleton.names, least_score)
    return [[None if np.isnan(angle) else round(angle, DEGREE_DIGITS) for angle in row] for row in degrees.tolist()]


def _joints(result: Result, row: int) -> list[list[float]]:
    """[[x, y, score], ...] of one person; a joint that is nowhere, which JSON cannot say, is [0, 0, 0]."""
    joints = np.column_stack([result.poses.keypoints[row], result.poses.scores[row]]).astype(np.float64)  # (K, 3)
    joints[~np.isfinite(joints).all(axis=1)] = 0
    return [[round(x, PIXEL_DIGITS), round(y, PIXEL_DIGITS), round(s, SCORE_DIGITS)] for x, y, s in joints.tolist()]


def _time(frame: Frame) -> float | None:
    """Seconds, None for a still picture."""
    return None if frame.still else round(frame.time, SECOND_DIGITS)


def _utc(frame: Frame, utc_of: UtcOf | None) -> str | None:
    """When a frame arrived, RFC 3339; None where it has no such time."""
    utc_ns = None if utc_of is None or frame.still else utc_of(frame)
    return None if utc_ns is None else utc_text(utc_ns)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
