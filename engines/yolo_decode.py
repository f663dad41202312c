"""What the YOLO families put out, as boxes of people; one function per family, all of one form.

Each takes the outputs for one picture (the model's, without their first dimension), the (height, width) of the input in
pixels and the lowest score that counts, and returns the people's boxes (n, 4) float32 xyxy in pixels of the input and
their scores (n,) float32 in [0, 1], unordered, before any suppression. A person is class 0; where a model knows other
classes too, a box is a person where that is its best class, as in YOLOX's post-processing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
People = tuple[Floats, Floats]
Decode = Callable[[Sequence[Floats], tuple[int, int], float], People]

STRIDES = (8, 16, 32)
"""Input pixels per cell of a YOLO's three grids, in the order of its output."""


def decode_yolox(outputs: Sequence[Floats], size: tuple[int, int], threshold: float) -> People:
    """YOLOX as trained, (A, 5 + classes): cx, cy in cells from their own, log w, h in cells, objectness, classes.

    Source: the reference code's `YOLOXHead.decode_outputs`. Raises ValueError where A is not that of `size`.
    """
    rows, scores = _yolox_people(outputs[0], threshold)
    cells, strides = grid(size)
    if len(cells) != len(outputs[0]):
        raise ValueError(f"a YOLOX output of a {size[0]}x{size[1]} input has {len(cells)} rows, got {len(outputs[0])}")
    found, stride = outputs[0][rows], strides[rows, None]
    return _corners((found[:, :2] + cells[rows]) * stride, np.exp(found[:, 2:4]) * stride), scores


def decode_yolox_decoded(outputs: Sequence[Floats], _size: tuple[int, int], threshold: float) -> People:
    """YOLOX exported with its decoding, and YOLOv3: (A, 5 + classes) cx, cy, w, h in pixels, objectness, classes."""
    rows, scores = _yolox_people(outputs[0], threshold)
    found = outputs[0][rows]
    return _corners(found[:, :2], found[:, 2:4]), scores


def decode_yolov8(outputs: Sequence[Floats], _size: tuple[int, int], threshold: float) -> People:
    """YOLOv8 and YOLO11, (4 + classes, A): cx, cy, w, h in pixels, then a score per class."""
    classes = outputs[0][4:]
    columns = np.flatnonzero(classes[0] >= threshold)
    columns = columns[classes[:, columns].argmax(axis=0) == 0]
    found = outputs[0][:4, columns].T
    return _corners(found[:, :2], found[:, 2:]), classes[0, columns]


def decode_nms_free(outputs: Sequence[Floats], _size: tuple[int, int], threshold: float) -> People:
    """YOLOv10, YOLO26, (D, 6): x1, y1, x2, y2 in pixels, score, class."""
    (found,) = outputs
    found = found[(found[:, 4] >= threshold) & (found[:, 5] == 0)]
    return found[:, :4], found[:, 4]


def decode_end2end(outputs: Sequence[Floats], _size: tuple[int, int], threshold: float) -> People:
    """Exports with NMS inside: dets (D, 5) x1, y1, x2, y2 in pixels, score, and labels (D,)."""
    dets, labels = outputs if outputs[0].ndim == 2 else outputs[::-1]
    found = dets[(dets[:, 4] >= threshold) & (labels == 0)]
    return found[:, :4], found[:, 4]


def decode_rtmdet(outputs: Sequence[Floats], size: tuple[int, int], threshold: float) -> People:
    """RTMDet's raw heads of one class: per grid (h, w, 5) a logit, and pixels from the cell's corner to l, t, r, b."""
    boxes, scores = zip(*(_rtmdet_grid(output, size, threshold) for output in outputs), strict=True)
    return np.concatenate(boxes), np.concatenate(scores)


def _rtmdet_grid(output: Floats, size: tuple[int, int], threshold: float) -> People:
    stride = size[0] / output.shape[0]
    scores = 0.5 + 0.5 * np.tanh(0.5 * output[..., 0])  # the logistic function, without its overflow
    y, x = np.nonzero(scores >= threshold)
    found = output[y, x]
    corner = np.stack([x, y], axis=-1).astype(np.float32) * np.float32(stride)
    return np.concatenate([corner - found[:, 1:3], corner + found[:, 3:5]], axis=-1), scores[y, x]


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
def grid(size: tuple[int, int]) -> tuple[Floats, Floats]:
    """The cells of an input (height, width): x, y (A, 2) of each in cells, and its stride (A,) in pixels."""
    cells, strides = [], []
    for stride in STRIDES:
        y, x = np.indices((size[0] // stride, size[1] // stride)).reshape(2, -1)
        cells.append(np.stack([x, y], axis=-1).astype(np.float32))
        strides.append(np.full(len(x), stride, np.float32))
    return np.concatenate(cells), np.concatenate(strides)


def _yolox_people(output: Floats, threshold: float) -> tuple[NDArray[np.int64], Floats]:
    """The rows of people in a YOLOX output (A, 5 + classes), and their scores: objectness times class."""
    scores = output[:, 4] * output[:, 5]
    rows = np.flatnonzero(scores >= threshold)
    rows = rows[output[rows, 5:].argmax(axis=1) == 0]
    return rows, scores[rows]


def _corners(centers: Floats, sizes: Floats) -> Floats:
    """Boxes (n, 4) xyxy of their centres and sizes, (n, 2) each."""
    return np.concatenate([centers - sizes / 2, centers + sizes / 2], axis=-1)
