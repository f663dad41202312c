"""The people of a course on the disk, so that they are not looked for again when it goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from engines.export import Say, silent
from engines.lock import alone
from engines.training.labels import LabelledSet
from engines.training.people import Crowd, Person
from engines.training.teacher import TeacherOptions

VERSION = 3


def crowd_file(
    folder: Path, sets: Sequence[LabelledSet], joints: int, teacher: TeacherOptions, with_untold: bool = False
) -> Path:
    """Where the people of these sets, as `gather` has them, are kept; another place for any other content.

    Of the teachers only the detecting one counts. Raises FileNotFoundError and EngineError where it is not there.
    """
    digest = hashlib.sha256(json.dumps([VERSION, joints, teacher.box_identity, with_untold]).encode())
    for one in sets:
        digest.update(f"\n{len(one.pictures)} {one.is_labelled}".encode())
        for picture in one.pictures:
            digest.update(f"{picture.path}\0{picture.path.stat().st_size}\0{picture.has_all}".encode())
            for array in (picture.labels.boxes, picture.labels.keypoints, picture.labels.visible, picture.labels.crowd):
                digest.update(array.tobytes())
    return folder / f"people-{digest.hexdigest()[:16]}.npz"


def kept_crowd(file: Path, find: Callable[[], Crowd], say: Say = silent) -> Crowd:
    """The crowd in `file`, found by `find` and written there unless it is there.

    A second process that wants the same is told so by `say` and waits.
    """
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = file.with_name(f".{file.stem}.lock")
        with alone(lock, lambda: say(f"{file}: another process finds these people; waiting for that")):
            if not file.is_file():
                write_crowd(find(), file)
    return read_crowd(file)


def write_crowd(crowd: Crowd, file: Path) -> None:
    """Write a crowd of one person or more, whole or not at all."""
    part = file.with_name(f"{file.stem}.part.npz")
    np.savez(
        part,
        paths=np.array([str(path) for path in crowd.paths]),
        sets=np.array(crowd.sets, np.int64),
        pictures=np.array([person.picture for person in crowd.people], np.int64),
        boxes=np.stack([person.box for person in crowd.people]),
        keypoints=np.stack([person.keypoints for person in crowd.people]),
        visible=np.stack([person.visible for person in crowd.people]),
    )
    part.replace(file)


def read_crowd(file: Path) -> Crowd:
    """The crowd that was written to `file`."""
    with np.load(file) as kept:
        rows = zip(kept["pictures"].tolist(), kept["boxes"], kept["keypoints"], kept["visible"], strict=True)
        return Crowd(
            paths=tuple(Path(path) for path in kept["paths"].tolist()),
            sets=tuple(kept["sets"].tolist()),
            people=tuple(Person(*row) for row in rows),
        )
