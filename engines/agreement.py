"""How far one way to run a network finds what another finds: boxes by average precision, poses by OKS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engines.nms import box_iou
from engines.oks import SEEN, oks
from engines.results import Detections, Poses

Floats = NDArray[np.float32]

OVERLAPS: Final = np.linspace(0.5, 0.95, 10)
"""IoU from which a box counts as found, one after the other (cocoapi, cocoeval.py, `iouThrs`)."""
RECALLS: Final = np.linspace(0, 1, 101)
"""Where precision is read (there, `recThrs`)."""
BODY_OF_BOX: Final = 0.53
"""The area of a body by that of its box, as COCO's annotations have it in the mean: OKS is judged by the body's."""


def box_agreement(found: Sequence[Detections], truth: Sequence[Detections]) -> float | None:
    """The AP of the boxes found in each picture, those of `truth` taken for true; None where that has none.

    As COCO's reference scoring does it (cocoeval.py): of IoU 0.50 to 0.95, precision read at 101 recalls, the scores
    of all pictures in one order.
    """
    count = sum(len(true.boxes) for true in truth)
    if not count:
        return None
    scores = np.concatenate([one.scores for one in found])
    hits = np.concatenate([_hits(one, true) for one, true in zip(found, truth, strict=True)], axis=1)
    order = np.argsort(-scores, kind="stable")
    return float(np.mean([_average_precision(row, count) for row in hits[:, order]]))


def box_distance(found: Sequence[Detections], truth: Sequence[Detections]) -> float:
    """How far what is found in each picture is from `truth`, as a mean over its people: 0 is alike, 1 is nobody found.

    Of a person the nearest counts, by IoU times the lower of both scores by the higher. Unlike AP it moves with each
    pixel, so that it tells which of two networks is nearer where both find everybody. ValueError where nobody is true.
    """
    best = [
        _nearest(one, true, overlaps)
        for one, true in zip(found, truth, strict=True)
        if len(true.boxes)
        for overlaps in (box_iou(true.boxes, one.boxes),)
    ]
    if not best:
        raise ValueError("nobody is in the pictures, give some with people")
    return 1 - float(np.concatenate(best).mean())


def _nearest(found: Detections, truth: Detections, overlaps: Floats) -> Floats:
    """The likeness (M,) of what is nearest to each of M true people; `overlaps` is (M, N)."""
    if not len(found.boxes):
        return np.zeros(len(truth.boxes), np.float32)
    pairs = np.stack(np.broadcast_arrays(truth.scores[:, None], found.scores[None, :]))
    alike: Floats = (overlaps * pairs.min(axis=0) / pairs.max(axis=0)).max(axis=1)
    return alike


def _hits(found: Detections, truth: Detections) -> NDArray[np.bool_]:
    """Which of the boxes found (N) is a true one, at each of OVERLAPS: (10, N).

    Best first, each takes the true box that it overlaps most of those yet untaken.
    """
    overlaps = box_iou(found.boxes, truth.boxes)
    hits = np.zeros((len(OVERLAPS), len(found.boxes)), np.bool_)
    for hit, least in zip(hits, OVERLAPS, strict=True):
        free = np.ones(len(truth.boxes), np.bool_)
        for row, shared in enumerate(overlaps if len(truth.boxes) else ()):
            best = int(np.where(free, shared, -1).argmax())
            if free[best] and shared[best] >= least:
                hit[row], free[best] = True, False
    return hits


def _average_precision(hits: NDArray[np.bool_], count: int) -> float:
    """The AP of boxes, best first, of which `hits` (N,) are true, where there are `count` true ones."""
    true = np.cumsum(hits)
    precision = true / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]  # the best precision at this recall or a higher one
    at = np.searchsorted(true / count, RECALLS, side="left")
    return float(np.append(envelope, 0.0)[at].mean())


def pose_agreement(found: Sequence[Poses], truth: Sequence[Poses], boxes: Sequence[Floats]) -> float | None:
    """The mean OKS of poses to those of `truth`, row by row; None where that is sure of no joint.

    `boxes[i]` (M_i, 4) are those of the people. Only joints count that the truth scores above SEEN: where one way sees
    nothing, its highest cell lies anywhere.
    """
    rows = []
    for one, true, own in zip(found, truth, boxes, strict=True):
        seen = true.scores > SEEN
        alike = oks(true.keypoints, one.keypoints, _areas(own)[:, None], true.skeleton.sigmas, seen)
        rows.append(np.diagonal(alike)[seen.any(axis=1)])
    people = np.concatenate(rows) if rows else np.zeros(0)
    return float(people.mean()) if len(people) else None


def joint_agreement(
    found: Sequence[Poses], joints: Sequence[Floats], boxes: Sequence[Floats], names: Sequence[str]
) -> float:
    """The mean OKS of poses to the true `joints[i]` (M_i, len(names), 2), row by row; 0 where there is nobody.

    Pictures whose joints are unknown, (0, len(names), 2), are passed over.
    """
    people: list[float] = []
    for one, true, own in zip(found, joints, boxes, strict=True):
        if len(true):
            order = [one.skeleton.names.index(name) for name in names]
            sigmas = tuple(one.skeleton.sigmas[joint] for joint in order)
            alike = oks(true, one.keypoints[:, order], _areas(own)[:, None], sigmas)
            people += np.diagonal(alike).tolist()
    return float(np.mean(people)) if people else 0.0


def _areas(boxes: Floats) -> NDArray[np.float64]:
    """About what the bodies in boxes (M, 4) cover, (M,) in square pixels."""
    sides = boxes[:, 2:].astype(np.float64) - boxes[:, :2]
    area: NDArray[np.float64] = BODY_OF_BOX * sides[:, 0] * sides[:, 1]
    return area
