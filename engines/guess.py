"""What a model without a card is: told from its tensors and from one run on a flat picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.backends.base import EngineError, TensorSpec
from engines.cards import (
    JOINTS,
    NO_FLAGS,
    OPENMMLAB_MEAN,
    OPENMMLAB_STD,
    POSE_FAMILIES,
    CardFlags,
    Family,
    InputSpec,
    ModelCard,
    SkeletonName,
    Task,
    family_defaults,
)
from engines.hrnet import simcc_orders
from engines.wording import FAMILY_WORDS, card_words, size_words, tensor_words

Infer = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], ...]]
Size = tuple[int, int]
"""(height, width) in pixels."""

STRIDES = (8, 16, 32)
"""Pixels per cell of a YOLO's three grids."""
YOLOV3_STRIDES = (STRIDES, STRIDES[1:])
"""The full network's and the tiny one's."""
YOLOV3_ANCHORS = 3
"""Rows per cell."""
DETECTOR_SIZE: Size = (640, 640)
"""For a detector that takes any size."""
MAX_NMS_FREE = 1000
"""Rows of an NMS-free output at most; 100 and 300 are usual."""
NEAR_CELLS = 4.0
"""The median box centre lies so many cells from its own cell at most, where raw or decoded was guessed rightly."""
GREY = 114.0
"""The flat picture of the probe run."""


@dataclass(frozen=True, slots=True)
class Guess:
    """A card made up for a model, and the one line that tells the user so."""

    card: ModelCard
    text: str


def choose_size(path: Path, task: Task, inputs: Sequence[TensorSpec], wanted: Size | None) -> Size:
    """The (height, width) a model is fed: what it fixes, else `wanted`, else 640x640 for a detector.

    Raises EngineError for another input than one picture (N, 3, H, W), for a `wanted` that contradicts the model, and
    for one that is no multiple of 32 where a detector leaves the size free.
    """
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[1] not in (3, None):
        raise EngineError(f"{path}: the input must be one picture (N, 3, H, W), got {tensor_words(inputs)}")
    fixed = inputs[0].shape[2:]
    asked = wanted or (DETECTOR_SIZE if task == "detect" else None)
    height, width = (own or ask for own, ask in zip(fixed, asked or (None, None), strict=True))
    if height is None or width is None:
        raise EngineError(f"{path}: takes pictures of any size: say which by imgsz, or by input.size in a card")
    size = height, width
    if wanted is not None and wanted != size:
        said = f"imgsz or its card says {size_words(wanted)}"
        raise EngineError(f"{path}: takes pictures of {size_words(size)} only, {said}; leave imgsz out, mend the card")
    if task == "detect" and None in fixed and any(side % STRIDES[-1] for side in size):
        raise EngineError(f"{path}: imgsz must be a multiple of {STRIDES[-1]}, got {size_words(size)}")
    return size


def guess_card(
    path: Path, task: Task, outputs: Sequence[TensorSpec], infer: Infer, size: Size, flags: CardFlags = NO_FLAGS
) -> Guess:
    """A card for the model of the file `path`, opened at `size`, and a line that says what was guessed.

    `infer` is run once on a flat picture. What `flags` say wins. Raises EngineError where the outputs fit no family,
    or several, and says which key of a card decides.
    """
    probe = infer(np.full((1, 3, *size), GREY, np.float32))
    family = flags.family or _guess_family(path, outputs, probe, size)
    if (family in POSE_FAMILIES) != (task == "pose"):
        kind, wanted = ("pose model", "detector") if task == "detect" else ("detector", "pose model")
        raise EngineError(f"{path}: gives {FAMILY_WORDS[family]}, so it is a {kind}; wanted a {wanted}")
    fixed = family_defaults(family)
    card = ModelCard(
        name=path.stem,
        task=task,
        family=family,
        input=_guess_input(path, family, size, flags),
        letterbox=flags.letterbox or fixed.get("letterbox", "top-left"),
        pad=fixed.get("pad", 114),
        skeleton=_guess_skeleton(path, probe, flags.skeleton) if task == "pose" else None,
    )
    return Guess(card, f"{path}: guessed: {card_words(card, _classes(family, probe))}")


def apply_flags(card: ModelCard, flags: CardFlags, size: Size) -> ModelCard:
    """The card of a model opened at `size`, with what the flags say in the place of what it says."""
    return dataclasses.replace(
        card,
        family=flags.family or card.family,
        letterbox=flags.letterbox or card.letterbox,
        skeleton=flags.skeleton or card.skeleton,
        input=dataclasses.replace(card.input, size=size, **_input_flags(flags)),
    )


def check_joints(path: Path, card: ModelCard, outputs: Sequence[TensorSpec]) -> None:
    """Raise EngineError where a pose model's first output (N, K, ...) has not as many joints as the card's skeleton."""
    if card.skeleton is None or len(outputs[0].shape) < 3:
        return
    joints, wanted = outputs[0].shape[1], JOINTS[card.skeleton]
    if joints not in (None, wanted):
        raise EngineError(f"{path}: skeleton {card.skeleton} has {wanted} joints, the model gives {joints}")


