"""The lesson of a detector: a person-only YOLOX learns packed pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines.backends.base import Backend, open_backend
from engines.letterbox import Size
from engines.nets.unfold import balance, calibrate, layers
from engines.nets.yolox import Yolox
from engines.nets.yolox_start import init_yolox, traced
from engines.nms import box_iou, nms
from engines.results import Detections, Image
from engines.training.mosaic import MosaicOptions, collate, letterboxed, make_batch
from engines.training.picture_pack import PackedPeople, PicturePack
from engines.training.yolox_loss import Cells, detection_loss, distillation_loss
from engines.yolo_decode import decode_yolox

LOWEST: Final = 0.01
"""Score from which on a box is marked."""
SUPPRESSED: Final = 0.6
"""Overlap from which on the worse of two boxes goes, as detectors are scored."""
MOST: Final = 100
"""Boxes of one picture that are marked."""
MATCHED: Final = 0.5
"""Overlap from which on a box has found a person."""
VALIDATED: Final = 16
"""Pictures in one call while marking."""
CALIBRATED: Final = 4
"""Batches that a network from elsewhere is calibrated on."""
RECALLS: Final = np.linspace(0, 1, 101)
"""At which COCO reads the precision."""
PRIOR: Final = 0.01
"""The score of all cells of a network that has learned nothing."""
SHEET: Final = (4, 6)
"""Rows and columns of the sheet."""
DRAWN_TOGETHER: Final = 4
"""Pictures drawn by their shares, for each of a batch, which may be a mosaic of as many."""
DRAWN: Final = 0.4
"""Score from which on a box is drawn."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class DetectorTraining:
    """How a detector is learnt.

    Without `init`, a checkpoint or an ONNX whose layout wins, the network is a new YOLOX of `depth` and `width`. It is
    trained on the `sizes` (height, width) in turn at random and marked at `size`. The last `plain_steps` of `steps` are
    without mosaic. `distil`, an ONNX of a YOLOX, teaches its scores and boxes beside the labels, by so much.
    """

    width: float = 0.25
    depth: float = 0.33
    depthwise: bool = False
    init: Path | None = None
    size: Size = (416, 416)
    sizes: tuple[Size, ...] = ()
    batch: int = 16
    steps: int = 10_000
    plain_steps: int = 1_500
    seed: int = 0
    mosaic: MosaicOptions = field(default_factory=MosaicOptions)
    distil: Path | None = None
    distil_weight: float = 0.5

    def __post_init__(self) -> None:
        if min(self.batch, self.steps) < 1 or not 0 <= self.plain_steps <= self.steps:
            raise ValueError(f"batch and steps must be 1 or more and plain_steps no more than steps, got {self}")
        odd = next((size for size in (self.size, *self.sizes) if size[0] % 32 or size[1] % 32 or min(size) < 32), None)
        if odd is not None:
            raise ValueError(f"size must be multiples of 32 (height, width), got {odd}")


