"""Faults of training data: counted, and what is wrong passed over, so that a few bad labels stop nobody."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engines.nms import box_iou
from engines.training.labels import LabelledPicture, Labels
from engines.training.pictures import Header, picture_header

UNREADABLE: Final = "pictures cannot be read (left out)"
TWICE_IOU: Final = 0.95
"""Boxes of one picture that overlap more are of one person."""
FAR: Final = 0.5
"""Of its box's longer side, how far outside that box a joint cannot lie."""
_ROUNDING: Final = 1.0
"""Pixels that a label may stick out of its picture, as coordinates are rounded and pictures scaled."""


@dataclass(slots=True)
class Faults:
    """Counts of what was found wrong, by kind, each with its first example."""

    _counts: dict[str, int] = field(default_factory=dict)
    _first: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, example: str, count: int = 1) -> None:
        """Count a fault; no count, no fault."""
        if count:
            self._counts[kind] = self._counts.get(kind, 0) + count
            self._first.setdefault(kind, example)

    def lines(self) -> tuple[str, ...]:
        """A line for each kind, in the order in which they were found."""
        return tuple(f"{count:,} {kind}, first {self._first[kind]}" for kind, count in self._counts.items())


def checked_picture(
    path: Path, labels: Labels, has_all: bool, annotated: tuple[int, int] | None, faults: Faults
) -> LabelledPicture | None:
    """The picture with those of its people who can be; None where it is missing, broken or not of the size `annotated`.

    Sizes are (height, width). Where somebody is left out, `has_all` no longer holds.
    """
    header = picture_header(path)
    if header is None:
        faults.add(UNREADABLE if path.is_file() else "pictures are missing (left out)", path.name)
        return None
    size = header.size
    if annotated is not None and size != annotated:
        sizes = f"{size[1]}x{size[0]}, annotated as {annotated[1]}x{annotated[0]}"
        faults.add(f"pictures are of another size than annotated{_why(header, annotated)}", f"{path.name}: {sizes}")
        return None
    in_place = _boxes_in_place(labels, size, path.name, faults)
    kept = in_place & ~_again(labels, in_place, path.name, faults)
    labels = Labels(labels.boxes[kept], labels.keypoints[kept], labels.visible[kept], labels.crowd[kept])
    has_all = has_all and bool(in_place.all())
    return LabelledPicture(path, _with_joints_in_place(labels, size, path.name, faults), has_all)


def _why(header: Header, annotated: tuple[int, int]) -> str:
    """What becomes of a picture of another size, and how to mend it where that is known."""
    if header.orientation > 4 and header.size[::-1] == annotated:
        return ", turned by their EXIF orientation (left out; turn their pixels with exiftran -ai or jpegtran)"
    return " (left out)"


def _boxes_in_place(labels: Labels, size: tuple[int, int], name: str, faults: Faults) -> NDArray[np.bool_]:
    """Which people (P,) have a box with an area that is in the picture at all."""
    boxes = labels.boxes
    has_area = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    limits = np.array([size[1], size[0]], np.float32)
    inside = (boxes[:, :2] < limits).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)
    faults.add("boxes have no area (left out)", name, int((~has_area).sum()))
    faults.add("boxes lie outside their picture (left out)", name, int((has_area & ~inside).sum()))
    return np.logical_and(has_area, inside)


def _again(labels: Labels, counted: NDArray[np.bool_], name: str, faults: Faults) -> NDArray[np.bool_]:
    """Which people (P,) are there twice: of two, the one with fewer joints, or the later one."""
    again = np.zeros(len(labels.boxes), np.bool_)
    rows = np.flatnonzero(counted & ~labels.crowd)
    if len(rows) > 1:
        boxes, joints = labels.boxes[rows], labels.visible[rows].sum(axis=1)
        order = np.argsort(-joints, kind="stable")
        alike = np.triu(box_iou(boxes[order], boxes[order]) > TWICE_IOU, 1)
        for place in range(len(order)):
            if not again[rows[order[place]]]:
                again[rows[order[alike[place]]]] = True
        faults.add("people are labelled twice (one left out)", name, int(again.sum()))
    return again


def _with_joints_in_place(labels: Labels, size: tuple[int, int], name: str, faults: Faults) -> Labels:
    """The people without the joints that are outside the picture or far outside their box."""
    points, boxes = labels.keypoints, labels.boxes[:, None]  # (P, K, 2), (P, 1, 4)
    limits = np.array([size[1], size[0]], np.float32) + _ROUNDING
    inside = ((points >= -_ROUNDING) & (points <= limits)).all(axis=-1)
    far = FAR * (boxes[..., 2:] - boxes[..., :2]).max(axis=-1, keepdims=True)
    near = ((points >= boxes[..., :2] - far) & (points <= boxes[..., 2:] + far)).all(axis=-1)
    faults.add("joints lie outside their picture (passed over)", name, int((labels.visible & ~inside).sum()))
    faults.add("joints lie far outside their box (passed over)", name, int((labels.visible & inside & ~near).sum()))
    visible: NDArray[np.bool_] = labels.visible & inside & near
    keypoints = np.where(visible[..., None], points, 0).astype(np.float32)
    return Labels(labels.boxes, keypoints, visible, labels.crowd)
