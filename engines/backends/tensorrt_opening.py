"""From an ONNX file to an engine that runs: found beside the model or in the cache, or built, here or for elsewhere."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from engines.backends.tensorrt_backend import TensorRtBackend
from engines.backends.tensorrt_library import Gpu, Library, find_gpu, load_library
from engines.build_progress import OnProgress, progress_lines
from engines.catalog import cache_folder
from engines.engine_build import RECIPE, OnDevice, Order, build_engine, capability_name
from engines.engine_cache import (
    ANY,
    ENDING,
    FOLDER,
    EngineKey,
    StoredEngine,
    cached_engine,
    engine_beside,
    write_engine,
)
from engines.engine_network import engine_precision
from engines.export import Say, silent

TIMES: Final = "timing.cache"
"""Ending of the file in which the full TensorRT keeps how fast kernels are."""
KERNELS: Final = ".kernels"
"""Ending of the file in which TensorRT-RTX keeps what it compiled for an engine."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where engines are built: a library, a GPU that `on_device` chooses, and the `cache` that they are kept in."""

    library: Library
    gpu: Gpu
    cache: Path
    on_device: OnDevice = nullcontext

    def engine(self, order: Order, say: Say, progress: OnProgress | None = None) -> StoredEngine:
        """The engine of an order, found beside the model or in the cache, or built for this GPU and kept.

        A build tells `progress` how far it is, or `say` in a line every few seconds. Raises what `build_engine` and
        `cached_engine` do.
        """
        if self.library.is_rtx:
            order = replace(order, capabilities=(self.gpu.capability,))
        key = make_key(self.library, order, self.gpu)
        beside = engine_beside(order.model, key, say)
        if beside is not None:
            return beside
        times = self.cache / FOLDER / f"{_file_name(self.gpu.name)}-{_file_name(self.library.words)}-{TIMES}"
        build = partial(
            build_engine,
            self.library,
            order,
            progress or progress_lines(say, f"{key.name}: building its engine"),
            timing_cache=times,
            on_device=self.on_device,
        )
        return cached_engine(self.cache, key, build, say)

    def kernels(self, stored: StoredEngine) -> Path:
        """The file for what TensorRT-RTX compiles of an engine on this GPU; its name begins as the engine's."""
        return self.cache / FOLDER / f"{stored.path.stem}-{_file_name(self.gpu.name)}{KERNELS}"


def open_tensorrt(
    path: Path,
    input_size: tuple[int, int] | None,
    precision: str,
    device: str,
    say: Say = silent,
    progress: OnProgress | None = None,
) -> TensorRtBackend:
    """An ONNX file on a GPU, by TensorRT or else TensorRT-RTX, its engine built where there is none yet.

    `precision` auto is fp16, or int8 where the file is quantised. A build tells `progress` how far it is, or `say` in a
    line every few seconds, and what either raises ends it. Raises ImportError where neither library is installed,
    OSError where a file cannot be read or written, and EngineError where there is no such GPU, or the model does not
    fit.
    """
    library = load_library()
    gpu = find_gpu(device)
    import torch

    from engines.nets.graphs import Graphs

    workshop = Workshop(library, gpu, cache_folder(), partial(torch.cuda.device, gpu.device))
    order = Order(path, input_size, engine_precision(path, precision))
    stored = workshop.engine(order, say, progress)
    return TensorRtBackend(stored, library, gpu.device, Graphs(torch.device(gpu.device)), workshop.kernels(stored))


def build_elsewhere(library: Library, order: Order, folder: Path, progress: OnProgress) -> Path:
    """Build an engine for the GPUs of `order.capabilities`, which need not be here, into `folder`.

    There the other machine finds it where the folder has the model too: `open_tensorrt` takes it where it is of the
    same library, model and precision. The full TensorRT cannot do this, which is an EngineError.
    """
    if not order.capabilities:
        raise ValueError("name a compute capability to build for, as 8.9")
    engine = build_engine(library, order, progress)
    key = make_key(library, order, None)
    names = "-".join(capability_name(capability).lower() for capability in order.capabilities)
    target = folder / f"{key.name}-{key.precision}-{names}{ENDING}"
    write_engine(target, key, engine)
    return target


def make_key(library: Library, order: Order, gpu: Gpu | None) -> EngineKey:
    """All that makes the engine of an order another one; without a GPU it is for all of the order's capabilities."""
    with order.model.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return EngineKey(
        name=order.model.stem,
        model=digest,
        library=library.words,
        gpu=gpu.name if gpu else ANY,
        capability=gpu.capability if gpu else " ".join(order.capabilities),
        driver=gpu.driver if gpu else ANY,
        precision=order.precision,
        size="x".join(map(str, order.size)) if order.size else "the model's",
        profile=order.profile,
        recipe=RECIPE,
    )


def _file_name(words: str) -> str:
    """Words as part of a file's name."""
    return "".join(letter if letter.isalnum() or letter == "." else "-" for letter in words).lower()
