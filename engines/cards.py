"""Model cards: what a model eats and gives, who made it, and how good it is.

A card is `NAME.yaml` beside `NAME.onnx`; the catalogue is a list of the same. What a family fixes (colours, mean,
letterbox) may be left out of a card: `family_defaults` has it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from engines.backends.base import EngineError

Task = Literal["detect", "pose"]
Color = Literal["bgr", "rgb"]
Letterbox = Literal["top-left", "center"]
SkeletonName = Literal["coco17", "mpii16", "halpe26"]
Family = Literal["heatmap", "simcc", "yolox", "yolox-decoded", "yolov8", "yolo-nms-free", "rtmdet", "end2end", "yolov3"]

POSE_FAMILIES: tuple[Family, ...] = ("heatmap", "simcc")
DETECT_FAMILIES: tuple[Family, ...] = tuple(f for f in get_args(Family) if f not in POSE_FAMILIES)
JOINTS: dict[SkeletonName, int] = {"coco17": 17, "mpii16": 16, "halpe26": 26}

Triple = tuple[float, float, float]

NO_MEAN: Triple = (0.0, 0.0, 0.0)
NO_STD: Triple = (1.0, 1.0, 1.0)
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
"""Of RGB in [0, 1]."""
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
OPENMMLAB_MEAN: Triple = (123.675, 116.28, 103.53)
"""The same of RGB in [0, 255]; RTMDet uses it in the order BGR."""
OPENMMLAB_STD: Triple = (58.395, 57.12, 57.375)

_FORBID = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The picture a model eats: `(pixel * scale - mean) / std`, pixels 0 to 255, mean and std in the order of `color`.

    `size` is (height, width) in pixels.
    """

    __pydantic_config__ = _FORBID

    size: tuple[int, int]
    color: Color
    scale: float = 1.0
    mean: Triple = NO_MEAN
    std: Triple = NO_STD

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise ValueError(f"size must be two positive numbers (height, width), got {self.size}")
        if self.scale <= 0 or min(self.std) <= 0:
            raise ValueError(f"scale and std must be above 0, got {self.scale} and {self.std}")


