"""Engines that were built: each kept under all that makes it another one, and whole or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engines.backends.base import EngineError
from engines.lock import alone

if TYPE_CHECKING:
    from engines.export import Say

FOLDER: Final = "engines"
"""Within the cache."""
ENDING: Final = ".engine"
KEY_DIGITS: Final = 16
"""Hex digits of the key that a file's name holds."""
ANY: Final = "any"
"""Of an engine for other machines: what is not known of them."""
SHOWN: Final = 12
"""Characters of a hash that a line shows."""


@dataclass(frozen=True, slots=True)
class EngineKey:
    """Everything that makes an engine another one.

    `name` is the model's, `model` the SHA-256 of its file, `library` that which builds and runs it with its version,
    `gpu` what that is called and `capability` its compute capability, as `8.9`, or several of them, as `7.5 8.6`. `gpu`
    and `driver` are ANY for an engine that is to run elsewhere. `size` is the input's, `profile` the batch sizes, and
    `recipe` the version of how we build.
    """

    name: str
    model: str
    library: str
    gpu: str
    capability: str
    driver: str
    precision: str
    size: str
    profile: str
    recipe: int

    @property
    def digest(self) -> str:
        """Hex digits that are others for every other key."""
        said = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:KEY_DIGITS]

    @property
    def words(self) -> str:
        """What it is, as `tinypose in fp16 for NVIDIA L4 by TensorRT 10.13.2`."""
        gpu = f"compute capability {self.capability}" if self.gpu == ANY else self.gpu
        return f"{self.name} in {self.precision} for {gpu} by {self.library}"

    def differences(self, other: EngineKey) -> list[str]:
        """In words, what `other` has in place of what is here; none where an engine of this key serves as `other`."""
        fields = [field.name for field in dataclasses.fields(self)]
        pairs = [(name, str(getattr(self, name)), str(getattr(other, name))) for name in fields]
        return [_difference(name, here, there) for name, here, there in pairs if not _covers(name, here, there)]


@dataclass(frozen=True, slots=True)
class Engine:
    """What a library built: the `plan` that it runs, and the names of the outputs in the model's order."""

    plan: bytes
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoredEngine:
    """An engine that was read whole from the file `path`."""

    path: Path
    key: EngineKey
    engine: Engine


def cached_engine(cache: Path, key: EngineKey, build: Callable[[], Engine], say: Say) -> StoredEngine:
    """The engine of exactly this key, built unless it is there whole.

    A second process that wants the same waits for the first, and a file is in its place whole or not at all. Where
    there is one of the same model that does not serve, `say` is told what has changed; it is removed when the new one
    is there, where it would not run on this machine any more. Raises OSError where a file cannot be written, and what
    `build` raises.
    """
    folder = cache / FOLDER
    target = folder / f"{key.name}-{key.precision}-{key.digest}{ENDING}"
    found = _whole(target, key)
    if found is not None:
        return found
    folder.mkdir(parents=True, exist_ok=True)
    busy = f"{key.words}: another process builds this engine; waiting for that"
    with alone(folder / f".{target.stem}.lock", lambda: say(busy)):
        found = _whole(target, key)
        if found is not None:
            return found
        others = [(path, other) for path, other in _others(folder, key) if path != target]
        say(f"{key.words}: {_why(target, key, [other for _, other in others])}")
        engine = build()
        write_engine(target, key, engine)
        for path, other in others:
            if _is_worn_out(other, key):
                for file in folder.glob(f"{escape(path.stem)}*"):  # and what was kept beside it
                    file.unlink(missing_ok=True)
    return StoredEngine(target, key, engine)


def engine_beside(model: Path, key: EngineKey, say: Say) -> StoredEngine | None:
    """The engine that was built on another machine and lies beside the model; None where none serves.

    Whatever lies there and does not serve is told to `say`, in a line each. Any batch sizes will do.
    """
    for path in sorted(model.parent.glob(f"{escape(model.stem)}-*{ENDING}")):
        try:
            stored = read_engine(path)
        except EngineError as error:
            say(str(error))
            continue
        wanted = dataclasses.replace(key, profile=stored.key.profile)
        differences = stored.key.differences(wanted)
        if not differences:
            return stored
        if stored.key.precision == key.precision:
            say(f"{path.name}: not used, as its {'; its '.join(differences)}")
    return None


def write_engine(target: Path, key: EngineKey, engine: Engine) -> None:
    """Write an engine in the place of an older one, whole or not at all; OSError where that cannot be."""
    head = {
        "key": dataclasses.asdict(key),
        "outputs": engine.outputs,
        "sha256": hashlib.sha256(engine.plan).hexdigest(),
    }
    part = target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        with part.open("wb") as file:
            file.write(json.dumps(head).encode() + b"\n")
            file.write(engine.plan)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def read_engine(path: Path) -> StoredEngine:
    """The engine in a file that `write_engine` wrote; EngineError where it is not whole or something else."""
    with path.open("rb") as file:
        head = _head(file.readline())
        plan = file.read()
    if head is None:
        raise EngineError(f"{path}: no engine of ours; remove it, run.py models build makes another")
    key, outputs, digest = head
    if hashlib.sha256(plan).hexdigest() != digest:
        raise EngineError(f"{path}: the engine is damaged; remove it, run.py models build makes another")
    return StoredEngine(path, key, Engine(plan, outputs))


def _whole(path: Path, key: EngineKey) -> StoredEngine | None:
    """The engine in a file, None where it is not there, not whole, or has another key."""
    try:
        stored = read_engine(path)
    except (FileNotFoundError, EngineError):
        return None
    return stored if stored.key == key else None


def _others(folder: Path, key: EngineKey) -> list[tuple[Path, EngineKey]]:
    """The keys of engines of that name and precision, read without the engines."""
    found = []
    for path in sorted(folder.glob(f"{escape(key.name)}-{key.precision}-*{ENDING}")):
        with path.open("rb") as file:
            head = _head(file.readline())
        if head is not None:
            found.append((path, head[0]))
    return found


def _head(line: bytes) -> tuple[EngineKey, tuple[str, ...], str] | None:
    """The key, the outputs and the SHA-256 of the rest that the first line of a file tells; None where it does not."""
    try:
        said = json.loads(line)
        return EngineKey(**said["key"]), tuple(said["outputs"]), str(said["sha256"])
    except (ValueError, KeyError, TypeError):
        return None


def _why(target: Path, key: EngineKey, others: Iterable[EngineKey]) -> str:
    """Why an engine is built, by the nearest that is there."""
    building = "building the engine, once, which takes up to some minutes"
    if target.exists():
        return f"the engine that is there is damaged; {building}"
    changes = min((other.differences(key) for other in others), key=len, default=None)
    return building if changes is None else f"its {'; its '.join(changes)}; {building}"


def _is_worn_out(other: EngineKey, key: EngineKey) -> bool:
    """Whether an engine is what `key` is for, but by another library, driver or recipe than are here now."""
    return dataclasses.replace(other, library=key.library, driver=key.driver, recipe=key.recipe) == key


def _covers(name: str, here: str, there: str) -> bool:
    """Whether an engine that has `here` runs where `there` is wanted."""
    if name in ("gpu", "driver") and here == ANY:
        return True
    return there in here.split() if name == "capability" else here == there


def _difference(name: str, here: str, there: str) -> str:
    if name == "model":
        here, there = here[:SHOWN], there[:SHOWN]
    return f"{name} was {here}, is {there}"
