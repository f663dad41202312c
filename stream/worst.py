"""Pictures of the people whom a model missed most: the truth on the left, what came nearest on the right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.annotated import read_annotated
from engines.evaluate import WorstPerson
from engines.oks import SEEN
from engines.results import Image, Poses
from engines.skeletons import COCO17
from stream.frame import Frame
from stream.pipeline import Result
from stream.render import BLACK, WHITE, Style, draw, draw_text
from tracker.results import Tracks

HEIGHT = 640
"""Pixels of a picture's height."""
_MARGIN = 0.35
"""How much of its surroundings is shown on each side of a person, by the person's longer side."""
_LEAST_WIDTH = 0.5
"""Of the height: room for the caption beside a slim person."""
_GAP = 4
"""Pixels between the halves."""
_CAPITAL = 15
"""Pixels of a capital of the caption."""
_STYLE = Style(joint_threshold=SEEN, boxes=True, ids=False)


def save_worst(people: Sequence[tuple[WorstPerson, Poses]], folder: Path) -> Iterator[Path]:
    """Write a picture of each person, with the poses of its picture, as FOLDER/01_000000000139_oks0.12.jpg and so on.

    Yields the paths as they are written; raises OSError where one cannot be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for place, (person, poses) in enumerate(people, 1):
        path = folder / f"{place:02d}_{person.picture.path.stem}_oks{person.oks:.2f}.jpg"
        written, data = cv2.imencode(".jpg", side_by_side(person, poses))
        if not written:
            raise OSError(f"{path}: cannot be encoded")
        path.write_bytes(data.tobytes())
        yield path


def side_by_side(person: WorstPerson, poses: Poses) -> Image:
    """One person twice, each half HEIGHT high: with the annotated joints, and with the pose that came nearest."""
    picture, row = person.picture, person.person
    image, matrix = _close_up(read_annotated(picture), picture.boxes[row])
    truth = Poses(picture.keypoints[row][None], picture.visible[row][None].astype(np.float32), COCO17)
    chosen = slice(0, 0) if person.pose is None else slice(person.pose, person.pose + 1)
    found = Poses(poses.keypoints[chosen], poses.scores[chosen], poses.skeleton)
    halves = (("truth", truth), (f"OKS {person.oks:.2f}", found))
    left, right = (_half(image, matrix, picture.boxes[row], shown, words) for words, shown in halves)
    return np.hstack([left, np.full((HEIGHT, _GAP, 3), WHITE, np.uint8), right])


def _close_up(image: Image, box: NDArray[np.float32]) -> tuple[Image, NDArray[np.float64]]:
    """The surroundings of a box, HEIGHT high, and the (2, 3) matrix that brings points of the picture there."""
    sides = (box[2:] - box[:2]).astype(np.float64)
    width, height = sides + 2 * _MARGIN * sides.max()
    width = max(width, _LEAST_WIDTH * height)
    scale = HEIGHT / max(height, 1)
    size = (max(1, round(width * scale)), HEIGHT)
    middle = (box[:2] + box[2:]) / 2
    matrix = np.array([[scale, 0, size[0] / 2 - middle[0] * scale], [0, scale, HEIGHT / 2 - middle[1] * scale]])
    return np.asarray(cv2.warpAffine(image, matrix, size, flags=cv2.INTER_CUBIC), np.uint8), matrix


def _half(image: Image, matrix: NDArray[np.float64], box: NDArray[np.float32], poses: Poses, words: str) -> Image:
    """A copy of a close-up with the annotated box, a pose and a caption."""
    scale, shift = matrix[0, 0], matrix[:, 2]
    boxes = np.tile((box.reshape(1, 2, 2) * scale + shift).reshape(1, 4).astype(np.float32), (len(poses.scores), 1))
    moved = Poses((poses.keypoints * scale + shift).astype(np.float32), poses.scores, poses.skeleton)
    canvas = image.copy()
    people = Tracks(np.zeros(len(boxes), np.int64), boxes, np.ones(len(boxes), np.float32))
    draw(canvas, Result(Frame(image, 0, 0, Fraction(1), "", 0, still=True), people, moved), _STYLE)
    draw_text(canvas, words, (0, HEIGHT), _CAPITAL, WHITE, BLACK)
    return canvas
