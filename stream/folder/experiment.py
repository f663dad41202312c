"""The experiment file of HRNet: what of it the folder workflow follows, checked; the rest is kept."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from engines.cards import JOINTS, SkeletonName

Size = tuple[int, int]
"""(height, width) in pixels or cells; the file writes width first."""
_Side = Annotated[int, Field(gt=0)]
_FolderName = Annotated[str, Field(pattern=r"^[^/\\]*[^/\\.][^/\\]*$")]
"""A word that may be part of a path, and leads nowhere else."""

_SKELETONS: dict[int, SkeletonName] = {count: name for name, count in JOINTS.items()}
_USED: dict[str, tuple[str, Any]] = {
    "DATASET.ANNOTS": ("annots", str),
    "DATASET.IMAGES": ("images", str),
    "DATASET.CUTS": ("cuts", str),
    "DATASET.FINAL": ("final", str),
    "DATASET.DATASET": ("dataset", _FolderName),
    "DATASET.COLOR_RGB": ("color_rgb", bool),
    "OUTPUT_DIR": ("output", str),
    "MODEL.NAME": ("model", _FolderName),
    "MODEL.NUM_JOINTS": ("joints", Literal[tuple(_SKELETONS)]),
    "MODEL.IMAGE_SIZE": ("image_size", tuple[_Side, _Side]),
    "MODEL.HEATMAP_SIZE": ("heatmap_size", tuple[_Side, _Side]),
    "MODEL.PRETRAINED": ("pretrained", str),
    "TEST.MODEL_FILE": ("model_file", str),
    "TEST.FLIP_TEST": ("flip_test", bool),
    "TEST.POST_PROCESS": ("post_process", bool),
    "TEST.SHIFT_HEATMAP": ("shift_heatmap", bool),
    "DEBUG.SAVE_HEATMAPS_PRED": ("save_heatmaps", bool),
}
"""Keys that the workflow follows: the field of Experiment, and what their value must be."""
_OTHERS: dict[str, tuple[str, ...]] = {
    "CUDNN": ("BENCHMARK", "DETERMINISTIC", "ENABLED"),
    "DATASET": (
        *("DATA_FORMAT", "FLIP", "HYBRID_JOINTS_TYPE", "NUM_JOINTS_HALF_BODY", "PROB_HALF_BODY", "ROOT"),
        *("ROT_FACTOR", "SCALE_FACTOR", "SELECT_DATA", "TEST_SET", "TRAIN_SET"),
    ),
    "MODEL": ("EXTRA", "INIT_WEIGHTS", "SIGMA", "TAG_PER_JOINT", "TARGET_TYPE"),
    "LOSS": ("TOPK", "USE_DIFFERENT_JOINTS_WEIGHT", "USE_OHKM", "USE_TARGET_WEIGHT"),
    "TRAIN": (
        *("BATCH_SIZE_PER_GPU", "BEGIN_EPOCH", "CHECKPOINT", "END_EPOCH", "GAMMA1", "GAMMA2", "LR", "LR_FACTOR"),
        *("LR_STEP", "MOMENTUM", "NESTEROV", "OPTIMIZER", "RESUME", "SHUFFLE", "WD"),
    ),
    "TEST": (
        *("BATCH_SIZE_PER_GPU", "BBOX_THRE", "COCO_BBOX_FILE", "IMAGE_THRE", "IN_VIS_THRE", "NMS_THRE"),
        *("OKS_THRE", "SOFT_NMS", "USE_GT_BBOX"),
    ),
    "DEBUG": ("DEBUG", "SAVE_BATCH_IMAGES_GT", "SAVE_BATCH_IMAGES_PRED", "SAVE_HEATMAPS_GT"),
}
"""The format's other keys (HRNet, lib/config/default.py) by section: no reason for a warning, not looked at here."""
_TOP = ("AUTO_RESUME", "DATA_DIR", "GPUS", "LOG_DIR", "PIN_MEMORY", "PRINT_FREQ", "RANK", "WORKERS")
_KNOWN = frozenset([*_USED, *_TOP, *(f"{section}.{key}" for section, keys in _OTHERS.items() for key in keys)])


