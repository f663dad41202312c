"""What a course ends with: an ONNX and its card, ready for --pose or --detector."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from engines.backends.base import EngineError, open_backend
from engines.cards import Accuracy, ModelCard, Task, TrainingNote
from engines.compact import compact
from engines.export import BOUNDS, ExportOptions, Say, export_checkpoint, whole, write_card
from engines.guard import compare, noise

CACHE = "exports"


@dataclass(frozen=True, slots=True)
class Result:
    """A trained model's ONNX and its card."""

    model: Path
    card: ModelCard


def write_result(
    weights: Path,
    task: Task,
    name: str,
    folder: Path,
    size: tuple[int, int],
    note: TrainingNote,
    say: Say,
    *,
    is_compact: bool = False,
) -> Result:
    """NAME.onnx and NAME.yaml in `folder` of the checkpoint `weights`, for pictures of `size`, checked against torch.

    With `is_compact` the weights are stored in fp16. Raises EngineError where the ONNX differs from torch by too much.
    """
    exported = export_checkpoint(weights, folder / CACHE, task, ExportOptions(size), say)
    model = onnx.load(exported.path)
    if is_compact:
        compact(model)
    target = folder / f"{name}.onnx"
    with whole(target) as part:
        onnx.save(model, part)
        if is_compact:
            _check(exported.path, part, exported.card)
    card = replace(exported.card, name=name, license=note.rights, source=None, training=note)
    write_card(card, target.with_suffix(".yaml"))
    return Result(target, card)


def with_accuracy(result: Result, accuracy: Accuracy) -> Result:
    """The result with what was measured of it on its card."""
    card = replace(result.card, accuracy=accuracy)
    write_card(card, result.model.with_suffix(".yaml"))
    return replace(result, card=card)


def _check(model: Path, compacted: Path, card: ModelCard) -> None:
    """EngineError where weights in fp16 give something else."""
    batch = noise(card.input, 2)
    given = []
    for path in (model, compacted):
        with closing(open_backend(path, precision="fp32")) as backend:
            given.append(backend.infer(batch)[0])
    difference = compare(given[1], given[0])
    if not difference.relative <= BOUNDS["fp16"]:
        raise EngineError(
            f"{compacted.name}: with weights in fp16 max |difference| {difference}, wanted {BOUNDS['fp16']:g}; "
            "leave out --compact"
        )
