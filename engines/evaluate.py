"""Models run over annotated pictures: what they find, by the number of the picture, and whom they miss most."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from engines.annotated import Picture, read_annotated
from engines.coco import JOINTS, CocoPicture, CocoTruth
from engines.crop import PADDING, crop_matrices
from engines.hrnet import PoseEstimator
from engines.oks import oks
from engines.results import Detections, Poses
from engines.skeletons import COCO17
from engines.yolo import DetectorOptions, PersonDetector

STEP: Final = 4
"""Pictures that go through a network together."""
REPORTED: Final = DetectorOptions(confidence=0.01, iou=0.6)
"""As detectors are scored: down to low scores, with a loose suppression."""

P = TypeVar("P", bound=Picture)


@dataclass(frozen=True, slots=True, eq=False)
class WorstPerson:
    """An annotated person, row `person` of `picture`, and what came nearest: row `pose` of the picture's poses.

    `oks` is how near that came; `pose` is None where the picture has no poses.
    """

    picture: CocoPicture
    person: int
    oks: float
    pose: int | None


def detect_people(detector: PersonDetector, pictures: Iterable[Picture]) -> dict[int, Detections]:
    """The people found in each picture, by its number; `pictures` is gone through as the work goes on."""
    found: dict[int, Detections] = {}
    for step in _steps(pictures):
        results = detector.detect([read_annotated(picture) for picture in step])
        found |= {picture.number: result for picture, result in zip(step, results, strict=True)}
    return found


def estimate_poses(
    estimator: PoseEstimator, pictures: Iterable[Picture], boxes: Mapping[int, Detections]
) -> dict[int, Poses]:
    """The poses of the people in the boxes of each picture, by its number; as `detect_people` goes."""
    found: dict[int, Poses] = {}
    for step in _steps(pictures):
        images = [read_annotated(picture) for picture in step]
        results = estimator.estimate(images, [boxes[picture.number].boxes for picture in step])
        found |= {picture.number: result for picture, result in zip(step, results, strict=True)}
    return found


def crop_areas(
    boxes: Mapping[int, Detections], size: tuple[int, int], padding: float = PADDING
) -> dict[int, NDArray[np.float64]]:
    """How much of its picture the crop of each box covers, in square pixels, for a network of `size` (height, width).

    The reference code judges by it how much alike two poses are (HRNet, lib/dataset/coco.py, `all_boxes[:, 4]`).
    """
    return {
        number: size[0] * size[1] / crop_matrices(found.boxes, size, padding)[:, 0, 0] ** 2
        for number, found in boxes.items()
    }


def worst_people(truth: CocoTruth, poses: Mapping[int, Poses], count: int, *, paired: bool) -> list[WorstPerson]:
    """The `count` annotated people whom no pose comes near, worst first, by OKS over their annotated joints.

    `paired` says that the poses are of the annotated boxes: row i is then judged as person i, whoever it lies on.
    """
    people = [
        WorstPerson(picture, person, *_nearest(row, person if paired else None))
        for picture in truth.pictures
        for person, row in enumerate(_likeness(picture, poses[picture.number]))
    ]
    return sorted(people, key=lambda person: person.oks)[:count]


def _likeness(picture: CocoPicture, poses: Poses) -> NDArray[np.float64]:
    """How much the poses (M) are like the people (P) of a picture, (P, M)."""
    points = poses.keypoints[:, :JOINTS]
    return oks(picture.keypoints, points, picture.areas[:, None], COCO17.sigmas, picture.visible)


def _nearest(likeness: NDArray[np.float64], own: int | None) -> tuple[float, int | None]:
    """The OKS and the row of the pose that is a person's: row `own`, or whichever is likest."""
    if not len(likeness):
        return 0.0, None
    row = int(likeness.argmax()) if own is None else own
    return float(likeness[row]), row


def _steps(pictures: Iterable[P]) -> Iterator[list[P]]:
    rest = iter(pictures)
    while step := list(islice(rest, STEP)):
        yield step
