"""What a network learns from: pictures, and the people that somebody labelled in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.results import Skeleton, check_array


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """The labelled people of one picture, P of them, of K joints each.

    `boxes` is (P, 4) float32 xyxy and `keypoints` (P, K, 2) float32 xy, both in pixels of the picture; `visible` (P, K)
    says which joints are labelled, be they seen or hidden; a person of none has a box only. `crowd` (P,) marks regions
    of several people, or people to pass over: nobody to learn from, but no background either. Raises ValueError where
    a shape or dtype is another.
    """

    boxes: NDArray[np.float32]
    keypoints: NDArray[np.float32]
    visible: NDArray[np.bool_]
    crowd: NDArray[np.bool_]

    def __post_init__(self) -> None:
        people = len(self.boxes)
        check_array("boxes", self.boxes, (None, 4), np.float32)
        check_array("keypoints", self.keypoints, (people, None, 2), np.float32)
        check_array("visible", self.visible, (people, self.keypoints.shape[1]), np.bool_)
        check_array("crowd", self.crowd, (people,), np.bool_)

    @staticmethod
    def none(joints: int) -> Labels:
        """Nobody, of so many joints."""
        return Labels(
            np.zeros((0, 4), np.float32),
            np.zeros((0, joints, 2), np.float32),
            np.zeros((0, joints), np.bool_),
            np.zeros(0, np.bool_),
        )


@dataclass(frozen=True, slots=True, eq=False)
class LabelledPicture:
    """A picture's file and its people.

    `has_all`: everybody in it is labelled, so that what is not labelled is no person. Only such a picture may teach a
    detector. Without `has_boxes` its boxes are no outlines of people: they may place a crop, but teach no detector.
    """

    path: Path
    labels: Labels
    has_all: bool
    has_boxes: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSet:
    """Pictures to train on, `name`d as the user did.

    `weight` is how often one is drawn beside those of the other sets; one that is not `is_labelled` (a folder, a clip)
    is for a teacher to label; `faults` say what was found wrong, a line each. Raises ValueError unless the weight is
    above 0.
    """

    name: str
    pictures: tuple[LabelledPicture, ...]
    weight: float
    is_labelled: bool
    faults: tuple[str, ...]

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise ValueError(f"{self.name}: weight must be a number above 0, got {self.weight}")


def each_once(sets: Sequence[LabelledSet]) -> list[tuple[int, LabelledPicture]]:
    """The pictures of all sets with the number of their set, those of labelled sets first, else in order.

    One that several have is the first's: where a labelled set has it, its labels count, whichever set was named first.
    """
    seen: dict[Path, tuple[int, LabelledPicture]] = {}
    for number, one in sorted(enumerate(sets), key=lambda row: not row[1].is_labelled):  # stable
        for picture in one.pictures:
            seen.setdefault(picture.path.resolve(), (number, picture))
    return [(number, replace(picture, path=path)) for path, (number, picture) in seen.items()]


def in_joints(labels: Labels, own: Sequence[str], wanted: Skeleton) -> Labels:
    """The labels, whose joints are called `own`, in those of a skeleton: of equal name; the others are not labelled."""
    if tuple(own) == wanted.names:
        return labels
    places = [(own.index(name), k) for k, name in enumerate(wanted.names) if name in own]
    theirs, ours = [a for a, _ in places], [b for _, b in places]
    people, joints = len(labels.boxes), len(wanted.names)
    keypoints, visible = np.zeros((people, joints, 2), np.float32), np.zeros((people, joints), np.bool_)
    keypoints[:, ours], visible[:, ours] = labels.keypoints[:, theirs], labels.visible[:, theirs]
    return Labels(labels.boxes, keypoints, visible, labels.crowd)
