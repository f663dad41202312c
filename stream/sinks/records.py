"""Results as records: one object a frame (JSONL), COCO results, MOTChallenge tracks, or a table (CSV)."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from stream.frame import Frame
from stream.pipeline import Result
from stream.sinks.base import Picture
from stream.sinks.partfile import PartFile
from stream.source import StreamError

PERSON_CATEGORY = 1
"""COCO's number of the category person."""
COCO_JOINT_SCORE = 0.2
"""Joints above it count in the score of a COCO pose (the reference evaluation of HRNet)."""
PIXEL_DIGITS, SCORE_DIGITS, SECOND_DIGITS = 2, 4, 6

_PICTURE_NUMBER = re.compile(r"(\d+)\D*$")


class RecordFormat(Protocol):
    """Text of records: what stands before the first, for each result, and after the last."""

    def begin(self) -> str: ...

    def rows(self, result: Result) -> str: ...

    def end(self) -> str: ...


class RecordSink:
    """Writes records in one format; every frame is on the disk before the next one comes. No frames leave no file.

    Raises FileExistsError where `path` is taken, StreamError where it cannot be written; what was written then stays as
    NAME.part.EXT.
    """

    needs_picture = False
    warnings: tuple[str, ...] = ()

    def __init__(self, path: Path, form: RecordFormat, *, overwrite: bool = False) -> None:
        self._form = form
        self._file = PartFile(path, overwrite=overwrite)
        # The newline is the format's own: CSV ends its lines with CR LF on every system.
        self._output = self._file.part.open("w", encoding="utf-8", newline="")
        self._failed = False
        self._has_frames = False
        try:
            with self._writing():
                self._put(form.begin())
        except BaseException:
            self._let_go()
            raise

    def write(self, result: Result, picture: Picture | None) -> None:  # noqa: ARG002 - a sink may be given one
        """Append the records of one frame."""
        with self._writing():
            self._put(self._form.rows(result))
        self._has_frames = True

    def close(self, *, failed: bool = False) -> None:
        """Finish the file and give it its name; after a failed write it stays NAME.part.EXT."""
        try:
            if not self._failed:
                with self._writing():
                    self._put(self._form.end())
                    self._output.close()
        finally:
            self._let_go()
        if self._has_frames and not self._failed:
            self._file.finish(keep_existing=failed)

    def _put(self, text: str) -> None:
        self._output.write(text)
        self._output.flush()

    def _let_go(self) -> None:
        """Close the file; one without a frame is removed."""
        # What a failed write left in the buffer is written once more, and fails as it did then.
        with suppress(OSError):
            self._output.close()
        if not self._has_frames:
            self._file.discard()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Note that the records are not whole where anything goes wrong; OSError becomes StreamError."""
        try:
            yield
        except OSError as error:
            self._failed = True
            raise StreamError(
                f"{self._file.path}: cannot be written any further ({error.strerror}); make room or go elsewhere"
            ) from error
        except BaseException:
            self._failed = True
            raise


def record_sink(path: Path, *, overwrite: bool = False) -> RecordSink | None:
    """The sink of the records that a file's ending names, None where it names none."""
    formats: dict[str, type[RecordFormat]] = {
        ".jsonl": Jsonl,
        ".coco.json": CocoResults,
        ".mot.txt": MotChallenge,
        ".csv": Csv,
    }
    for ending, form in formats.items():
        if path.name.lower().endswith(ending):
            return RecordSink(path, form(), overwrite=overwrite)
    if path.suffix.lower() in (".json", ".txt"):
        raise ValueError(f"{path}: which records? end it with one of {' '.join(formats)}")
    return None


class Jsonl:
    """One JSON object per frame and line, valid to the last line after a kill."""

    def begin(self) -> str:
        """Nothing."""
        return ""

    def rows(self, result: Result) -> str:
        """One line."""
        frame = result.frame
        return (
            _json(
                {
                    "source": frame.source_id,
                    "frame": frame.index,
                    "pts": None if frame.still else frame.pts,
                    "time_s": _time(frame),
                    "people": [_person(result, row) for row in range(len(result.tracks.ids))],
                }
            )
            + "\n"
        )

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
    """One row per person and frame; the header comes with the first frame, which knows the joints."""

    def __init__(self) -> None:
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
            table.writerow(["source", "frame", "time_s", "id", "x1", "y1", "x2", "y2", "score", *columns])
            self._has_header = True
        frame = result.frame
        for row in range(len(result.tracks.ids)):
            person = _person(result, row)
            numbers = [number for joint in person["keypoints"] for number in joint]
            # None is written as nothing at all.
            start = [frame.source_id, frame.index, _time(frame), person["id"]]
            table.writerow([*start, *person["box"], person["score"], *numbers])
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


def _joints(result: Result, row: int) -> list[list[float]]:
    """[[x, y, score], ...] of one person; a joint that is nowhere, which JSON cannot say, is [0, 0, 0]."""
    joints = np.column_stack([result.poses.keypoints[row], result.poses.scores[row]]).astype(np.float64)  # (K, 3)
    joints[~np.isfinite(joints).all(axis=1)] = 0
    return [[round(x, PIXEL_DIGITS), round(y, PIXEL_DIGITS), round(s, SCORE_DIGITS)] for x, y, s in joints.tolist()]


def _time(frame: Frame) -> float | None:
    """Seconds, None for a still picture."""
    return None if frame.still else round(frame.time, SECOND_DIGITS)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
