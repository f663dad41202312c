"""Pictures to the people in them, by every YOLO family of CONTRACTS.md part 3."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from engines.backends.base import Backend, EngineError
from engines.cards import ModelCard
from engines.letterbox import Letterbox, fit
from engines.nms import nms
from engines.normalize import to_batch
from engines.results import Detections, Image
from engines.yolo_decode import DECODERS, STRIDES, People

MAX_CANDIDATES = 1000
"""Boxes of one picture that go into the suppression at most, the best: it compares each with each."""

_SUPPRESSED = frozenset({"yolo-nms-free", "end2end"})
"""Families whose model gives each person one box."""


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """What a detector reports: boxes scored `confidence` or more, of two that overlap by more than `iou` the better."""

    confidence: float = 0.4
    iou: float = 0.5

    def __post_init__(self) -> None:
        for name, value in (("confidence", self.confidence), ("iou", self.iou)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {value}")


class PersonDetector:
    """Finds the people in pictures of any sizes.

    It does not own the backend. Raises EngineError on construction where the model is no detector or its outputs do
    not have the form of the card's family.
    """

    def __init__(self, backend: Backend, card: ModelCard, options: DetectorOptions | None = None) -> None:
        if card.family not in DECODERS:
            raise EngineError(
                f"{card.name}: family must be one of {', '.join(DECODERS)}, got {card.family}; mend its card"
            )
        self._backend = backend
        self._card = card
        self._options = options or DetectorOptions()
        self._decode = DECODERS[card.family]
        height, width = backend.inputs[0].shape[2:]
        if height is None or width is None:
            raise EngineError(f"{card.name}: the input size must be known, got {backend.inputs[0].shape}; name it")
        self._size = (height, width)
        self._order = _find_outputs(card, self._size, [output.shape for output in backend.outputs])

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        """The people in each of `images`, best first: one Detections an image, clipped to it."""
        if not images:
            return []
        spec = self._card.input
        boxed = [fit(_size_of(image), self._size, self._card.letterbox) for image in images]
        pictures = [box.paint(image, self._card.pad) for box, image in zip(boxed, images, strict=True)]
        batch = to_batch(pictures, spec.color == "rgb", spec.scale, spec.mean, spec.std)
        found = self._backend.infer(batch)
        outputs = [found[i] for i in self._order]
        return [self._people([output[row] for output in outputs], letterbox) for row, letterbox in enumerate(boxed)]

    def _people(self, outputs: Sequence[NDArray[np.float32]], letterbox: Letterbox) -> Detections:
        """The people in one picture, of the outputs for it."""
        boxes, scores = _best(self._decode(outputs, self._size, self._options.confidence), MAX_CANDIDATES)
        if self._card.family not in _SUPPRESSED:
            kept = nms(boxes, scores, self._options.iou)
            boxes, scores = boxes[kept], scores[kept]
        height, width = letterbox.frame_size
        boxes = np.clip(letterbox.boxes_to_frame(boxes), 0, np.array((width, height, width, height), np.float32))
        inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        return Detections(boxes[inside], np.minimum(scores[inside], np.float32(1)))


def _best(people: People, most: int) -> People:
    """The `most` people with the highest scores, best first."""
    boxes, scores = people
    order = np.argsort(-scores, kind="stable")[:most]
    return boxes[order], scores[order]


def _size_of(image: Image) -> tuple[int, int]:
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape or image.dtype != np.uint8:
        raise ValueError(f"image must be (H, W, 3) uint8 BGR, got {image.shape} {image.dtype}")
    return image.shape[0], image.shape[1]


def _find_outputs(card: ModelCard, size: tuple[int, int], shapes: Sequence[tuple[int | None, ...]]) -> tuple[int, ...]:
    """Where the outputs of the card's family stand among the model's, whose `shapes` may be unknown in part (None).

    No family has two outputs that would be confused: they differ in rank, or each tells its own stride. Raises
    EngineError where none fit.
    """
    cells = sum((size[0] // stride) * (size[1] // stride) for stride in STRIDES)
    grids = tuple((None, size[0] // stride, size[1] // stride, 5) for stride in STRIDES)
    wanted: tuple[tuple[int | None, ...], ...] = {
        "yolox": ((None, cells, None),),
        "yolox-decoded": ((None, None, None),),
        "yolov3": ((None, None, None),),
        "yolov8": ((None, None, None),),
        "yolo-nms-free": ((None, None, 6),),
        "rtmdet": grids,
        "end2end": ((None, None, 5), (None, None)),
    }[card.family]
    if len(shapes) == len(wanted):
        for order in permutations(range(len(shapes))):
            if all(_shape_fits(shapes[i], one) for i, one in zip(order, wanted, strict=True)):
                return order
    raise EngineError(
        f"{card.name}: outputs of family {card.family} at {size[0]}x{size[1]} must be "
        f"{_words(wanted)}, got {_words(shapes)}; mend its card or name another family"
    )


def _shape_fits(got: tuple[int | None, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(got) == len(wanted) and all(w is None or g in (None, w) for g, w in zip(got, wanted, strict=True))


def _words(shapes: Sequence[tuple[int | None, ...]]) -> str:
    return " and ".join("(" + ", ".join("?" if n is None else str(n) for n in shape) + ")" for shape in shapes)
