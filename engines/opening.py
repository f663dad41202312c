"""From a model's name or path to a model that runs: found, its card read or guessed, its backend opened."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from engines.backends.base import CHECKPOINTS, Backend, has_gpu, has_tensorrt
from engines.backends.onnx_file import describe
from engines.backends.torch_backend import TorchBackend, check_no_onnx
from engines.cards import NO_FLAGS, CardFlags, ModelCard, Task
from engines.catalog import Catalog, FoundModel
from engines.checkpoints import read_checkpoint
from engines.choosing import Choice, Opener, last_used, named, precision_of, remembered, settle
from engines.export import ExportOptions, Say, export_found, silent
from engines.guess import apply_flags, check_joints, choose_size, guess_card
from engines.shelf import Engines, Shelf
from engines.wording import card_words


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A model that runs; whoever opened it closes `backend`. `note` says in a line what it is."""

    backend: Backend
    card: ModelCard
    path: Path
    note: str


def open_model(
    name_or_path: str | None,
    task: Task,
    flags: CardFlags = NO_FLAGS,
    *,
    catalog: Catalog | None = None,
    backend: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    definition: Path | Mapping[str, object] | None = None,
    say: Say = silent,
) -> OpenModel:
    """Find, open and know the model of `--detector` (task detect) or `--pose` (task pose); None takes the default.

    What `flags` say wins over the card, and the card over the guess. torch runs a checkpoint as it is, where it is the
    `backend`, or there is a GPU and no TensorRT; for all others it is exported to ONNX, once, and `say` is told in a
    line that this takes its time. `definition` is what a checkpoint may not say of its network: a darknet .cfg, or the
    MODEL block of an HRNet's experiment. Raises FileNotFoundError for a path without a file, MissingModelError for a
    model yet to be fetched, and EngineError for all that does not fit, in one line.
    """
    catalog = catalog or Catalog.load()
    found = catalog.resolve(name_or_path, task)
    if _is_for_torch(found.path, backend, device):
        return _open_by_torch(found, task, flags, device, precision, threads, definition)
    remark = ""
    if found.path.suffix in CHECKPOINTS:
        exported = export_found(found, catalog.cache, task, ExportOptions(flags.size, definition=definition), say)
        found = FoundModel(exported.path, exported.card)
        remark = f"; {exported.remark}: {exported.path}"
    inputs, _ = describe(found.path)
    card_size = found.card.input.size if found.card is not None else None
    size = choose_size(found.path, task, inputs, flags.size or card_size)
    opener = Opener(Engines(backend, device), size if None in inputs[0].shape[2:] else None, threads, say)
    known = apply_flags(found.card, flags, size) if found.card is not None else None
    choice = first = _choose(found.path, known, precision, opener.engines, catalog.cache)
    with ExitStack() as stack:
        opened = opener.open(first.path, first.precision, first.front)
        stack.callback(opened.close)
        if known is None:
            guess = guess_card(found.path, task, opened.outputs, opened.infer, size, flags)
            card, note = guess.card, guess.text
            choice = _choose(found.path, card, precision, opener.engines, catalog.cache)
            if not _is_same(choice, first, opened):
                opened.close()
                opened = opener.open(choice.path, choice.precision, choice.front)
                stack.callback(opened.close)
        else:
            card = known
            check_joints(found.path, card, opened.outputs)
            note = f"{card.name}: {card_words(card)}{remark}"
        reason = choice.remark
        if choice.precision == "auto":
            shelf = Shelf.of(catalog.cache, found.path, card, opener.engines)
            opened, reason = settle(opened, shelf, opener, say)
        stack.pop_all()
    return OpenModel(opened, card, found.path, f"{note} ({reason})" if reason else note)


def _choose(path: Path, card: ModelCard | None, precision: str, engines: Engines, cache: Path) -> Choice:
    """What to open, as far as that is known before: of a model without a card only what was good for its name."""
    if card is None:
        return (last_used(path, cache) if precision == "auto" else None) or Choice(path, precision)
    shelf = Shelf.of(cache, path, card, engines)
    return (remembered(shelf) or Choice(path, "auto")) if precision == "auto" else named(shelf, precision)


def _is_same(choice: Choice, first: Choice, opened: Backend) -> bool:
    """Whether `opened`, by the first choice, is what was chosen when the model was known."""
    precisions = (first.precision, precision_of(opened))
    return (choice.path, choice.front) == (first.path, first.front) and choice.precision in precisions


def _is_for_torch(path: Path, backend: str, device: str) -> bool:
    """Whether torch runs the model: where it is named, and a checkpoint on a GPU that nothing faster is there for."""
    if backend != "auto" or path.suffix not in CHECKPOINTS or device == "cpu":
        return backend == "torch"
    return not has_tensorrt() and (device != "auto" or has_gpu())


def _open_by_torch(
    found: FoundModel,
    task: Task,
    flags: CardFlags,
    device: str,
    precision: str,
    threads: int,
    definition: Path | Mapping[str, object] | None,
) -> OpenModel:
    """The network of a checkpoint without an ONNX of it; EngineError where it is one."""
    check_no_onnx(found.path)
    checkpoint = read_checkpoint(found, task, flags.size, definition)
    size = checkpoint.card.input.size
    with ExitStack() as stack:
        opened = TorchBackend(checkpoint.network.module, found.path.name, size, precision, device, threads)
        stack.enter_context(closing(opened))
        card = apply_flags(checkpoint.card, flags, size)
        check_joints(found.path, card, opened.outputs)
        stack.pop_all()
    return OpenModel(opened, card, found.path, f"{card.name}: {card_words(card)}")
