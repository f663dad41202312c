"""The people of a course on the disk, so that they are not looked for again when it goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from engines.training.labels import LabelledSet
from engines.training.people import Crowd, Person
from engines.training.teacher import TeacherOptions

VERSION = 1


def crowd_file(folder: Path, sets: Sequence[LabelledSet], teacher: TeacherOptions) -> Path:
    """Where the people of these sets, found by this teacher, are kept; another place for any other content."""
    digest = hashlib.sha256(json.dumps([VERSION, asdict(teacher)], sort_keys=True).encode())
    for one in sets:
        digest.update(f"\n{len(one.pictures)}".encode())
        for picture in one.pictures:
            digest.update(f"{picture.path}\0{picture.path.stat().st_size}\0{picture.has_all}".encode())
            for array in (picture.labels.boxes, picture.labels.keypoints, picture.labels.visible, picture.labels.crowd):
                digest.update(array.tobytes())
    return folder / f"people-{digest.hexdigest()[:16]}.npz"


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
