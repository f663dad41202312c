"""What a person-only YOLOX is trained by: its rows against the people of a batch, and against the rows of a teacher.

Source: Ge et al., YOLOX: Exceeding YOLO Series in 2021, and its reference code for the weights of the parts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits, l1_loss

from engines.training.simota import TINY, Assignment, assign

STRIDES = (8, 16, 32)
"""Input pixels per cell of the three grids."""
BOX_WEIGHT = 5.0
"""Of the loss of the boxes, beside those of objectness, class and raw numbers."""
LARGEST_LOG = 8.0
"""Cells, as a logarithm: no box is larger, and an untrained network's exponential stays finite."""
TEACHER_SCORE = 0.3
"""From which on a teacher's box is worth copying."""


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """The A cells of an input: `origins` (A, 2) xy of the corner in cells, `strides` (A,) in pixels."""

    origins: Tensor
    strides: Tensor

    @staticmethod
    def of(size: tuple[int, int], device: torch.device | None = None) -> Cells:
        """Those of an input of `size` (height, width), in the order of a YOLOX's rows."""
        origins, strides = [], []
        for stride in STRIDES:
            rows, columns = (torch.arange(side // stride, device=device) for side in size)
            y, x = torch.meshgrid(rows, columns, indexing="ij")
            origins.append(torch.stack([x, y], dim=2).reshape(-1, 2).float())
            strides.append(torch.full((len(origins[-1]),), float(stride), device=device))
        return Cells(torch.cat(origins), torch.cat(strides))

    @property
    def centers(self) -> Tensor:
        """Their centres, (A, 2) xy pixels."""
        return (self.origins + 0.5) * self.strides[:, None]

    def decode(self, raw: Tensor) -> Tensor:
        """Boxes (..., A, 4) xyxy pixels of the first four numbers of rows."""
        strides = self.strides[:, None]
        middles = (raw[..., :2] + self.origins) * strides
        halves = raw[..., 2:4].clamp(max=LARGEST_LOG).exp() * strides / 2
        return torch.cat([middles - halves, middles + halves], dim=-1)

    def encode(self, boxes: Tensor, cells: Tensor) -> Tensor:
        """The first four numbers (F, 4) by which `cells` (F,) would say the boxes (F, 4): the inverse of `decode`."""
        strides = self.strides[cells, None]
        middles, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        return torch.cat([middles / strides - self.origins[cells], (sides / strides).clamp(min=TINY).log()], dim=1)


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """Those of one picture of a batch, in pixels of the input.

    `boxes` (G, 4) xyxy, of `weights` (G,) in (0, 1]; `passed` (I, 4) are boxes in which nothing is background.
    """

    boxes: Tensor
    weights: Tensor
    passed: Tensor


def detection_loss(
    rows: Tensor, cells: Cells, people: list[People], *, with_raw: bool = False
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of rows (B, A, 6), whose scores are logits, and its parts by name.

    Each part is a sum over the batch divided by its number of cells that have a person. `with_raw` adds the plain
    difference of the numbers that say a box, for the last phase of a training.
    """
    rows = rows.float()
    boxes = cells.decode(rows)
    parts = [_picture_parts(row, box, cells, own) for row, box, own in zip(rows, boxes, people, strict=True)]
    found = torch.stack([part[0] for part in parts]).sum().clamp(min=1)
    names = ("box", "objectness", "class", "raw")
    sums = {name: torch.stack([part[1][i] for part in parts]).sum() / found for i, name in enumerate(names)}
    total = BOX_WEIGHT * sums["box"] + sums["objectness"] + sums["class"]
    if with_raw:
        total = total + sums["raw"]
    return total, {name: value.detach() for name, value in sums.items()}


def distillation_loss(rows: Tensor, cells: Cells, taught: Tensor) -> Tensor:
    """How far rows (B, A, 6), scores as logits, are from a teacher's (B, A, 6 or more), scores as such.

    Scores are objectness times that of the first class; boxes count where the teacher is fairly sure. Both are sums
    over the batch divided by the teacher's sum of scores.
    """
    rows = rows.float()
    wanted = taught[..., 4] * taught[..., 5]
    got = (rows[..., 4].sigmoid() * rows[..., 5].sigmoid()).clamp(TINY, 1 - 1e-6)
    scores = binary_cross_entropy(got, wanted, reduction="sum")
    weights = wanted * (wanted > TEACHER_SCORE)
    overlaps = _paired_iou(cells.decode(rows), cells.decode(taught))
    boxes = (weights * (1 - overlaps)).sum()
    raw = (weights[..., None] * (rows[..., :4] - taught[..., :4]).abs()).sum()
    return (scores + BOX_WEIGHT * boxes + raw) / wanted.sum().clamp(min=1)


def _picture_parts(row: Tensor, boxes: Tensor, cells: Cells, people: People) -> tuple[Tensor, list[Tensor]]:
    """How many cells of a picture have a person, and its sums of the losses of box, objectness, class and raw."""
    with torch.no_grad():
        found = assign(people.boxes, cells.centers, cells.strides, boxes, row[:, 4:6])
        objectness, counted = _objectness(people, cells.centers, found)
    own, weights = row[found.cells], people.weights[found.people]
    wanted = people.boxes[found.people]
    overlaps = _paired_iou(boxes[found.cells], wanted)
    losses = [
        (weights * (1 - overlaps.square())).sum(),
        binary_cross_entropy_with_logits(row[:, 4], objectness, counted, reduction="sum"),
        binary_cross_entropy_with_logits(own[:, 5], found.ious, weights, reduction="sum"),
        (weights[:, None] * l1_loss(own[:, :4], cells.encode(wanted, found.cells), reduction="none")).sum(),
    ]
    return weights.sum(), losses


def _objectness(people: People, centers: Tensor, found: Assignment) -> tuple[Tensor, Tensor]:
    """What the objectness of each cell shall be, and how much that counts, (A,) each."""
    wanted = centers.new_zeros(len(centers))
    start, end = people.passed[:, None, :2], people.passed[:, None, 2:]
    is_passed = ((centers > start) & (centers < end)).all(dim=2).any(dim=0)
    counted = (~is_passed).float()
    wanted[found.cells] = 1
    counted[found.cells] = people.weights[found.people]
    return wanted, counted


def _paired_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union (...) of boxes (..., 4) xyxy, each with its own."""
    start = torch.maximum(first[..., :2], second[..., :2])
    end = torch.minimum(first[..., 2:], second[..., 2:])
    shared = (end - start).clamp(min=0).prod(dim=-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(dim=-1) for boxes in (first, second)]
    return shared / (areas[0] + areas[1] - shared).clamp(min=TINY)
