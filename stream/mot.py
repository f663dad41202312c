"""Identities scored on MOTChallenge sequences: detections replayed, or pictures run through the networks."""

from __future__ import annotations

import configparser
import csv
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.backends.base import EngineError
from stream.frame import Frame
from stream.pipeline import Pipeline, Tracker
from tracker.results import Tracks

USUAL_RATE = Fraction(25)
"""Frames a second where neither seqinfo.ini nor the user says: that of most sequences of MOT15."""
LEAST_IOU = 0.5
"""From this overlap on a box is the person's (MOTChallenge's rule; HOTA has many)."""
PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp")
PERSON_CLASS = 1
"""MOTChallenge's number of the class pedestrian; MOT15 has none and writes -1."""

Follow = Callable[[Sequence[int], str], Iterable[int]]
"""Passes on what it is given, and may show how far that is."""


@dataclass(frozen=True, slots=True)
class MotSequence:
    """A MOTChallenge folder: `gt/gt.txt`, perhaps `det/det.txt`, perhaps pictures, `frames` in all, from 1."""

    name: str
    folder: Path
    rate: Fraction
    frames: int
    detections: Path | None
    pictures: Mapping[int, Path]

    @property
    def truth(self) -> Path:
        """Where the people are."""
        return self.folder / "gt" / "gt.txt"


@dataclass(frozen=True, slots=True)
class MotRow:
    """The scores of one sequence, or of all together; shares in [0, 1], the rest are counts."""

    sequence: str
    boxes: str
    mota: float
    idf1: float
    hota: float
    switches: int
    fragments: int
    missed: int
    false: int


def read_sequence(folder: Path, rate: Fraction | None = None) -> MotSequence:
    """The sequence in a folder; `rate` counts before that of its seqinfo.ini.

    Raises FileNotFoundError without `gt/gt.txt`, ValueError where seqinfo.ini cannot be understood.
    """
    truth = folder / "gt" / "gt.txt"
    if not truth.is_file():
        raise FileNotFoundError(f"{truth}: no such file; a MOTChallenge folder has its people there")
    info = _seqinfo(folder / "seqinfo.ini")
    try:
        own_rate = Fraction(info["framerate"]) if "framerate" in info else USUAL_RATE
        pictures = _pictures(folder / info.get("imdir", "img1"), info.get("imext"))
        last = max(int(info.get("seqlength", 0)), *(int(row[0]) for row in _rows(truth)), *pictures)
    except ValueError as error:
        raise ValueError(f"{folder / 'seqinfo.ini'}: not as MOTChallenge writes it: {error}") from error
    rate = own_rate if rate is None else rate
    if rate <= 0:
        raise ValueError(f"{folder}: frames a second must be above 0, got {rate}; give them by --fps")
    detections = folder / "det" / "det.txt"
    return MotSequence(
        name=info.get("name") or folder.resolve().name,
        folder=folder,
        rate=rate,
        frames=last,
        detections=detections if detections.is_file() else None,
        pictures=pictures,
    )


def kept_frames(sequence: MotSequence, drop: float, seed: int) -> list[int]:
    """The frames (from 1) that are left when a share of them is dropped by chance."""
    chances = np.random.default_rng(seed).random(sequence.frames)
    return [frame for frame, chance in enumerate(chances, start=1) if chance >= drop]


def replay(sequence: MotSequence, tracker: Tracker, frames: Iterable[int]) -> Iterator[tuple[int, Tracks]]:
    """The people of the frames, from the boxes of det.txt alone.

    Scores beyond [0, 1], as of detectors that give margins or percents, are scaled into it by the file's least and
    greatest.
    """
    if sequence.detections is None:
        raise FileNotFoundError(f"{sequence.folder / 'det' / 'det.txt'}: no such file; --boxes detector takes pictures")
    rows = np.array(_rows(sequence.detections)).reshape(-1, 7)
    scores = rows[:, 6]
    if len(scores) and (scores.min() < 0 or scores.max() > 1):
        scores = (scores - scores.min()) / max(np.ptp(scores), 1e-9)
    corners = np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1)
    for frame in frames:
        own = rows[:, 0] == frame
        time_s = float((frame - 1) / sequence.rate)
        yield frame, tracker.update(corners[own].astype(np.float32), scores[own].astype(np.float32), time_s, None)


def run_pictures(sequence: MotSequence, pipeline: Pipeline, frames: Iterable[int]) -> Iterator[tuple[int, Tracks]]:
    """The people of the frames, found in their pictures."""
    for frame in frames:
        if frame not in sequence.pictures:
            raise FileNotFoundError(f"{sequence.folder}: has no picture of frame {frame}; --boxes det takes det.txt")
        image = cv2.imread(str(sequence.pictures[frame]))
        if image is None:
            raise ValueError(f"{sequence.pictures[frame]}: no picture that can be read")
        bgr: NDArray[np.uint8] = image.astype(np.uint8, copy=False)
        (result,) = pipeline.step([
            Frame(bgr, frame - 1, frame - 1, 1 / sequence.rate, sequence.name, time.monotonic_ns())
        ])  # fmt: skip
        yield frame, result.tracks


