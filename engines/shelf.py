"""Where what is built of a model lies in the cache, and beside it what the guard said."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import threading
from dataclasses import dataclass
from functools import cache as once
from importlib import metadata
from pathlib import Path
from typing import Final

from engines.cards import ModelCard
from engines.guard import VERSION
from engines.verdict import Verdict

FOLDER: Final = "built"
"""Within the cache."""
KEY_DIGITS: Final = 16
"""Hex digits of a key that a file's name holds."""
LIBRARIES: Final = ("openvino", "onnxruntime", "torch", "tensorrt", "tensorrt-rtx")
"""Whose other version may give other numbers."""


@dataclass(frozen=True, slots=True)
class Engines:
    """Which library runs models, where: as `open_backend` is told; what is said of one says nothing of another."""

    backend: str = "auto"
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class Shelf:
    """The place of all that is built of one `model`, an ONNX file or a checkpoint of this `digest`, as its card has it.

    Another content or card is another place. What is built holds on every machine, what the guard said on one with the
    same processor and the same libraries.
    """

    cache: Path
    model: Path
    digest: str
    card: ModelCard
    engines: Engines

    @staticmethod
    def of(cache: Path, model: Path, card: ModelCard, engines: Engines) -> Shelf:
        """The shelf of a model that is there; OSError where it cannot be read."""
        with model.open("rb") as file:
            return Shelf(cache, model, hashlib.file_digest(file, "sha256").hexdigest(), card, engines)

    def built(self, precision: str) -> Path:
        """Where the model in this precision is, or would be."""
        return self.cache / FOLDER / f"{self.model.stem}-{precision}-{_key(self._said())}.onnx"

    def verdict_file(self, precision: str) -> Path:
        """Where the verdict on the model in this precision is kept."""
        key = _key({**self._said(), "guard": VERSION, **dataclasses.asdict(self.engines), "machine": machine()})
        return self.cache / FOLDER / f"{self.model.stem}-{precision}-{key}.json"

    def verdict(self, precision: str) -> Verdict | None:
        """The verdict that is kept; None where there is none that can be read."""
        kept = _read(self.verdict_file(precision))
        return kept[1] if kept is not None else None

    def keep(self, verdict: Verdict) -> Path:
        """Keep a verdict in place of an older one, whole or not at all; OSError where that cannot be written."""
        target = self.verdict_file(verdict.precision)
        target.parent.mkdir(parents=True, exist_ok=True)
        said = {"model": self.card.name, "machine": machine(), "verdict": verdict.to_dict()}
        part = target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}")
        try:
            part.write_text(json.dumps(said, indent=2), encoding="utf-8")
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return target

    def _said(self) -> dict[str, object]:
        """What makes it another model."""
        card = dataclasses.asdict(self.card)
        known = {key: card[key] for key in ("task", "family", "input", "letterbox", "pad", "skeleton")}
        return {"model": self.digest, **known}


def kept_verdicts(cache: Path) -> list[tuple[str, Verdict]]:
    """The names of models and what the guard said of them on this machine last, by name and precision."""
    folder = cache / FOLDER
    files = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime) if folder.is_dir() else []
    last = {(kept[0], kept[1].precision): kept for kept in map(_read, files) if kept is not None}
    return [kept for _, kept in sorted(last.items())]


def _read(file: Path) -> tuple[str, Verdict] | None:
    """The model's name and the verdict in a file; None where there is none, or it is another machine's."""
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        if said["machine"] != machine():
            return None
        return str(said["model"]), Verdict.from_dict(said["verdict"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


@once
def machine() -> str:
    """The processor and what it computes in, the cores that are ours, the libraries: numbers and times hang on them."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else [platform.processor()]
    processor = {line for line in lines if line.startswith(("model", "flags", "Features", "CPU part"))} or set(
        lines[:1]
    )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    there = [f"{name} {version}" for name in LIBRARIES if (version := _version(name))]
    return f"{_key({'processor': sorted(processor)})}, {cores} cores, {', '.join(there)}"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _key(said: object) -> str:
    """Hex digits that are others for everything else that may be said."""
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:KEY_DIGITS]
