"""`run.py models build --sm`: engines for GPUs that need not be here, by TensorRT-RTX."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from engines.backends.base import EngineError
from engines.backends.tensorrt_library import Library, load_library
from engines.backends.tensorrt_opening import build_elsewhere
from engines.build_progress import Progress as Done
from engines.build_request import find_network
from engines.catalog import Catalog
from engines.engine_build import Order
from engines.engine_network import engine_precision


def capability(text: str) -> str:
    """A compute capability, 89 or 8.9, as `8.9`."""
    parts = re.fullmatch(r"(\d+?)\.?(\d)", text)
    if parts is None:
        raise argparse.ArgumentTypeError(f"wanted a compute capability as 89 or 8.9, got {text!r}")
    return ".".join(parts.groups())


def build_engine_elsewhere(
    name: str, quantized: Path | None, args: argparse.Namespace, catalog: Catalog, console: Console
) -> None:
    """Build the engine of a model, or of its `quantized` file, for the GPUs of `args.sm`, beside that file.

    Its numbers cannot be compared here, which is said. Raises EngineError where TensorRT-RTX is missing or does not
    take the model.
    """
    path, size = find_network(name, catalog, lambda line: console.print(line, markup=False, soft_wrap=True))
    model = quantized or path
    order = Order(model, size, engine_precision(model, args.precision or "auto"), args.max_batch, tuple(args.sm))
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(f"{name} in {order.precision}", total=1.0)

        def tell(done: Done) -> None:
            bar.update(task, completed=done.done)

        engine = build_elsewhere(_library(), order, model.parent, tell)
    gpus = " ".join(args.sm)
    for line in (
        f"{name}: engine in {order.precision} for compute capability {gpus}: {engine}",
        f"{name}: not compared with fp32, as it does not run here; it is used where it lies beside {model.name}",
    ):
        console.print(line, markup=False, soft_wrap=True)


def _library() -> Library:
    try:
        return load_library()
    except ImportError as error:
        raise EngineError(
            f"--sm takes TensorRT-RTX, which is not installed ({error}); pip install tensorrt-rtx"
        ) from error
