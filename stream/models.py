"""The networks that a configuration names, opened and closed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from engines.backends.base import Backend, EngineError
from engines.backends.swapped import BackgroundBuild, SwappedBackend
from engines.cards import Task
from engines.export import Say, silent
from engines.opening import OpenModel, open_model
from stream.config import ModelOptions

WARM_UP_ROWS = 8
"""As many as a backend runs side by side at most."""
MOMENT_S = 2.0
"""What a user waits for without asking what goes on; two precisions are compared within it."""
LABELS: dict[Task, str] = {"detect": "detector", "pose": "pose"}
"""What a run's notes call the models."""

Opening = Callable[[Say], OpenModel]


@contextmanager
def opened(
    options: ModelOptions,
    task: Task,
    *,
    definition: Path | Mapping[str, object] | None = None,
    say: Say = silent,
    at_once: bool = False,
) -> Iterator[OpenModel]:
    """The detector or the pose network of `options`, open until the end; see `open_model`.

    With `at_once` nothing is waited for that takes its time, the export of a checkpoint or the build of an engine: a
    substitute serves until that is done, and differs from it by as much as their precisions do.
    """
    name, flags = {
        "detect": (options.detector, options.detector_card),
        "pose": (options.pose, options.pose_card),
    }[task]

    def open_by(backend: str, device: str, precision: str, say: Say) -> OpenModel:
        return open_model(
            name,
            task,
            flags,
            backend=backend,
            device=device,
            precision=precision,
            threads=options.threads,
            definition=definition,
            say=say,
        )

    def wanted(say: Say) -> OpenModel:
        return open_by(options.backend, options.device, options.precision, say)

    def substitute() -> OpenModel | None:
        # torch runs a checkpoint as it is; of an ONNX file it says that it cannot, and the CPU runs that.
        for backend, device, precision in (("torch", options.device, "auto"), ("auto", "cpu", "fp32")):
            with suppress(EngineError):
                return open_by(backend, device, precision, silent)
        return None

    model = open_at_once(wanted, substitute, say, LABELS[task]) if at_once else wanted(say)
    try:
        yield model
    finally:
        model.backend.close()


def open_at_once(
    wanted: Opening,
    substitute: Callable[[], OpenModel | None],
    say: Say,
    label: str,
    patience_s: float = MOMENT_S,
) -> OpenModel:
    """The model that `wanted` opens where that is quick; else what `substitute` opens, and `wanted` takes its place.

    It is quick where it says nothing of taking its time, or takes no longer than `patience_s` from then on. Without a
    substitute (None) it is waited for. Raises what `wanted` raises until there is a substitute.
    """
    build = BackgroundBuild(partial(_open_warm, wanted), say)
    with ExitStack() as undo:
        undo.callback(build.close)
        first = substitute() if build.is_slow(patience_s) else None
        if first is None:
            return build.take()
        undo.pop_all()
    return replace(first, backend=SwappedBackend(first.backend, build, say, label))


def warm_up(backend: Backend) -> None:
    """Run a network alone and on `WARM_UP_ROWS`: whatever runs first takes its memory, and longer than ever after."""
    _, *size = backend.inputs[0].shape
    for rows in (1, WARM_UP_ROWS):
        backend.infer(np.zeros([rows, *(side or 1 for side in size)], np.float32))


def _open_warm(opening: Opening, say: Say) -> OpenModel:
    model = opening(say)
    with ExitStack() as undo:
        undo.callback(model.backend.close)
        warm_up(model.backend)
        undo.pop_all()
    return model
