"""Where models are: a path, the folders of POSESTREAM_MODELS, the user's cache, embedded here, or yet to be fetched."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engines.backends.base import CHECKPOINTS, EngineError
from engines.cards import ModelCard, Task, load_yaml, make_card, read_card

ENVIRONMENT = "POSESTREAM_MODELS"
"""The environment variable that names folders of models, separated as PATH is."""
PUBLISHED = Path(__file__).with_name("catalog.yaml")
EMBEDDED = Path(__file__).with_name("weights")
"""The folder of the models that come with the program: small, trained by its own commands, good for a first look."""
DEFAULTS: dict[Task, str] = {"detect": "yolox-nano", "pose": "rtmpose-s"}
"""What is taken, where it is there, when nothing is named; else what else is there, and the embedded last."""
BETTER: dict[Task, str] = {"detect": "yolox-s", "pose": "hrnet-w32"}
"""What whoever ran an embedded model is pointed to."""
FETCH = "python run.py models fetch"
MODEL_FILES = (".onnx", *CHECKPOINTS)
"""Endings of a model's file; of two files of one name the earlier ending counts."""


class MissingModelError(EngineError):
    """A model is not on this machine; the message says how to get it."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model by name: `path` is None until it is fetched, `card` None where nobody wrote one (it is guessed then).

    `is_embedded` where it came with the program.
    """

    name: str
    path: Path | None
    card: ModelCard | None
    is_embedded: bool = False

    @property
    def task(self) -> Task | None:
        """What it does, as far as a card says so."""
        return self.card.task if self.card is not None else None


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model that is on this machine."""

    path: Path
    card: ModelCard | None


@dataclass(frozen=True, slots=True)
class Catalog:
    """All models known by name, those on this machine first, in the order of look-up; the embedded are always there.

    `cache` is the folder that downloads go to; `faults` says of each card, or folder, that could not be read why.
    """

    models: tuple[Model, ...]
    cache: Path
    faults: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def load(environ: Mapping[str, str] = os.environ) -> Catalog:
        """Look through the folders of POSESTREAM_MODELS, the user's cache, the embedded and the published models."""
        folders = [Path(part).expanduser() for part in environ.get(ENVIRONMENT, "").split(os.pathsep) if part]
        cache = cache_folder(environ)
        return load_catalog(folders, cache)

    def find(self, name: str) -> Model:
        """The model called `name`; EngineError with the nearest names where there is none, or the fault of its card."""
        if name in self.faults:
            raise EngineError(self.faults[name])
        for model in self.models:
            if model.name == name:
                return model
        names = [model.name for model in self.models]
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        endings = f"a path ends in {' '.join(MODEL_FILES)}"
        hint = f"did you mean {' or '.join(near)}?" if near else f"run.py models lists them; {endings}"
        raise EngineError(f"{name}: no such model; {hint}")

    def resolve(self, name_or_path: str | None, task: Task) -> FoundModel:
        """The file to open for `--detector` or `--pose`; None takes the first that is there (`default`).

        Raises what `locate` does, and EngineError for a model of the other task.
        """
        if name_or_path is None:
            return self.default(task)
        model = self._look_up(name_or_path)
        if model.task not in (None, task):
            raise EngineError(f"{name_or_path}: is a model to {model.task} with; wanted one to {task}")
        return _there(model)

    def locate(self, name_or_path: str) -> FoundModel:
        """The file of a model of either task.

        A file that exists and everything that ends as a model does is a path, and a `NAME.yaml` beside it is its card;
        the rest is a name. Raises FileNotFoundError for a path without a file, MissingModelError for one yet to be
        fetched, and EngineError for an unknown name and for a file that is no model.
        """
        return _there(self._look_up(name_or_path))

    def _look_up(self, name_or_path: str) -> Model:
        path = Path(name_or_path).expanduser()
        return _model_of_file(path) if path.suffix in MODEL_FILES or path.is_file() else self.find(name_or_path)

    def default(self, task: Task) -> FoundModel:
        """The model for a task that nobody named: that of DEFAULTS, else the first that somebody put here, else ours.

        Of those that somebody put here a checkpoint comes last, as running it takes torch. MissingModelError only where
        the embedded models were lost from the installation.
        """
        there = [model for model in self.models if model.path is not None and model.task == task]
        there.sort(key=lambda model: (model.name != DEFAULTS[task], model.is_embedded, _is_checkpoint(model)))
        if not there or there[0].path is None:
            raise MissingModelError(
                f"no model to {task} with is named, and the one that comes with the program is not in {EMBEDDED}:"
                f" install it again, or fetch others with: {FETCH} {' '.join(DEFAULTS.values())}"
            )
        return FoundModel(there[0].path, there[0].card)


def is_embedded(path: Path) -> bool:
    """Whether a model's file came with the program."""
    return path.parent == EMBEDDED


def load_catalog(folders: Sequence[Path], cache: Path, embedded: Path = EMBEDDED) -> Catalog:
    """The catalogue of these folders, the cache, the embedded and the published models, in this order.

    Of two models of one name the first counts. A file without a card gets that of the same name from a later place, so
    that a file copied by hand is known.
    """
    paths: dict[str, Path] = {}
    cards: dict[str, ModelCard] = {}
    faults = {str(folder): f"{ENVIRONMENT}: {folder} is no folder" for folder in folders if not folder.is_dir()}
    for folder in [*folders, cache, embedded]:
        own: dict[str, str] = {}  # file stem -> name
        for file in sorted(folder.glob("*.yaml")) if folder.is_dir() else []:
            try:
                card = read_card(file)
            except (EngineError, OSError) as error:
                faults.setdefault(file.stem, str(error))
                continue
            own[file.stem] = card.name
            cards.setdefault(card.name, card)
        for file in _model_files(folder):
            paths.setdefault(own.get(file.stem, file.stem), file)
    for card in published():
        cards.setdefault(card.name, card)
    ours = {name for name, path in paths.items() if path.parent == embedded}
    names = dict.fromkeys([*paths, *cards])
    models = tuple(Model(name, paths.get(name), cards.get(name), name in ours) for name in names)
    return Catalog(models, cache, faults)


def published() -> tuple[ModelCard, ...]:
    """The cards of the published models."""
    entries = load_yaml(PUBLISHED.read_text(encoding="utf-8"))
    return tuple(make_card(f"{PUBLISHED.name}, entry {i}", entry) for i, entry in enumerate(entries))


def cache_folder(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path:
    """Where this user's fetched models go, by the custom of the platform; it need not exist."""
    if platform == "win32":
        base = Path(environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "posestream"


def _model_files(folder: Path) -> list[Path]:
    """The models in a folder, those of an earlier ending of MODEL_FILES first."""
    if not folder.is_dir():
        return []
    return [file for ending in MODEL_FILES for file in sorted(folder.glob(f"*{ending}"))]


def _is_checkpoint(model: Model) -> bool:
    return model.path is not None and model.path.suffix in CHECKPOINTS


def _there(model: Model) -> FoundModel:
    if model.path is None:
        raise MissingModelError(f"{model.name}: not on this machine; fetch it with: {FETCH} {model.name}")
    return FoundModel(model.path, model.card)


def _model_of_file(path: Path) -> Model:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if path.suffix not in MODEL_FILES:
        raise EngineError(f"{path}: models are files that end in {' '.join(MODEL_FILES)}; export it first")
    card = path.with_suffix(".yaml")
    return Model(path.stem, path, read_card(card) if card.is_file() else None)