def _guess_family(
    path: Path, outputs: Sequence[TensorSpec], probe: Sequence[NDArray[np.float32]], size: Size
) -> Family:
    shapes = [tuple(int(side) for side in array.shape[1:]) for array in probe]
    if _is_simcc(outputs, shapes, size):
        return "simcc"
    if len(shapes) == 3 and set(shapes) == {(size[0] // s, size[1] // s, 5) for s in STRIDES}:
        return "rtmdet"
    if sorted(len(shape) for shape in shapes) == [1, 2] and any(shape[1:] == (5,) for shape in shapes):
        return "end2end"
    if len(shapes) == 1 and _is_heatmap(shapes[0], size):
        return "heatmap"
    if len(shapes) == 1 and len(shapes[0]) == 2:
        family = _guess_yolo(path, probe[0][0], size)
        if family is not None:
            return family
    raise EngineError(
        f"{path}: outputs {tensor_words(outputs)} fit no known family; say it by the key family of a card"
        f" {path.stem}.yaml beside it, or by the flag: {', '.join(FAMILY_WORDS)}"
    )


def _is_simcc(outputs: Sequence[TensorSpec], shapes: Sequence[tuple[int, ...]], size: Size) -> bool:
    """Two outputs (K, 2W) and (K, 2H), in any order that the pose estimator can tell."""
    if len(shapes) != 2 or any(len(shape) != 2 for shape in shapes) or shapes[0][0] != shapes[1][0]:
        return False
    return bool(simcc_orders([output.name for output in outputs], [shape[1:] for shape in shapes], size))


def _is_heatmap(shape: tuple[int, ...], size: Size) -> bool:
    """(K, h, w), of the proportions of the picture and smaller by a whole number."""
    if len(shape) != 3 or 0 in shape:
        return False
    stride = size[0] // shape[1]
    return stride >= 1 and (shape[1] * stride, shape[2] * stride) == size


def _guess_yolo(path: Path, rows: NDArray[np.float32], size: Size) -> Family | None:
    """The family of one picture's rows (a, b); None where none fits. YOLOv5's exports have the form of YOLOv3."""
    anchors = _cells(size, STRIDES)
    if rows.shape[0] == anchors and rows.shape[1] >= 6:
        return _raw_or_decoded(path, rows, size)
    if rows.shape[0] in (YOLOV3_ANCHORS * _cells(size, strides) for strides in YOLOV3_STRIDES) and rows.shape[1] >= 6:
        return "yolov3" if rows[:, 4:].min() >= 0 and rows[:, 4:].max() <= 1 else None
    if rows.shape[1] == anchors and rows.shape[0] >= 5:
        if rows[4:].min() < 0 or rows[4:].max() > 1:
            raise EngineError(
                f"{path}: {len(rows)} channels, and those after the box are no class scores in [0, 1]: a YOLO pose or"
                " segmentation export? Export the plain detector"
            )
        return "yolov8"
    if rows.shape[1] == 6 and rows.shape[0] <= MAX_NMS_FREE:
        return "yolo-nms-free"
    return None


def _cells(size: Size, strides: Sequence[int]) -> int:
    """How many cells the grids of an input have."""
    return sum((size[0] // stride) * (size[1] // stride) for stride in strides)


def _raw_or_decoded(path: Path, rows: NDArray[np.float32], size: Size) -> Family:
    """Whether YOLOX rows (A, 5 + classes) hold offsets from their cells (raw) or centres in pixels (decoded)."""
    cells = [
        np.stack(np.meshgrid(np.arange(size[1] // s), np.arange(size[0] // s)), -1).reshape(-1, 2) for s in STRIDES
    ]
    strides = np.concatenate([np.full((len(grid), 1), s) for grid, s in zip(cells, STRIDES, strict=True)])
    middles = np.concatenate(cells) + 0.5
    raw = float(np.median(np.abs(rows[:, :2] - 0.5)))
    decoded = float(np.median(np.abs(rows[:, :2] / strides - middles)))
    if not min(raw, decoded) < NEAR_CELLS:
        raise EngineError(
            f"{path}: shaped like YOLOX, but its box centres on a flat picture are neither raw nor decoded; say which"
            f" by the key family of a card {path.stem}.yaml beside it, or by the flag"
        )
    return "yolox" if raw < decoded else "yolox-decoded"


def _guess_skeleton(path: Path, probe: Sequence[NDArray[np.float32]], said: SkeletonName | None) -> SkeletonName:
    joints = probe[0].shape[1] if probe[0].ndim > 2 else 0
    fitting = next((skeleton for skeleton, count in JOINTS.items() if count == joints), None)
    if fitting is None or said not in (None, fitting):
        known = ", ".join(f"{skeleton} {count}" for skeleton, count in JOINTS.items())
        raise EngineError(f"{path}: {joints} joints, which no skeleton (card key skeleton) fits: {said or known}")
    return fitting


def _guess_input(path: Path, family: Family, size: Size, flags: CardFlags) -> InputSpec:
    fixed: dict[str, Any] = family_defaults(family)["input"]
    if family == "end2end":
        if flags.mean is None or flags.std is None:
            raise EngineError(
                f"{path}: dets and labels may be YOLOX-human's or RTMDet's; say which by mean and std, in a card"
                f" {path.stem}.yaml beside it (family: end2end) or by flags: YOLOX [0, 0, 0] and [1, 1, 1],"
                f" RTMDet {list(OPENMMLAB_MEAN[::-1])} and {list(OPENMMLAB_STD[::-1])}"
            )
        fixed = {"color": "bgr"}
    return InputSpec(size=size, **{**fixed, **_input_flags(flags)})


def _input_flags(flags: CardFlags) -> dict[str, Any]:
    """What the flags say of the input, as keys of InputSpec."""
    said = {"color": flags.color, "scale": flags.scale, "mean": flags.mean, "std": flags.std}
    return {key: value for key, value in said.items() if value is not None}


def _classes(family: Family, probe: Sequence[NDArray[np.float32]]) -> int | None:
    if probe[0].ndim != 3:
        return None
    if family in ("yolox", "yolox-decoded", "yolov3"):
        return int(probe[0].shape[2]) - 5
    return int(probe[0].shape[1]) - 4 if family == "yolov8" else None
