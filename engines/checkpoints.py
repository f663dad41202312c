"""What a checkpoint holds: a network, and by that the card of what it eats and gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from engines.backends.base import EngineError
from engines.cards import JOINTS, InputSpec, ModelCard, Task, family_defaults
from engines.catalog import FoundModel
from engines.wording import size_words

if TYPE_CHECKING:
    from engines.nets.read import Network

Size = tuple[int, int]
"""(height, width) in pixels."""
Definition = Path | Mapping[str, object]
"""What a checkpoint may not say of its network: darknet's .cfg, or the MODEL block of an HRNet's experiment."""

STRIDE = 32
"""Pixels per cell of the coarsest maps of all these networks: input sizes are multiples of it."""
POSE_SIZES: dict[str, Size] = {"coco17": (256, 192), "mpii16": (256, 256), "halpe26": (256, 192)}
"""The usual input for a skeleton, where neither flag, card nor experiment says one."""


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A network in eval mode, and what it eats and gives."""

    network: Network
    card: ModelCard


def read_checkpoint(
    found: FoundModel, task: Task | None = None, size: Size | None = None, definition: Definition | None = None
) -> Checkpoint:
    """The network in a checkpoint, for pictures of `size`; without one of the card's size, the network's or the usual.

    What somebody wrote of the checkpoint holds, but for the form of its output, which is the network's. Raises OSError
    where a file cannot be read, and EngineError where torch is missing, the checkpoint fits no network, or is for
    another task than `task`.
    """
    try:
        from engines.nets.read import read_network
    except ImportError as error:
        raise EngineError(f"{found.path}: to run a checkpoint takes torch ({error}); pip install torch") from error
    network = read_network(found.path, definition_of(found.path, definition))
    if found.card is not None and definition is None:
        size = size or found.card.input.size
    card = card_of(found.path, network, size)
    check_task(found.path, card, task)
    return Checkpoint(network, card if found.card is None else card_over(found.card, card))


def definition_of(path: Path, named: Definition | None) -> Path | dict[str, object] | None:
    """What is to be read beside the checkpoint; EngineError where darknet's weights have no .cfg."""
    if isinstance(named, Mapping):
        return dict(named)
    if named is not None or path.suffix != ".weights":
        return named
    cfg = path.with_suffix(".cfg")
    if not cfg.is_file():
        raise EngineError(f"{path}: darknet's weights need their .cfg; put it to {cfg}, or name it")
    return cfg


def card_of(path: Path, network: Network, size: Size | None) -> ModelCard:
    """What a network will eat and give; EngineError for a size or a number of joints that cannot be."""
    skeletons = {count: name for name, count in JOINTS.items()}
    if network.joints is not None and network.joints not in skeletons:
        known = ", ".join(f"{name} {count}" for count, name in skeletons.items())
        raise EngineError(f"{path}: {network.joints} joints, which no skeleton fits: {known}")
    skeleton = None if network.joints is None else skeletons[network.joints]
    size = size or network.size or POSE_SIZES[skeleton or "coco17"]
    if any(side < STRIDE or side % STRIDE for side in size):
        raise EngineError(f"{path}: imgsz must be a multiple of {STRIDE}, got {size_words(size)}")
    fixed = family_defaults(network.family)
    return ModelCard(
        **{**fixed, "input": InputSpec(size=size, **fixed["input"])},
        name=path.stem,
        family=network.family,
        skeleton=skeleton,
    )


def card_over(written: ModelCard, own: ModelCard) -> ModelCard:
    """A card that somebody wrote of a checkpoint, with the size and the form of output that its network has."""
    return replace(written, family=own.family, input=replace(written.input, size=own.input.size))


def check_task(path: Path, card: ModelCard, task: Task | None) -> None:
    """Raise EngineError where a model is for another task than `task`; None takes any."""
    if task not in (None, card.task):
        raise EngineError(f"{path}: is a model to {card.task} with; wanted one to {task}")