def rows_of(found: Iterable[tuple[int, Tracks]]) -> list[tuple[float, ...]]:
    """MOTChallenge rows: frame, id, left, top, width, height, score."""
    return [
        (frame, int(identity), x1, y1, x2 - x1, y2 - y1, float(score))
        for frame, tracks in found
        for identity, (x1, y1, x2, y2), score in zip(tracks.ids, tracks.boxes.tolist(), tracks.scores, strict=True)
    ]


def read_results(path: Path, frames: Iterable[int]) -> list[tuple[float, ...]]:
    """The rows of a file of results, as `--output NAME.mot.txt` writes them, of the frames that count."""
    counted = set(frames)
    return [row for row in _rows(path) if row[0] in counted]


def score(
    results: Mapping[str, tuple[MotSequence, Sequence[int], Sequence[tuple[float, ...]]]], boxes: str
) -> list[MotRow]:
    """The scores of results by the name of their sequence, with its frames that count; a last row for all of several.

    By the library `trackers`, whose figures are those of TrackEval, MOTChallenge's own tool. Raises EngineError where
    it is not installed, ValueError where nobody was found in a sequence.
    """
    try:
        from trackers.eval import evaluate_mot_sequences
    except ImportError as error:
        raise EngineError("trackers is missing; pip install 'posestream[mot]'") from error
    with TemporaryDirectory(prefix="posestream-mot-") as scratch:
        truths, found = Path(scratch) / "truth", Path(scratch) / "found"
        for folder in (truths, found):
            folder.mkdir()
        for name, (sequence, frames, rows) in results.items():
            if not rows:
                raise ValueError(f"{name}: nobody was found by {boxes}, there is nothing to score")
            number = {frame: index for index, frame in enumerate(frames, start=1)}
            _write(truths / f"{name}.txt", _scored(sequence.truth), number)
            _write(found / f"{name}.txt", rows, number)
        scores = evaluate_mot_sequences(truths, found, metrics=["CLEAR", "HOTA", "Identity"], threshold=LEAST_IOU)
    parts = [(name, scores.sequences[name]) for name in results]
    return [
        _row(name, boxes, part) for name, part in (*parts, *([("all", scores.aggregate)] if len(parts) > 1 else []))
    ]


def _row(name: str, boxes: str, part: object) -> MotRow:
    clear, identity, hota = (getattr(part, kind) for kind in ("CLEAR", "Identity", "HOTA"))
    return MotRow(
        sequence=name,
        boxes=boxes,
        mota=float(clear.MOTA),
        idf1=float(identity.IDF1),
        hota=float(hota.HOTA),
        switches=int(clear.IDSW),
        fragments=int(clear.Frag),
        missed=int(clear.CLR_FN),
        false=int(clear.CLR_FP),
    )


def _seqinfo(path: Path) -> Mapping[str, str]:
    """The keys of seqinfo.ini in small letters; none where there is no such file."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path, encoding="utf-8-sig")
        return dict(parser["Sequence"]) if parser.has_section("Sequence") else {}
    except configparser.Error as error:
        raise ValueError(f"{path}: no seqinfo.ini: {' '.join(str(error).split())}") from error


def _pictures(folder: Path, ending: str | None) -> dict[int, Path]:
    """The pictures named by the numbers of their frames; with no ending told those of any usual one."""
    endings = PICTURE_ENDINGS if ending is None else (ending.lower(),)
    paths = (path for path in sorted(folder.glob("*")) if path.suffix.lower() in endings)
    return {int(path.stem): path for path in paths if path.stem.isdecimal()}


def _rows(path: Path) -> list[tuple[float, ...]]:
    """The first seven columns of a MOTChallenge file; a score that is not there is 1."""
    return [(*line, 1.0) if len(line) == 6 else tuple(line[:7]) for line in _table(path)]


def _scored(path: Path) -> list[tuple[float, ...]]:
    """The rows of a truth with its classes, those of MOT15, which has none, as people."""
    kinds = (line[7] if len(line) > 8 and line[7] > 0 else PERSON_CLASS for line in _table(path))
    return [(*row, kind) for row, kind in zip(_rows(path), kinds, strict=True)]


def _table(path: Path) -> list[list[float]]:
    """All numbers of a MOTChallenge file, a list for each line."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            lines = [[float(value) for value in line] for line in csv.reader(file) if line]
        except ValueError as error:
            raise ValueError(f"{path}: no MOTChallenge file: {error}") from error
    if any(len(line) < 6 for line in lines):
        raise ValueError(f"{path}: a row must have frame,id,left,top,width,height, got {min(map(len, lines))} columns")
    return lines


def _write(path: Path, rows: Iterable[Sequence[float]], number: Mapping[int, int]) -> None:
    """The rows of the frames that count, by their new numbers."""
    lines = (
        f"{number[int(row[0])]},{int(row[1])},{','.join(f'{v:g}' for v in row[2:])}" for row in rows if row[0] in number
    )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
