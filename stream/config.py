"""YAML and `key=value` -> option classes; an unknown key or a wrong value is an error that names it."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from engines.cards import CardFlags
from engines.hrnet import PoseOptions
from stream.age import LiveOptions
from stream.render import Style
from stream.sinks.keep import RecordingOptions
from stream.sinks.video import VideoOptions
from stream.smooth import SmoothOptions
from stream.source import SourceOptions
from stream.web.options import ServeOptions
from tracker.options import TrackerOptions

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Which networks run and on what.

    `detector` and `pose` are catalogue names or paths of ONNX files; None takes what is found. `threads` 0 means all
    cores. The `…_card` say what a model card would, for a model that has none.
    """

    detector: str | None = None
    pose: str | None = None
    backend: Literal["auto", "tensorrt", "openvino", "onnxruntime", "torch"] = "auto"
    device: str = "auto"
    precision: Literal["auto", "fp32", "fp16", "bf16", "int8"] = "auto"
    threads: int = 0
    detector_card: CardFlags = field(default_factory=CardFlags)
    pose_card: CardFlags = field(default_factory=CardFlags)


@dataclass(frozen=True, slots=True)
class DetectOptions:
    """Who counts as a person: the lowest score of one, the overlap (IoU) from which two boxes are one.

    Detection runs on every `every`-th frame, with "auto" where a place is in doubt, and twice a second. Of more
    than `max_people` those followed longest are kept.
    """

    confidence: float = 0.4
    iou: float = 0.5
    every: int | Literal["auto"] = 1
    max_people: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("confidence", self.confidence), ("iou", self.iou)):
            if not 0 < value < 1:
                raise ValueError(f"{name} must lie between 0 and 1, got {value}")
        if (self.every != "auto" and self.every < 1) or (self.max_people is not None and self.max_people < 1):
            raise ValueError(f"every and max_people must be 1 or more, got {self.every} and {self.max_people}")


@dataclass(frozen=True, slots=True)
class Config:
    """All that one run depends on.

    `smooth` auto is on for live sources and where `angles` are recorded, else off.
    """

    source: tuple[str, ...] = ()
    output: tuple[str, ...] = ()
    show: bool = False
    overwrite: bool = False
    snapshots: str = "."
    smooth: Literal["auto", "on", "off"] = "auto"
    angles: bool = False
    models: ModelOptions = field(default_factory=ModelOptions)
    input: SourceOptions = field(default_factory=SourceOptions)
    live: LiveOptions = field(default_factory=LiveOptions)
    detect: DetectOptions = field(default_factory=DetectOptions)
    pose: PoseOptions = field(default_factory=PoseOptions)
    tracker: TrackerOptions = field(default_factory=TrackerOptions)
    smoothing: SmoothOptions = field(default_factory=SmoothOptions)
    style: Style = field(default_factory=Style)
    video: VideoOptions = field(default_factory=VideoOptions)
    recording: RecordingOptions = field(default_factory=RecordingOptions)
    serve: ServeOptions = field(default_factory=ServeOptions)

    def __post_init__(self) -> None:
        if self.tracker.high_score != TrackerOptions().high_score:
            raise ValueError("tracker.high_score follows detect.confidence; set that")


def load_config(file: Path | None, settings: Iterable[str], flags: Mapping[str, object]) -> Config:
    """The configuration of a run: the defaults, then `file`, then `a.b=c` settings, then flags by their dotted keys.

    Raises OSError for a file that cannot be read, ValueError for anything in it that does not fit.
    """
    data = read_yaml(file) if file is not None else {}
    for setting in settings:
        dotted, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"a setting is key=value, got {setting!r}")
        _put(data, dotted.strip(), _parse(dotted, text))
    for key, value in flags.items():
        _put(data, key, value)
    return build_options(Config, data)


def read_yaml(file: Path) -> dict[str, Any]:
    """The keys of a YAML file."""
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{file}: no such file; configs/ has three, --print-config prints one") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict | None):
        raise ValueError(f"{file}: a configuration is a mapping of keys, got {type(data).__name__}")
    return data or {}


def to_yaml(config: Config) -> str:
    """A configuration as the YAML that gives it again."""
    return yaml.safe_dump(_plain(dataclasses.asdict(config)), sort_keys=False, allow_unicode=True, width=120)


def build_options(kind: type[T], data: Mapping[str, object], where: str = "") -> T:
    """An option class from its keys; ValueError names the dotted key that is unknown or whose value does not fit."""
    hints = get_type_hints(kind)
    values: dict[str, object] = {}
    for key, value in data.items():
        dotted = f"{where}{key}"
        if key not in hints:
            near = difflib.get_close_matches(str(key), hints, 1)
            hint = f"; did you mean {where}{near[0]}?" if near else f"; there are {', '.join(hints)}"
            raise ValueError(f"unknown key {dotted}{hint}")
        values[key] = _build_value(hints[key], value, dotted)
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{where.rstrip('.')}: {error}" if where else str(error)) from error


def _build_value(hint: Any, value: object, dotted: str) -> object:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise ValueError(f"{dotted} must be a mapping of keys, got {value!r}")
        return build_options(hint, value, f"{dotted}.")
    if isinstance(value, str) and _is_tuple_of_text(hint):
        value = [value]  # One source needs no list.
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        complaint = error.errors(include_url=False)[0]["msg"]
        raise ValueError(f"{dotted}: {complaint[0].lower()}{complaint[1:]}, got {value!r}") from error


def _is_tuple_of_text(hint: Any) -> bool:
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return any(get_origin(kind) is tuple and get_args(kind)[:1] == (str,) for kind in kinds)


def _parse(key: str, text: str) -> object:
    try:
        return yaml.safe_load(text) if text.strip() else ""
    except yaml.YAMLError as error:
        raise ValueError(f"{key}: no YAML value: {text!r}") from error


def _put(data: dict[str, Any], dotted: str, value: object) -> None:
    *path, last = dotted.split(".")
    for key in path:
        inner = data.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ValueError(f"{dotted}: {key} is {inner!r}, no mapping of keys")
        data = inner
    data[last] = value


def _plain(value: Any) -> Any:
    """Tuples as lists: what YAML can say."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
