"""SimOTA: which cells of a YOLOX are to find which person of a picture.

Source: Ge et al., YOLOX: Exceeding YOLO Series in 2021, section 2.1, and OTA: Optimal Transport Assignment for Object
Detection (2021), with the constants of the reference code.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

CENTER_CELLS = 2.5
"""How far from a person's centre a cell counts as near it, in cells of its own stride."""
IOU_COST = 3.0
"""Of the logarithm of the overlap, beside the cost of the score."""
FAR_COST = 1e5
"""Of a cell that lies within the box or near its centre, but not both."""
MOST_CELLS = 10
"""Cells that one person has at most; so many of the best overlaps also tell how many it shall have."""
TINY = 1e-8


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """The F cells that have a person to find: `cells` and `people` (F,) int64, and `ious` (F,) of box and person."""

    cells: Tensor
    people: Tensor
    ious: Tensor


def assign(people: Tensor, centers: Tensor, strides: Tensor, boxes: Tensor, logits: Tensor) -> Assignment:
    """The cells for the `people` (G, 4) of one picture; boxes xyxy in pixels of the input.

    Cell a of A lies at `centers[a]`, (A, 2) xy pixels, is `strides[a]` wide, and found `boxes[a]`, (A, 4), with the
    logits (A, 2) of objectness and of the class. A cell finds one person at most.
    """
    inside, near = _within(people, centers), _near_center(people, centers, strides)
    candidates = (inside | near).any(dim=0).nonzero().squeeze(1)  # (N,)
    if not len(candidates):
        return Assignment(candidates, candidates, boxes.new_zeros(0))
    inside, near = inside[:, candidates], near[:, candidates]
    ious = box_iou(people, boxes[candidates])  # (G, N)
    costs = _score_cost(logits[candidates]) - IOU_COST * (ious + TINY).log()
    costs = costs + FAR_COST * ~(inside & near)
    costs = costs.masked_fill(~(inside | near), torch.inf)
    chosen = _cheapest(costs, _counts(ious))
    person, column = _settle(chosen, costs)
    return Assignment(candidates[column], person, ious[person, column])


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union (N, M) of boxes (N, 4) and (M, 4) xyxy; 0 where neither has an area."""
    start = torch.maximum(first[:, None, :2], second[None, :, :2])
    end = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (end - start).clamp(min=0).prod(dim=2)
    union = box_area(first)[:, None] + box_area(second)[None] - shared
    return shared / union.clamp(min=TINY)


def box_area(boxes: Tensor) -> Tensor:
    """The areas (N,) of boxes (N, 4) xyxy."""
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1)


def _within(people: Tensor, centers: Tensor) -> Tensor:
    """Which cells lie inside which boxes, (G, A)."""
    start, end = people[:, None, :2], people[:, None, 2:]
    return ((centers > start) & (centers < end)).all(dim=2)


def _near_center(people: Tensor, centers: Tensor, strides: Tensor) -> Tensor:
    """Which cells lie near the centres of which boxes, (G, A)."""
    middles = (people[:, None, :2] + people[:, None, 2:]) / 2
    return ((centers - middles).abs() < CENTER_CELLS * strides[:, None]).all(dim=2)


def _score_cost(logits: Tensor) -> Tensor:
    """The binary cross-entropy (N,) of the score of each cell, the root of objectness times class, against 1."""
    return softplus(-logits).sum(dim=1) / 2


def _counts(ious: Tensor) -> Tensor:
    """How many cells each person shall have, (G,): the sum of its best overlaps, rounded down, but one at least."""
    best = ious.topk(min(MOST_CELLS, ious.shape[1]), dim=1).values
    return best.sum(dim=1).long().clamp(min=1)


def _cheapest(costs: Tensor, counts: Tensor) -> Tensor:
    """Which cells each person would have, (G, N): its `counts` cheapest, but none of infinite cost."""
    cheapest = costs.topk(min(MOST_CELLS, costs.shape[1]), dim=1, largest=False)
    wanted = torch.arange(cheapest.indices.shape[1], device=costs.device) < counts[:, None]
    wanted &= cheapest.values.isfinite()
    return torch.zeros_like(costs, dtype=torch.bool).scatter_(1, cheapest.indices, wanted)


def _settle(chosen: Tensor, costs: Tensor) -> tuple[Tensor, Tensor]:
    """Person and column (F,) of the cells that are had; one that several people want goes to the cheapest of these."""
    column = chosen.any(dim=0).nonzero().squeeze(1)
    person = costs.masked_fill(~chosen, torch.inf)[:, column].argmin(dim=0)
    return person, column
