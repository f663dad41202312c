"""Models and tensors in words, for the one line a user reads."""

from __future__ import annotations

import math
from collections.abc import Sequence

from engines.backends.base import TensorSpec
from engines.cards import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    JOINTS,
    NO_MEAN,
    NO_STD,
    OPENMMLAB_MEAN,
    OPENMMLAB_STD,
    Family,
    InputSpec,
    ModelCard,
)

FAMILY_WORDS: dict[Family, str] = {
    "heatmap": "heat maps",
    "simcc": "SimCC",
    "yolox": "YOLOX raw",
    "yolox-decoded": "YOLOX decoded",
    "yolov8": "YOLOv8/11",
    "yolo-nms-free": "YOLO without NMS",
    "rtmdet": "RTMDet raw heads",
    "end2end": "end to end with NMS inside",
    "yolov3": "YOLOv3",
}


def card_words(card: ModelCard, classes: int | None = None) -> str:
    """A card in one line, as `heat maps, 256x192, RGB ImageNet mean/std, 17 joints (coco17)`."""
    words = [FAMILY_WORDS[card.family], size_words(card.input.size), input_words(card.input)]
    if classes is not None:
        words.append(f"{classes} class" + ("" if classes == 1 else "es"))
    if card.skeleton is not None:
        words.append(f"{JOINTS[card.skeleton]} joints ({card.skeleton})")
    return ", ".join(words)


def input_words(spec: InputSpec) -> str:
    """Colour order and normalisation, as `BGR 0-255`."""
    color = spec.color.upper()
    for name, scale, mean, std in (
        ("0-255", 1.0, NO_MEAN, NO_STD),
        ("0-1", 1 / 255, NO_MEAN, NO_STD),
        ("ImageNet mean/std", 1 / 255, IMAGENET_MEAN, IMAGENET_STD),
        ("ImageNet mean/std", 1.0, OPENMMLAB_MEAN, OPENMMLAB_STD),
    ):
        step = 1 if spec.color == "rgb" else -1
        wanted = (scale, *mean[::step], *std[::step])
        got = (spec.scale, *spec.mean, *spec.std)
        if all(math.isclose(a, b, rel_tol=1e-3) for a, b in zip(got, wanted, strict=True)):
            return f"{color} {name}"
    return f"{color} scale {spec.scale:g} mean {list(spec.mean)} std {list(spec.std)}"


def size_words(size: tuple[int, int]) -> str:
    """(height, width) as `256x192`."""
    return f"{size[0]}x{size[1]}"


def tensor_words(specs: Sequence[TensorSpec]) -> str:
    """Tensors as `output (?, 8400, 85)`; ? is a free side."""
    return "; ".join(f"{spec.name} ({', '.join(str(side or '?') for side in spec.shape)})" for spec in specs)