class DetectorLesson:
    """Teaches people's boxes from the pictures `learnt` of a pack, and marks by those `held`; numbers of the pack.

    Pictures are drawn as often as `shares` (n,) of those learnt say, without it all alike. Marks of all steps compare.
    """

    compares = True

    def __init__(
        self,
        pack: PicturePack,
        options: DetectorTraining,
        learnt: NDArray[np.int64],
        held: NDArray[np.int64],
        shares: NDArray[np.float64] | None = None,
    ) -> None:
        self._pack, self._options = pack, options
        self._shares = None if shares is None else shares / shares.sum()
        self._learnt, self._held = learnt.tolist(), held.tolist()
        self._sizes = options.sizes or (options.size,)
        self._teachers: dict[Size, Backend] = {}
        self._cells: dict[Size, Cells] = {}
        self.network: Yolox = self._first()

    def grade(self, step: int) -> int:
        """0 while pictures are mosaics, 1 in the last phase."""
        return int(step >= self._options.steps - self._options.plain_steps)

    def loss(self, network: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
        """The loss of the batch of a step."""
        options, is_plain = self._options, bool(self.grade(step))
        rng = np.random.default_rng((options.seed, step))
        size = self._sizes[int(rng.integers(len(self._sizes)))]
        numbers = self._learnt
        if self._shares is not None:
            numbers = rng.choice(self._learnt, DRAWN_TOGETHER * options.batch, p=self._shares).tolist()
        batch = make_batch(self._pack, numbers, size, options.batch, rng, options.mosaic, is_plain=is_plain)
        device = next(network.parameters()).device
        batch = batch.to(device)
        cells = self._cells_of(size, device)
        rows = network(batch.images.contiguous(memory_format=torch.channels_last))
        with torch.autocast(device.type, enabled=False):
            loss, parts = detection_loss(rows, cells, batch.people(), with_raw=is_plain)
            if options.distil is not None:
                (found,) = self._teacher(options.distil, size).infer(batch.images.cpu().numpy())
                taught = distillation_loss(rows, cells, torch.from_numpy(found).to(device))
                loss, parts["taught"] = loss + options.distil_weight * taught, taught.detach()
        return loss, {name: float(value) for name, value in parts.items()}

    def validate(self, network: nn.Module, step: int) -> dict[str, float]:  # noqa: ARG002  # all steps alike
        """AP at an overlap of 0.5 with the people of the held pictures, and how many of them are found at all."""
        truth = [letterboxed(self._pack, number, self._options.size)[1] for number in self._held]
        ap, recall = mark_boxes(self._detect(network, self._held), truth)
        return {"score": ap, "ap50": ap, "recall": recall}

    def sheet(self, network: nn.Module, step: int) -> NDArray[np.uint8] | None:  # noqa: ARG002  # shows all alike
        """Some of the held pictures with what is found in them and, thin, who is there."""
        shown = self._held[: SHEET[0] * SHEET[1]]
        if not shown:
            return None
        cells = np.zeros((SHEET[0] * SHEET[1], *self._options.size, 3), np.uint8)
        for i, (number, found) in enumerate(zip(shown, self._detect(network, shown), strict=True)):
            image, people = letterboxed(self._pack, number, self._options.size)
            cells[i] = _drawn(image, people, found)
        grid = cells.reshape(*SHEET, *self._options.size, 3).transpose(0, 2, 1, 3, 4)
        height, width = self._options.size
        return np.ascontiguousarray(grid.reshape(SHEET[0] * height, SHEET[1] * width, 3)[::2, ::2])

    def close(self) -> None:
        """Close the teacher, where there is one; once is enough."""
        while self._teachers:
            self._teachers.popitem()[1].close()

    def _first(self) -> Yolox:
        """The network before the first step."""
        options = self._options
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            if options.init is None:
                return new_yolox(options.depth, options.width, options.depthwise)
        network = init_yolox(options.init)
        rng = np.random.default_rng(options.seed)
        batches = (
            make_batch(self._pack, self._learnt, options.size, options.batch, rng, options.mosaic).images
            for _ in range(CALIBRATED)
        )
        balance(layers(network, traced()).values())
        calibrate(network, batches)
        return network

    def _detect(self, network: nn.Module, numbers: Sequence[int]) -> list[Detections]:
        """What a network in eval mode finds in letterboxed pictures, in pixels of the input."""
        device, size = next(network.parameters()).device, self._options.size
        found = []
        for start in range(0, len(numbers), VALIDATED):
            parts = [letterboxed(self._pack, number, size) for number in numbers[start : start + VALIDATED]]
            batch = collate([image for image, _ in parts], [people for _, people in parts])
            images = batch.images.to(device).contiguous(memory_format=torch.channels_last)
            with torch.inference_mode():
                rows = network(images).float().cpu().numpy()
            found += [_people(row, size) for row in rows]
        return found

    def _teacher(self, path: Path, size: Size) -> Backend:
        if size not in self._teachers:
            self._teachers[size] = open_backend(path, input_size=size, threads=torch.get_num_threads())
        return self._teachers[size]

    def _cells_of(self, size: Size, device: torch.device) -> Cells:
        if size not in self._cells or self._cells[size].strides.device != device:
            self._cells[size] = Cells.of(size, device)
        return self._cells[size]


def new_yolox(depth: float, width: float, depthwise: bool) -> Yolox:
    """A person-only YOLOX that has learned nothing, and thinks each cell as unlikely a person as most are."""
    network = Yolox(depth, width, depthwise, classes=1)
    bias = float(np.log(PRIOR / (1 - PRIOR)))
    for name, parameter in network.named_parameters():
        if name.startswith(("head.obj_preds", "head.cls_preds")) and name.endswith("bias"):
            nn.init.constant_(parameter, bias)
    return network


def mark_boxes(found: Sequence[Detections], truth: Sequence[PackedPeople]) -> tuple[float, float]:
    """AP, read as COCO does, and recall of boxes by picture at an overlap of 0.5; 0 and 0 where nobody is there.

    A box that finds nobody but overlaps what is passed over counts neither way.
    """
    scores, hits = [np.zeros(0, np.float32)], [np.zeros(0, np.bool_)]
    for own, people in zip(found, truth, strict=True):
        is_hit, counted = _match(own, people)
        scores.append(own.scores[counted])
        hits.append(is_hit[counted])
    wanted = sum(int((~people.passed).sum()) for people in truth)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    right = np.concatenate(hits)[order].cumsum()
    if not wanted or not len(right):
        return 0.0, 0.0
    recalls, precisions = right / wanted, right / np.arange(1, len(right) + 1)
    envelope = np.append(np.maximum.accumulate(precisions[::-1])[::-1], 0)
    ap = float(envelope[np.searchsorted(recalls, RECALLS, side="left")].mean())
    return ap, float(recalls[-1])


def _match(found: Detections, people: PackedPeople) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which boxes, best first, find a person that none before found, and which are to be counted."""
    ious = box_iou(found.boxes, people.boxes[~people.passed])
    hits = np.zeros(len(found.boxes), np.bool_)
    free = np.ones(ious.shape[1], np.bool_)
    for row, own in enumerate(ious):
        left = np.where(free, own, 0)
        if left.max(initial=0) >= MATCHED:
            hits[row] = True
            free[left.argmax()] = False
    is_passed = _covered(found.boxes, people.boxes[people.passed]) >= MATCHED
    return hits, hits | ~is_passed


def _covered(boxes: Floats, areas: Floats) -> Floats:
    """The largest share (N,) of each box that lies in one of the areas (M, 4)."""
    start = np.maximum(boxes[:, None, :2], areas[None, :, :2])
    end = np.minimum(boxes[:, None, 2:], areas[None, :, 2:])
    shared = np.clip(end - start, 0, None).prod(axis=2)
    whole = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), np.finfo(np.float32).tiny)
    shares: Floats = shared.max(axis=1, initial=0) / whole
    return shares


def _people(rows: Floats, size: Size) -> Detections:
    """The people of one picture, best first, out of the rows of a YOLOX."""
    boxes, scores = decode_yolox([rows], size, LOWEST)
    kept = nms(boxes, scores, SUPPRESSED)[:MOST]
    return Detections(boxes[kept], scores[kept])


def _drawn(image: Image, people: PackedPeople, found: Detections) -> Image:
    """A copy of a picture with its people thin and white, and what was found in green."""
    drawn = image.copy()
    sure = found.boxes[found.scores >= DRAWN]
    for boxes, color, thickness in ((sure, (80, 220, 80), 2), (people.boxes[~people.passed], (255, 255, 255), 1)):
        for x1, y1, x2, y2 in np.clip(boxes, -9999, 9999).round().astype(int).tolist():
            cv2.rectangle(drawn, (x1, y1), (x2, y2), color, thickness)
    return drawn
