"""The teachers: networks that are there already find the people of unlabelled pictures, and their heat maps."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.backends.base import Backend, EngineError
from engines.cards import CardFlags, ModelCard, Task
from engines.catalog import Catalog
from engines.crop import Crops
from engines.heatmap import EXACT_SHIFT, flip_back
from engines.normalize import to_batch
from engines.opening import open_model
from engines.results import Detections, Image
from engines.skeletons import skeleton
from engines.yolo import DetectorOptions, PersonDetector

TEACHER_SIZE = 640
"""Pixels of a detecting teacher's input, where its file leaves that free."""
LOWEST_SCORE = 0.1
"""Of a teacher's boxes that are told at all."""
BATCH = 16
"""Crops in one call of a posing teacher."""


@dataclass(frozen=True, slots=True)
class TeacherOptions:
    """Which networks teach: names of the catalogue or paths, None for none; `size` is the detector's input."""

    detector: str | None = None
    pose: str | None = None
    size: int = TEACHER_SIZE
    precision: str = "fp32"

    @property
    def box_identity(self) -> str | None:
        """The `identity` of the detecting teacher, told without opening it; None where none is named.

        Raises FileNotFoundError and EngineError as `Catalog.resolve` does.
        """
        if self.detector is None:
            return None
        return f"{_digest(self.detector, 'detect')} {self.precision} {self.size}"

    @property
    def pose_identity(self) -> str | None:
        """The same of the posing teacher, whose input has the size that its file says."""
        return None if self.pose is None else f"{_digest(self.pose, 'pose')} {self.precision}"


class PoseTeacher:
    """Heat maps of people by a network of a card's family heatmap, averaged with those of the mirrored crop.

    What it told may be taken again for a teacher of the same `identity`: what its file holds, whatever that is called.
    """

    def __init__(self, backend: Backend, card: ModelCard, identity: str) -> None:
        if card.family != "heatmap" or card.skeleton is None:
            raise EngineError(
                f"{card.name}: a teacher gives heat maps, got {card.family}; name another --teacher, as hrnet-w32"
            )
        self._backend = backend
        self.card = card
        self.identity = identity
        self.skeleton = skeleton(card.skeleton)

    def teach(self, pictures: Sequence[Image]) -> NDArray[np.float32]:
        """The heat maps (N, K, h, w) of crops (height, width, 3), cut as its card says."""
        spec = self.card.input
        batch = to_batch(pictures, spec.color == "rgb", spec.scale, spec.mean, spec.std)
        (maps,) = self._backend.infer(batch)
        (mirrored,) = self._backend.infer(np.ascontiguousarray(batch[..., ::-1]))
        return (maps + flip_back(mirrored, self.skeleton.pairs, EXACT_SHIFT)) / np.float32(2)

    def crops(self, image: Image, boxes: NDArray[np.float32]) -> list[Image]:
        """The crops of the people in `boxes` (P, 4) of a picture, as the network was trained on them."""
        crops = Crops.around(boxes, self.card.input.size)
        pictures = np.empty((len(boxes), *crops.size, 3), np.uint8)
        for person, picture in enumerate(pictures):
            crops.cut(person, image, picture)
        return list(pictures)


class BoxTeacher:
    """People's boxes by a detector, down to LOWEST_SCORE; `identity` as a PoseTeacher's, and the size of its input."""

    def __init__(self, backend: Backend, card: ModelCard, identity: str) -> None:
        self.identity = identity
        self._detector = PersonDetector(backend, card, DetectorOptions(LOWEST_SCORE, iou=0.6))

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        """The people of each picture, best first."""
        return self._detector.detect(images)


@contextmanager
def open_box_teacher(options: TeacherOptions) -> Iterator[BoxTeacher]:
    """The detecting teacher, open until the end; ValueError where none is named."""
    identity = options.box_identity
    if options.detector is None or identity is None:
        raise ValueError("pictures without boxes need a detector to find their people; name one: --teacher-detector")
    with ExitStack() as stack:
        model = open_model(options.detector, "detect", CardFlags(imgsz=options.size), precision=options.precision)
        stack.callback(model.backend.close)
        yield BoxTeacher(model.backend, model.card, identity)


@contextmanager
def open_pose_teacher(options: TeacherOptions) -> Iterator[PoseTeacher]:
    """The posing teacher, open until the end; ValueError where none is named."""
    identity = options.pose_identity
    if options.pose is None or identity is None:
        raise ValueError("people without key points need a network to pose them; name one: --teacher")
    with ExitStack() as stack:
        model = open_model(options.pose, "pose", precision=options.precision)
        stack.callback(model.backend.close)
        yield PoseTeacher(model.backend, model.card, identity)


def _digest(name_or_path: str, task: Task) -> str:
    """The SHA-256 of the file that the catalogue has for a teacher."""
    with Catalog.load().resolve(name_or_path, task).path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
