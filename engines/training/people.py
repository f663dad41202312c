"""The people to learn from: those that somebody labelled, and beside them those that the teacher finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.nms import box_iou
from engines.results import Image
from engines.training.labels import LabelledPicture, LabelledSet, each_once
from engines.training.teacher import BoxTeacher

SURE = 0.4
"""Score of a teacher's box from which it is taken for a person to pose."""
SMALLEST = 48.0
"""Pixels; people less high have no joints to be seen."""
SAME = 0.45
"""Overlap (IoU) above which a teacher's box is that of a labelled person."""
STEP = 4
"""Pictures that go through the teacher together."""


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """Somebody in a picture: the box (4,) xyxy, and key points (K, 2), known where `visible` (K,)."""

    picture: int
    box: NDArray[np.float32]
    keypoints: NDArray[np.float32]
    visible: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Crowd:
    """All people of some sets: row i of `people` is in picture `people[i].picture` of `paths`, which is of `sets`."""

    paths: tuple[Path, ...]
    sets: tuple[int, ...]
    people: tuple[Person, ...]


def gather(
    sets: Sequence[LabelledSet],
    joints: int,
    teacher: BoxTeacher | None,
    follow: Callable[[Sequence[Path]], Iterable[Path]] = iter,
) -> Crowd:
    """The people of `sets`, each picture once, however many sets have it; the earlier set's labels count.

    A labelled person is one with key points. In pictures where not everybody is labelled the teacher finds the others;
    without a teacher they are left out. `follow` hands on the pictures to be searched one by one and may show how far
    they are. Raises OSError for a picture that cannot be read.
    """
    pictures = each_once(sets)
    found: dict[Path, NDArray[np.float32]] = {}
    if teacher is not None:
        found = dict(_find(teacher, follow([one.path for _, one in pictures if not _is_whole(one)])))
    people: list[Person] = []
    for number, (_, picture) in enumerate(pictures):
        people += _labelled_people(number, picture)
        if picture.path in found:
            people += _others(number, picture, found[picture.path], joints)
    return Crowd(tuple(one.path for _, one in pictures), tuple(index for index, _ in pictures), tuple(people))


def read_picture(path: Path) -> Image:
    """The stored pixels (H, W, 3) BGR of a picture; OSError where it cannot be read."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise OSError(f"{path}: cannot be read as a picture; take it out of the data")
    return np.asarray(image, np.uint8)


def _is_whole(picture: LabelledPicture) -> bool:
    return picture.has_all and bool(len(picture.labels.boxes))


def _labelled_people(number: int, picture: LabelledPicture) -> Iterator[Person]:
    labels = picture.labels
    for person in np.flatnonzero(labels.visible.any(axis=1) & ~labels.crowd):
        yield Person(number, labels.boxes[person], labels.keypoints[person], labels.visible[person])


def _find(teacher: BoxTeacher, paths: Iterable[Path]) -> Iterator[tuple[Path, NDArray[np.float32]]]:
    """The boxes (P, 4) of people, large and sure enough, by the teacher."""
    rest = iter(paths)
    while step := list(islice(rest, STEP)):
        for path, detections in zip(step, teacher.find([read_picture(path) for path in step]), strict=True):
            boxes = detections.boxes
            yield path, boxes[(detections.scores >= SURE) & (boxes[:, 3] - boxes[:, 1] >= SMALLEST)]


def _others(number: int, picture: LabelledPicture, boxes: NDArray[np.float32], joints: int) -> Iterable[Person]:
    """The people that the teacher found beside the labelled."""
    taken = box_iou(boxes, picture.labels.boxes).max(axis=1, initial=0) > SAME
    for box in boxes[~taken]:
        yield Person(number, box, np.zeros((joints, 2), np.float32), np.zeros(joints, np.bool_))