@dataclass(frozen=True, slots=True)
class Experiment:
    """What an experiment file says of poses from pictures; without a file, what is usual.

    `name` is the file's own, without its ending. Folders are None where it names none. `joints`, `image_size` and
    `heatmap_size`, (height, width), describe the network of the checkpoint and no other. `keys` is the whole file,
    `warnings` a line for each of its keys that is none of the format's.
    """

    file: Path | None = None
    name: str = "default"
    dataset: str = "custom"
    model: str | None = None
    annots: str | None = None
    images: str | None = None
    cuts: str | None = None
    final: str | None = None
    output: str = "output"
    joints: int | None = None
    image_size: Size | None = None
    heatmap_size: Size | None = None
    pretrained: str = ""
    model_file: str = ""
    color_rgb: bool = True
    flip_test: bool = False
    post_process: bool = True
    shift_heatmap: bool = True
    save_heatmaps: bool = True
    keys: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def checkpoint(self) -> Path | None:
        """The network's file, where one is named: as it is, or else beside the experiment file."""
        named = self.model_file or self.pretrained
        if not named:
            return None
        beside = (self.file.parent if self.file is not None else Path()) / named
        return beside if beside.is_file() and not Path(named).is_file() else Path(named)

    @property
    def network(self) -> Mapping[str, Any] | None:
        """The MODEL block, where it describes a network."""
        model: Mapping[str, Any] = self.keys.get("MODEL") or {}
        return model if "EXTRA" in model else None

    @property
    def skeleton(self) -> SkeletonName | None:
        """The skeleton with as many joints."""
        return None if self.joints is None else _SKELETONS[self.joints]


def read_experiment(file: Path | None, overrides: Sequence[str] = ()) -> Experiment:
    """The experiment in a YAML file, with `overrides`, KEY VALUE KEY VALUE, in the place of what it says.

    Raises OSError where the file cannot be read, and ValueError that names it and the key where a value is wrong.
    """
    where = str(file) if file is not None else "the command line"
    keys = {} if file is None else _load(file)
    _put_overrides(where, keys, overrides)
    values: dict[str, Any] = {}
    warnings = []
    for key, value in _leaves(where, keys):
        if key in _USED:
            name, kind = _USED[key]
            values[name] = _checked(f"{where}: {key}", kind, value)
        elif key not in _KNOWN:
            warnings.append(f"{where}: {key} is no key of an experiment and is ignored{_hint(key)}")
    for name in ("image_size", "heatmap_size"):
        if name in values:
            values[name] = values[name][::-1]
    if file is not None:
        values["name"] = file.stem
        values.setdefault("save_heatmaps", False)
    return Experiment(file=file, keys=keys, warnings=tuple(warnings), **values)


def _load(file: Path) -> dict[str, Any]:
    try:
        keys = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{file}: no such experiment file; check --cfg") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(keys, dict):
        raise ValueError(f"{file}: an experiment is a mapping of keys, got {type(keys).__name__}")
    return keys


def _put_overrides(where: str, keys: dict[str, Any], overrides: Sequence[str]) -> None:
    """Put KEY VALUE pairs in their places; ValueError for a key that neither the format nor the file has."""
    if len(overrides) % 2:
        raise ValueError(f"overrides are KEY VALUE KEY VALUE, got {' '.join(overrides)}: one has no value")
    there = {key for key, _ in _leaves(where, keys)}
    for key, text in zip(overrides[::2], overrides[1::2], strict=True):
        if key not in there and key not in _KNOWN and not key.startswith("MODEL.EXTRA."):
            raise ValueError(f"{key} is no key of an experiment{_hint(key)}")
        inner: Any = keys
        *path, last = key.split(".")
        for part in path:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise ValueError(f"{key}: {part} is {inner!r}, no mapping of keys")
        inner[last] = _value(text)


def _value(text: str) -> Any:
    """What a word of the command line means: Python's or YAML's numbers, truth values and lists, else text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        pass
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _leaves(where: str, keys: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Dotted keys with their values; what no section of the format holds is one key."""
    for key, value in keys.items():
        if key not in _OTHERS:
            yield str(key), value
        elif isinstance(value, Mapping):
            yield from ((f"{key}.{inner}", own) for inner, own in value.items())
        elif value is not None:
            raise ValueError(f"{where}: {key} must be a mapping of keys, got {value!r}")


def _checked(where: str, kind: Any, value: object) -> Any:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        complaint = error.errors(include_url=False)[0]["msg"]
        raise ValueError(f"{where}: {complaint[0].lower()}{complaint[1:]}, got {value!r}") from error


def _hint(key: str) -> str:
    near = difflib.get_close_matches(key, _KNOWN, 1, cutoff=0.75)
    return f"; did you mean {near[0]}?" if near else ""
