"""Checkpoints to ONNX: exported by torch once, checked against it, kept under a key of content and options."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from engines.backends.base import EngineError, open_backend
from engines.cards import ModelCard, SourceRef, Task, card_yaml, read_card
from engines.catalog import FoundModel
from engines.checkpoints import Definition, Size, card_of, card_over, check_task, definition_of
from engines.guard import Difference, compare, noise
from engines.half import halve
from engines.lock import alone

if TYPE_CHECKING:
    from torch import nn


Precision = Literal["fp32", "fp16"]
Say = Callable[[str], None]

VERSION = 1
"""Of what is written here; raised where a change makes older exports worse."""
FOLDER = "exported"
"""Within the cache."""
KEY_DIGITS = 16
"""Hex digits of the key that a file's name holds."""
TRACED_ROWS, CHECKED_ROWS = 2, 3
"""Batches that the network is exported and checked with: not alike, so that a batch size baked in shows."""
BOUNDS: dict[Precision, float] = {"fp32": 1e-4, "fp16": 1e-2}
"""The largest relative difference from torch; the check computes in fp32, so fp16's is of the rounded weights alone."""
TORCH_REMEDY = "pip install 'posestream[train]', or use the ONNX of another machine (run.py models export)"


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How a checkpoint becomes ONNX.

    `size` is (height, width) of the input, None the network's own. `definition` is what a checkpoint does not say of
    its network: the .cfg of darknet's weights (None: that beside them), or the MODEL block of an HRNet's experiment
    (None: read from the tensors).
    """

    size: Size | None = None
    precision: Precision = "fp32"
    definition: Definition | None = None

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            raise ValueError(f"precision must be one of {', '.join(get_args(Precision))}, got {self.precision!r}")


@dataclass(frozen=True, slots=True)
class Exported:
    """An ONNX in the cache and what it eats and gives; `remark` says how it was checked, or that it was there."""

    path: Path
    card: ModelCard
    remark: str


def silent(line: str) -> None:
    """Say nothing."""


def export_checkpoint(
    path: Path,
    cache: Path,
    task: Task | None = None,
    options: ExportOptions | None = None,
    say: Say = silent,
) -> Exported:
    """The ONNX of the checkpoint at `path`, made unless `cache` has it: any batch size, fp32 in and out.

    A second process that wants the same waits for the first; an ONNX is in its place whole or not at all. What is
    there already takes no torch. `say` is told in a line what takes its time. Raises OSError where a file cannot be
    read or written, and EngineError where torch is missing, the checkpoint fits no network, is for another task than
    `task`, or the ONNX differs from torch.
    """
    options = options or ExportOptions()
    digest = _digest(path)
    folder = cache / FOLDER
    target = folder / f"{path.stem}-{_key(path, digest, options)}.onnx"
    found = _find(target)
    if found is None:
        folder.mkdir(parents=True, exist_ok=True)
        with alone(
            folder / f".{target.stem}.lock", lambda: say(f"{path}: another process exports it; waiting for that")
        ):
            found = _find(target) or _export(path, digest, target, task, options, say)
    check_task(path, found.card, task)
    return found


def export_found(
    found: FoundModel, cache: Path, task: Task | None, options: ExportOptions, say: Say = silent
) -> Exported:
    """`export_checkpoint` of a model of the catalogue: with its card, and at its size unless `options` mean another.

    What somebody wrote of the checkpoint holds for the ONNX, but for the form of its output, which is the exporter's.
    """
    if found.card is not None and options.definition is None:
        options = replace(options, size=options.size or found.card.input.size)
    exported = export_checkpoint(found.path, cache, task, options, say)
    if found.card is None:
        return exported
    card = card_over(found.card, exported.card)
    return replace(exported, card=replace(card, name=_name(card.name, options.precision)))


def put_export(exported: Exported, folder: Path) -> Path:
    """Copy an ONNX and its card into `folder` as NAME.onnx and NAME.yaml, for a machine without torch.

    Each comes whole or not at all, in the place of an older one. Raises OSError where they cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{exported.card.name}.onnx"
    write_card(exported.card, target.with_suffix(".yaml"))
    with whole(target) as part:
        shutil.copyfile(exported.path, part)
    return target


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _key(path: Path, digest: str, options: ExportOptions) -> str:
    """Hex digits that are others for each content of the checkpoint and its definition, and for each option."""
    definition = definition_of(path, options.definition)
    said = {
        "version": VERSION,
        "checkpoint": digest,
        "definition": _digest(definition) if isinstance(definition, Path) else definition,
        "size": options.size,
        "precision": options.precision,
    }
    text = json.dumps(said, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_DIGITS]


def _find(target: Path) -> Exported | None:
    """The ONNX that is there with its card."""
    card = target.with_suffix(".yaml")
    if not (target.is_file() and card.is_file()):
        return None
    return Exported(target, read_card(card), "exported before")


def _export(path: Path, digest: str, target: Path, task: Task | None, options: ExportOptions, say: Say) -> Exported:
    say(f"{path}: exporting it to ONNX, once, which takes up to a minute")
    _require_torch(path)
    from engines.nets.read import read_network
    from engines.nets.to_onnx import to_onnx

    network = read_network(path, definition_of(path, options.definition))
    own = card_of(path, network, options.size)
    card = replace(own, name=_name(own.name, options.precision), source=SourceRef(sha256=digest))
    check_task(path, card, task)
    output = "heatmaps" if card.task == "pose" else "output"
    model = to_onnx(network.module, noise(card.input, TRACED_ROWS), output)
    if options.precision == "fp16":
        halve(model)
    with whole(target) as part:
        part.write_bytes(model.SerializeToString())
        difference = _check(path, network.module, part, card, options.precision)
        write_card(card, target.with_suffix(".yaml"))
    return Exported(target, card, f"exported in {options.precision}, max |difference| from torch {difference}")


def _check(path: Path, module: nn.Module, onnx_file: Path, card: ModelCard, precision: Precision) -> Difference:
    """How far an ONNX is from torch; EngineError where that is too far."""
    from engines.nets.to_onnx import run_network

    batch = noise(card.input, CHECKED_ROWS)
    with closing(open_backend(onnx_file, precision="fp32")) as backend:
        (got,) = backend.infer(batch)
    difference = compare(got, run_network(module, batch))
    bound = BOUNDS[precision]
    if not difference.relative <= bound:
        remedy = "its numbers do not fit fp16, use fp32" if precision == "fp16" else "update torch, onnx and onnxscript"
        raise EngineError(f"{path}: max |difference| of its ONNX from torch {difference}, wanted {bound:g}; {remedy}")
    return difference


def _name(name: str, precision: Precision) -> str:
    """An ONNX in fp16 is another model than that in fp32, and may lie beside it."""
    return name if precision == "fp32" else f"{name}-{precision}"


def write_card(card: ModelCard, target: Path) -> None:
    """Write a card to `target`, a .yaml, whole or not at all."""
    with whole(target) as part:
        part.write_text(card_yaml(card), encoding="utf-8")


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """A file to write, which takes the place of `target` when the block ends well, and is removed when it does not."""
    part = target.with_name(f"{target.name}.part")
    try:
        yield part
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _require_torch(path: Path) -> None:
    """Raise EngineError where a library that exports is missing."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise EngineError(f"{path}: to run a checkpoint takes torch ({error}): {TORCH_REMEDY}") from error
