"""Non-maximum suppression in torch, of which nothing is waited for: its result has the size of its input.

torchvision.ops.nms, which gives the same boxes, returns as many indices as boxes stay, and so waits for the device.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engines.nms import Floats, nms

MOST = 256
"""Boxes of a picture that are settled on the device, the best. One of 131 pictures of clips and of COCO has more that
are scored 0.1 or better, a crowd's 351."""
ROUNDS = 12
"""Rounds on the device; those pictures need 6 at most, and 9 with boxes of all scores."""

_TINY = torch.finfo(torch.float32).tiny
_KEPT, _UNDECIDED = 1.0, 0.5


def suppress(boxes: Tensor, scores: Tensor, iou: float) -> Tensor:
    """Which of the boxes (N, K, 4) xyxy of N pictures stay, (N, K) float32: 1 stays, 0 goes, between them undecided.

    `scores` (N, K) fall; a box scored below 0 is none. The rounds are those of `engines.nms.nms`, side by side for all
    pictures, but ROUNDS at most and for the MOST best boxes. Of odd and even rounds one keeps too few and the other too
    many: where the last two agree they are right, and `settled` decides the rest.
    """
    exists = (scores >= 0).float()
    best = exists[:, None, :MOST]  # (N, 1, k)
    beats = (_iou(boxes[:, :MOST]) > iou).triu_(diagonal=1).float()  # (N, k, k), row suppresses column
    kept = before = best
    for _ in range(ROUNDS):
        kept, before = torch.baddbmm(best, kept, beats, alpha=-1).clamp_min_(0), kept
    return torch.cat([(kept + before)[:, 0] / 2, exists[:, MOST:] * _UNDECIDED], dim=1)


def settled(boxes: Floats, scores: Floats, states: Floats, iou: float) -> tuple[Floats, Floats]:
    """The boxes and scores of one picture that stay, best first, by what `suppress` says of them, on the host by now.

    `boxes` is (K, 4), `scores` and `states` are (K,). What was too much for the device is begun anew here.
    """
    if ((states > 0) & (states < _KEPT)).any():
        exists = scores >= 0
        boxes, scores = boxes[exists], scores[exists]
        kept = nms(boxes, scores, iou)
        return boxes[kept], scores[kept]
    stay = states == _KEPT
    return boxes[stay], scores[stay]


def _iou(boxes: Tensor) -> Tensor:
    """Intersection over union (N, K, K) of boxes (N, K, 4) xyxy with each other; 0 where a box has no area."""
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp_min(0)
    area = sides[..., 0] * sides[..., 1]
    shared = _overlap(boxes[..., 0], boxes[..., 2]).mul_(_overlap(boxes[..., 1], boxes[..., 3]))
    union = (area[:, :, None] + area[:, None, :]).sub_(shared)
    return shared.div_(union.clamp_min_(_TINY))


def _overlap(start: Tensor, end: Tensor) -> Tensor:
    """How far (N, K, K) the spans from `start` to `end` (N, K) overlap."""
    first, last = torch.maximum(start[:, :, None], start[:, None, :]), torch.minimum(end[:, :, None], end[:, None, :])
    return last.sub_(first).clamp_min_(0)