@dataclass(frozen=True, slots=True)
class SourceRef:
    """Where a model is fetched from.

    `sha256` is that of the file at `url`: 64 hex digits, or the first eight or more; None where nobody published it.
    `member` is the file wanted out of a zip. `megabytes` is about how large the model is.
    """

    __pydantic_config__ = _FORBID

    url: str | None = None
    sha256: str | None = None
    member: str | None = None
    megabytes: float | None = None

    def __post_init__(self) -> None:
        digits = self.sha256
        if digits is not None and not (8 <= len(digits) <= 64 and set(digits) <= set("0123456789abcdef")):
            raise ValueError(f"sha256 must be 8 to 64 lower-case hex digits, got {digits!r}")


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How good a model is, in [0, 1]: `published` by its authors, or measured by this program.

    `ap` is COCO AP (of 80 classes, or of key points in detected boxes), `person_ap` box AP of people, `gt_box_ap` key
    point AP in ground-truth boxes (about 2 points above `ap`), `pckh` MPII PCKh@0.5. `on` says on what.
    """

    __pydantic_config__ = _FORBID

    on: str
    published: bool
    ap: float | None = None
    person_ap: float | None = None
    gt_box_ap: float | None = None
    pckh: float | None = None


@dataclass(frozen=True, slots=True)
class TrainingNote:
    """How a model was trained by this program, so that anyone with the data can repeat it.

    `command` is the command line, `data` names the sets, `rights` says what they may be used for; `teachers` are the
    models that labelled them. `samples` were seen in `hours` on `machine`, ending on `date` (year-month-day).
    """

    __pydantic_config__ = _FORBID

    command: str
    data: tuple[str, ...]
    rights: str
    teachers: tuple[str, ...]
    seed: int
    samples: int
    hours: float
    machine: str
    date: str
    notes: str | None = None


@dataclass(frozen=True, slots=True)
class ModelCard:
    """All that this program needs to know of a model beyond its tensors; `skeleton` is set for every pose model."""

    __pydantic_config__ = _FORBID

    name: str
    task: Task
    family: Family
    input: InputSpec
    letterbox: Letterbox = "top-left"
    pad: int = 114
    skeleton: SkeletonName | None = None
    license: str | None = None
    source: SourceRef | None = None
    accuracy: Accuracy | None = None
    training: TrainingNote | None = None

    def __post_init__(self) -> None:
        if (self.family in POSE_FAMILIES) != (self.task == "pose"):
            families = POSE_FAMILIES if self.task == "pose" else DETECT_FAMILIES
            raise ValueError(f"family of task {self.task} must be one of {', '.join(families)}, got {self.family}")
        if (self.skeleton is None) == (self.task == "pose"):
            raise ValueError(
                "skeleton must be given for task pose" if self.task == "pose" else "skeleton is for task pose"
            )
        if not 0 <= self.pad <= 255:
            raise ValueError(f"pad must be 0 to 255, got {self.pad}")


@dataclass(frozen=True, slots=True)
class CardFlags:
    """What a user says of a model instead of a card; None leaves it to the card or to the guess.

    `imgsz` is one number for a square, or (height, width).
    """

    family: Family | None = None
    imgsz: int | tuple[int, int] | None = None
    color: Color | None = None
    letterbox: Letterbox | None = None
    skeleton: SkeletonName | None = None
    mean: Triple | None = None
    std: Triple | None = None
    scale: float | None = None

    @property
    def size(self) -> tuple[int, int] | None:
        """`imgsz` as (height, width)."""
        return (self.imgsz, self.imgsz) if isinstance(self.imgsz, int) else self.imgsz


NO_FLAGS = CardFlags()


_YOLOX_INPUT = {"color": "bgr", "scale": 1.0, "mean": NO_MEAN, "std": NO_STD}
_YOLO_INPUT = {"color": "rgb", "scale": 1 / 255, "mean": NO_MEAN, "std": NO_STD}
_OPENMMLAB_RGB = {"color": "rgb", "scale": 1.0, "mean": OPENMMLAB_MEAN, "std": OPENMMLAB_STD}
_OPENMMLAB_BGR = {"color": "bgr", "scale": 1.0, "mean": OPENMMLAB_MEAN[::-1], "std": OPENMMLAB_STD[::-1]}
_IMAGENET = {"color": "rgb", "scale": 1 / 255, "mean": IMAGENET_MEAN, "std": IMAGENET_STD}

_DEFAULTS: dict[Family, dict[str, Any]] = {
    "heatmap": {"task": "pose", "input": _IMAGENET},
    "simcc": {"task": "pose", "input": _OPENMMLAB_RGB},
    "yolox": {"task": "detect", "input": _YOLOX_INPUT},
    "yolox-decoded": {"task": "detect", "input": _YOLOX_INPUT},
    "yolov8": {"task": "detect", "input": _YOLO_INPUT, "letterbox": "center"},
    "yolo-nms-free": {"task": "detect", "input": _YOLO_INPUT, "letterbox": "center"},
    "rtmdet": {"task": "detect", "input": _OPENMMLAB_BGR},
    # YOLOX and RTMDet are both exported so, with different inputs: the card must say which.
    "end2end": {"task": "detect", "input": {}},
    # Darknet pads with grey, half of 255.
    "yolov3": {"task": "detect", "input": _YOLO_INPUT, "letterbox": "center", "pad": 128},
}


def family_defaults(family: Family) -> dict[str, Any]:
    """What a family fixes, as the keys of a card: task, unusual letterbox and pad, and `input` without its size."""
    fixed = _DEFAULTS[family]
    return {**fixed, "input": dict(fixed["input"])}


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, in which only true and false are truth values, and dates are words."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, regexp)
        for tag, regexp in resolvers
        if not (tag.endswith(":bool") and first not in "tTfF") and not tag.endswith(":timestamp")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def make_card(where: str, data: object) -> ModelCard:
    """A card from the keys of its YAML, completed by what its family fixes.

    Raises EngineError that begins with `where` (a file or an entry) and names the key.
    """
    if not isinstance(data, Mapping):
        raise EngineError(f"{where}: a card is a mapping of keys, got {type(data).__name__}")
    family = data.get("family")
    if not isinstance(family, str) or family not in _DEFAULTS:
        got = f"got {family!r}" if "family" in data else "the key is missing"
        raise EngineError(f"{where}: family must be one of {', '.join(_DEFAULTS)}; {got}")
    fixed = family_defaults(family)
    own_input = data.get("input")
    whole = {**fixed, **data}
    if isinstance(own_input, Mapping):
        whole["input"] = {**fixed["input"], **own_input}
    try:
        return TypeAdapter(ModelCard).validate_python(whole)
    except ValidationError as error:
        raise EngineError(f"{where}: {_first_complaint(error)}") from error


def read_card(path: Path) -> ModelCard:
    """The card in a YAML file; EngineError names the file and the key that is wrong, missing or unknown."""
    try:
        data = load_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise EngineError(f"{path}: no YAML: {' '.join(str(error).split())}") from error
    return make_card(str(path), data)


def load_yaml(text: str) -> Any:
    """What a YAML text says; `on` is a word, as in YAML 1.2, for it is a key of `accuracy`."""
    return yaml.load(text, _Loader)


def card_yaml(card: ModelCard) -> str:
    """A card as the YAML that `read_card` reads; what is None is left out."""
    data = _plain(dataclasses.asdict(card))
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)


def _plain(value: Any) -> Any:
    """Mappings without their None, tuples as lists: what YAML can say."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    return list(value) if isinstance(value, tuple) else value


def _first_complaint(error: ValidationError) -> str:
    """The first fault of a card in one line: key, what is wrong, what was got."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"]) or "card"
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"unknown key {key}"
    if first["type"] in ("missing", "missing_argument"):
        return f"key {key} is missing"
    message = first["msg"].removeprefix("Value error, ")
    return f"{key}: {message}" + ("" if first["type"] == "value_error" else f", got {first['input']!r}")
