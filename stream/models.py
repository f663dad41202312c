"""The networks that a configuration names, opened and closed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from engines.cards import Task
from engines.export import Say, silent
from engines.opening import OpenModel, open_model
from stream.config import ModelOptions


@contextmanager
def opened(
    options: ModelOptions,
    task: Task,
    *,
    definition: Path | Mapping[str, object] | None = None,
    say: Say = silent,
) -> Iterator[OpenModel]:
    """The detector or the pose network of `options`, open until the end; see `open_model`."""
    name, flags = {
        "detect": (options.detector, options.detector_card),
        "pose": (options.pose, options.pose_card),
    }[task]
    model = open_model(
        name,
        task,
        flags,
        backend=options.backend,
        device=options.device,
        precision=options.precision,
        threads=options.threads,
        definition=definition,
        say=say,
    )
    try:
        yield model
    finally:
        model.backend.close()
