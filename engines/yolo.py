"""Pictures to the people in them, by every YOLO family of CONTRACTS.md part 3."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engines.backends.base import Backend, EngineError
from engines.cards import ModelCard
from engines.images import ImageBatch, on_device
from engines.letterbox import Letterbox, fit
from engines.nms import nms
from engines.normalize import to_batch
from engines.results import Detections, Image
from engines.yolo_decode import DECODERS, STRIDES, People

if TYPE_CHECKING:
    from engines.backends.base import DeviceBackend

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

    Where the backend runs on tensors, all is done on its device: nothing is waited for but the boxes, which come back
    in one transfer. The `images` are to be shared with the pose estimator that is given the same pictures next.
    It does not own the backend. Raises EngineError on construction where the model is no detector or its outputs do
    not have the form of the card's family.
    """

    def __init__(
        self,
        backend: Backend,
        card: ModelCard,
        options: DetectorOptions | None = None,
        images: ImageBatch | None = None,
    ) -> None:
        if card.family not in DECODERS:
            raise EngineError(
                f"{card.name}: family must be one of {', '.join(DECODERS)}, got {card.family}; mend its card"
            )
        self._backend = backend
        self._card = card
        self._options = options or DetectorOptions()
        self._images = images or ImageBatch()
        height, width = backend.inputs[0].shape[2:]
        if height is None or width is None:
            raise EngineError(f"{card.name}: the input size must be known, got {backend.inputs[0].shape}; name it")
        self._size = (height, width)
        self._order = _find_outputs(card, self._size, [output.shape for output in backend.outputs])

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        """The people in each of `images`, best first: one Detections an image, clipped to it."""
        if not images:
            return []
        boxed = [fit(_size_of(image), self._size, self._card.letterbox) for image in images]
        backend = on_device(self._backend)
        people = self._find(images, boxed) if backend is None else self._find_on_device(backend, images, boxed)
        return [_in_frame(own, letterbox) for own, letterbox in zip(people, boxed, strict=True)]

    def _find(self, images: Sequence[Image], boxed: Sequence[Letterbox]) -> list[People]:
        """The people in each picture, best first, in pixels of the input."""
        spec = self._card.input
        pictures = [box.paint(image, self._card.pad) for box, image in zip(boxed, images, strict=True)]
        batch = to_batch(pictures, spec.color == "rgb", spec.scale, spec.mean, spec.std)
        found = self._backend.infer(batch)
        outputs = [found[i] for i in self._order]
        return [self._people([output[row] for output in outputs]) for row in range(len(images))]

    def _people(self, outputs: Sequence[NDArray[np.float32]]) -> People:
        """The people in one picture, of the outputs for it."""
        decode = DECODERS[self._card.family]
        boxes, scores = _best(decode(outputs, self._size, self._options.confidence), MAX_CANDIDATES)
        if self._card.family in _SUPPRESSED:
            return boxes, scores
        kept = nms(boxes, scores, self._options.iou)
        return boxes[kept], scores[kept]

    def _find_on_device(
        self, backend: DeviceBackend, images: Sequence[Image], boxed: Sequence[Letterbox]
    ) -> list[People]:
        """What `_find` does, by torch, where the backend is."""
        from engines import letterbox_torch, nms_torch, normalize_torch, yolo_decode_torch

        spec, iou = self._card.input, self._options.iou
        pictures = letterbox_torch.paint(self._images.put(images, backend.device), boxed, self._card.pad)
        batch = normalize_torch.normalize(pictures, spec.color == "rgb", spec.scale, spec.mean, spec.std)
        found = backend.infer_tensors(batch)
        decode = yolo_decode_torch.DECODERS[self._card.family]
        people = decode([found[i] for i in self._order], self._size, self._options.confidence)
        boxes, scores = yolo_decode_torch.best(people, MAX_CANDIDATES)
        is_suppressed = self._card.family in _SUPPRESSED
        states = (scores >= 0).float() if is_suppressed else nms_torch.suppress(boxes, scores, iou)
        fetched = zip(*self._images.copies.fetch([boxes, scores, states]), strict=True)
        return [nms_torch.settled(own, own_scores, state, iou) for own, own_scores, state in fetched]


def _in_frame(people: People, letterbox: Letterbox) -> Detections:
    """The people of one picture in pixels of its frame, clipped to it."""
    boxes, scores = people
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
