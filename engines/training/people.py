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
from engines.training.labels import LabelledPicture, LabelledSet, Labels, each_once
from engines.training.teacher import BoxTeacher

SURE = 0.4
"""Score of a teacher's box from which it is taken for a person to pose."""
SMALLEST = 48.0
"""Pixels; people less high have no joints to be seen."""
SAME = 0.45
"""Overlap (IoU) above which a teacher's box is that of a labelled person."""
AROUND = 0.1
"""Of the longer side of a box about somebody's joints, how far the body reaches beyond it."""
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
    with_untold: bool = False,
) -> Crowd:
    """The people of `sets`, each picture once, however many sets have it; the earlier set's labels count.

    A labelled person is one with key points; those who have a box alone are people too where `with_untold`, as somebody
    will tell their joints, and else as if nobody had labelled them. In pictures where not everybody is labelled the
    teacher finds the others; without a teacher they are left out. `follow` hands on the pictures to be searched one
    by one and may show how far they are. Raises OSError for a picture that cannot be read.
    """
    pictures = each_once(sets)
    found: dict[Path, NDArray[np.float32]] = {}
    if teacher is not None:
        found = dict(_find(teacher, follow([one.path for _, one in pictures if not one.has_all])))
    people: list[Person] = []
    for number, (_, picture) in enumerate(pictures):
        people += _labelled_people(number, picture.labels, with_untold)
        if picture.path in found:
            people += _others(number, picture, found[picture.path], joints, with_untold)
    return Crowd(tuple(one.path for _, one in pictures), tuple(index for index, _ in pictures), tuple(people))


def read_picture(path: Path) -> Image:
    """The stored pixels (H, W, 3) BGR of a picture; OSError where it cannot be read."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise OSError(f"{path}: cannot be read as a picture; take it out of the data")
    return np.asarray(image, np.uint8)


def _labelled_people(number: int, labels: Labels, with_untold: bool) -> Iterator[Person]:
    is_told = labels.visible.any(axis=1)
    is_large = labels.boxes[:, 3] - labels.boxes[:, 1] >= SMALLEST
    for person in np.flatnonzero((is_told | (is_large & with_untold)) & ~labels.crowd):
        yield Person(number, labels.boxes[person], labels.keypoints[person], labels.visible[person])


def _find(teacher: BoxTeacher, paths: Iterable[Path]) -> Iterator[tuple[Path, NDArray[np.float32]]]:
    """The boxes (P, 4) of people, large and sure enough, by the teacher."""
    rest = iter(paths)
    while step := list(islice(rest, STEP)):
        for path, detections in zip(step, teacher.detect([read_picture(path) for path in step]), strict=True):
            boxes = detections.boxes
            yield path, boxes[(detections.scores >= SURE) & (boxes[:, 3] - boxes[:, 1] >= SMALLEST)]


def _others(
    number: int, picture: LabelledPicture, boxes: NDArray[np.float32], joints: int, with_untold: bool
) -> Iterator[Person]:
    """The people that the teacher found beside the labelled, and not in a crowd."""
    labels = picture.labels
    is_known = labels.visible.any(axis=1) | labels.crowd | with_untold
    shared = box_iou(boxes, labels.boxes[is_known])
    if not picture.has_boxes:
        shared = np.maximum(shared, box_iou(boxes, _around_joints(labels)[is_known]))
    for box in boxes[shared.max(axis=1, initial=0) <= SAME]:
        yield Person(number, box, np.zeros((joints, 2), np.float32), np.zeros(joints, np.bool_))


def _around_joints(labels: Labels) -> NDArray[np.float32]:
    """Boxes (P, 4) about people's joints, as wide as a body is about them; their own where nobody labelled two."""
    points, is_seen = labels.keypoints, labels.visible[..., None]
    low = np.where(is_seen, points, np.inf).min(axis=1, initial=np.inf)
    high = np.where(is_seen, points, -np.inf).max(axis=1, initial=-np.inf)
    margin = AROUND * (high - low).max(axis=1, keepdims=True)
    around = np.concatenate([low - margin, high + margin], axis=1)
    is_told = labels.visible.sum(axis=1) >= 2
    return np.where(is_told[:, None], around, labels.boxes).astype(np.float32)
