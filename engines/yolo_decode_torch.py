"""What the YOLO families put out, as boxes of people, in torch: what engines/yolo_decode.py does, on the device.

Each function takes the outputs for N pictures (the model's), the (height, width) of the input in pixels and the lowest
score that counts. None asks the device how many people there are: each returns all A boxes (N, A, 4) float32 xyxy in
pixels of the input, and their scores (N, A) float32 in [0, 1], or NOBODY where the box is of none that counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from engines import yolo_decode

People = tuple[Tensor, Tensor]
Decode = Callable[[Sequence[Tensor], tuple[int, int], float], People]

NOBODY = -1.0
"""The score of a box that is no person's."""


def decode_yolox(outputs: Sequence[Tensor], size: tuple[int, int], threshold: float) -> People:
    """YOLOX as trained, (N, A, 5 + classes); raises ValueError where A is not that of `size`."""
    (output,) = outputs
    cells, strides = _grid(size, output.device)
    if len(cells) != output.shape[1]:
        raise ValueError(f"a YOLOX output of a {size[0]}x{size[1]} input has {len(cells)} rows, got {output.shape[1]}")
    boxes = _corners((output[..., :2] + cells) * strides, output[..., 2:4].exp() * strides)
    return boxes, _yolox_scores(output, threshold)


def decode_yolox_decoded(outputs: Sequence[Tensor], _size: tuple[int, int], threshold: float) -> People:
    """YOLOX exported with its decoding, and YOLOv3, (N, A, 5 + classes)."""
    (output,) = outputs
    return _corners(output[..., :2], output[..., 2:4]), _yolox_scores(output, threshold)


def decode_yolov8(outputs: Sequence[Tensor], _size: tuple[int, int], threshold: float) -> People:
    """YOLOv8 and YOLO11, (N, 4 + classes, A)."""
    output = outputs[0].transpose(1, 2)
    classes = output[..., 4:]
    scores = _counted(classes[..., 0], (classes[..., 0] >= threshold) & _is_best(classes))
    return _corners(output[..., :2], output[..., 2:4]), scores


def decode_nms_free(outputs: Sequence[Tensor], _size: tuple[int, int], threshold: float) -> People:
    """YOLOv10, YOLO26, (N, D, 6)."""
    (found,) = outputs
    return found[..., :4], _counted(found[..., 4], (found[..., 4] >= threshold) & (found[..., 5] == 0))


def decode_end2end(outputs: Sequence[Tensor], _size: tuple[int, int], threshold: float) -> People:
    """Exports with NMS inside: dets (N, D, 5) and labels (N, D)."""
    dets, labels = outputs if outputs[0].ndim == 3 else outputs[::-1]
    return dets[..., :4], _counted(dets[..., 4], (dets[..., 4] >= threshold) & (labels == 0))


def decode_rtmdet(outputs: Sequence[Tensor], size: tuple[int, int], threshold: float) -> People:
    """RTMDet's raw heads of one class: per grid (N, h, w, 5)."""
    boxes, scores = zip(*(_rtmdet_grid(output, size, threshold) for output in outputs), strict=True)
    return torch.cat(boxes, dim=1), torch.cat(scores, dim=1)


def best(people: People, most: int) -> People:
    """The `most` people with the highest scores, best first, those of equal scores in the order they were in."""
    boxes, scores = people
    scores, order = scores.sort(dim=1, descending=True, stable=True)
    scores, order = scores[:, :most], order[:, :most]
    return boxes.gather(1, order[..., None].expand(-1, -1, 4)), scores


DECODERS: dict[str, Decode] = {
    "yolox": decode_yolox,
    "yolox-decoded": decode_yolox_decoded,
    "yolov3": decode_yolox_decoded,
    "yolov8": decode_yolov8,
    "yolo-nms-free": decode_nms_free,
    "rtmdet": decode_rtmdet,
    "end2end": decode_end2end,
}
"""The families by the name a model card gives them."""


@cache
def _grid(size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """The cells (A, 2) of an input and their strides (A, 1), see `yolo_decode.grid`; on the device from then on."""
    cells, strides = yolo_decode.grid(size)
    return torch.as_tensor(cells, device=device), torch.as_tensor(strides, device=device)[:, None]


def _rtmdet_grid(output: Tensor, size: tuple[int, int], threshold: float) -> People:
    _, height, width, _ = output.shape
    stride = size[0] / height
    x = torch.arange(width, device=output.device) * stride
    y = torch.arange(height, device=output.device) * stride
    corner = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)  # (h, w, 2)
    boxes = torch.cat([corner - output[..., 1:3], corner + output[..., 3:5]], dim=-1)
    scores = output[..., 0].sigmoid()
    return boxes.flatten(1, 2), _counted(scores, scores >= threshold).flatten(1)


def _yolox_scores(output: Tensor, threshold: float) -> Tensor:
    """Objectness times class of the people in (N, A, 5 + classes)."""
    scores = output[..., 4] * output[..., 5]
    return _counted(scores, (scores >= threshold) & _is_best(output[..., 5:]))


def _is_best(classes: Tensor) -> Tensor:
    """Whether class 0 of (N, A, classes) is the best, or the first of the best."""
    return classes[..., 0] >= classes.amax(dim=-1)


def _counted(scores: Tensor, counts: Tensor) -> Tensor:
    """The scores where they count."""
    return torch.where(counts, scores, NOBODY)


def _corners(centers: Tensor, sizes: Tensor) -> Tensor:
    """Boxes (N, A, 4) xyxy of their centres and sizes, (N, A, 2) each."""
    return torch.cat([centers - sizes / 2, centers + sizes / 2], dim=-1)
