"""The weights of a trained YOLOX as the start of another training, out of a checkpoint or out of an ONNX file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from engines.backends.base import EngineError
from engines.nets.checkpoint import read_tensors
from engines.nets.unfold import fill, layers, read_convolutions
from engines.nets.yolox import STEM_CHANNELS, Yolox, build_yolox

MOST_BLOCKS = 6
"""Of a stage: deeper than YOLOX-x, which has 4."""
FEWEST = 40
"""Convolutions: no YOLOX has fewer, and what has them can be asked for its first and its last."""
TRACED_SIDE = 64
"""Pixels of the picture by which the order of a module's convolutions is seen."""


def init_yolox(path: Path) -> Yolox:
    """The person-only YOLOX of an official checkpoint or of an ONNX exported from one, in eval mode.

    Raises OSError where the file cannot be read, EngineError where it is no YOLOX or onnx is missing.
    """
    if path.suffix == ".onnx":
        network = unfold_yolox(path)
        network.keep_person()
        return network
    return build_yolox(read_tensors(path))


def unfold_yolox(path: Path) -> Yolox:
    """The YOLOX of an ONNX file with normalisations that do nothing but add the biases, in eval mode.

    Width, manner and depth are read from the shapes of its convolutions, which must follow one another in the order of
    the reference code or of ours.
    """
    folded = read_convolutions(path)
    shapes = [one.shape for one in folded]
    for blocks in range(1, MOST_BLOCKS + 1 if len(folded) >= FEWEST else 1):
        network = _made(shapes, blocks)
        own = layers(network, traced())
        for order in (list(own), _reference_order(list(own))):
            if [own[name].shape for name in order] == shapes:
                fill([own[name] for name in order], folded)
                return network
    raise EngineError(f"{path}: its {len(folded)} convolutions are not those of a YOLOX; name an ONNX of one")


def traced() -> Tensor:
    """A picture by which the order of the convolutions is seen."""
    return torch.zeros(1, 3, TRACED_SIDE, TRACED_SIDE)


def _made(shapes: Sequence[tuple[int, ...]], blocks: int) -> Yolox:
    """A YOLOX whose stem, manner and classes are those of the shapes, in eval mode."""
    depthwise = shapes[1][1] == 1
    is_ours = shapes[-1][0] == 4  # the boxes of a level come last; in the reference code it is objectness
    branch = 2 * (2 if depthwise else 1)
    classes = shapes[-2 if is_ours else -3 - branch][0]
    return Yolox(blocks / 3, shapes[0][0] / STEM_CHANNELS, depthwise, classes).eval()


def _reference_order(names: Sequence[str]) -> list[str]:
    """The same as the reference code runs them.

    It enters both halves of a stage before it goes on with the first, and each level of its head ends in the classes,
    the boxes and the objectness.
    """
    backbone: list[str] = []
    for name in names:
        first = name.replace(".conv2.conv", ".conv1.conv")
        if first != name and first in backbone:
            backbone.insert(backbone.index(first) + 1, name)
        elif not name.startswith("head."):
            backbone.append(name)
    parts = ("stems", "cls_convs", "cls_preds", "reg_convs", "reg_preds", "obj_preds")
    head = [
        name
        for level in range(3)
        for part in parts
        for name in names
        if name.startswith(f"head.{part}.{level}.") or name == f"head.{part}.{level}"
    ]
    return backbone + head
