"""ONNX to an engine by TensorRT, on a thread that tells how far it is and can be ended."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from traceback import clear_frames
from typing import Any, Final

from engines.backends.base import EngineError
from engines.backends.tensorrt_library import Library, listen, reason
from engines.buckets import BUCKETS
from engines.build_progress import OnProgress, Watch, monitor
from engines.engine_cache import Engine
from engines.engine_network import REMEDY, network_of, settle

RECIPE: Final = 1
"""Version of how an engine is built here; raised where a change makes older ones worse."""
MIDDLE: Final = 8
"""Rows that an engine of one profile is tuned for: as many people as there are in most pictures, or fewer."""
TICK_S: Final = 0.25
"""Between two looks at how far a build is: as often as a progress bar moves."""
THREAD: Final = "TensorRT build"
"""What the name of the thread begins with."""

OnDevice = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be built of the ONNX file `model`.

    `size` (height, width) is that of the input, None the file's own. `precision` is fp32, fp16, or int8 for a file that
    is quantised. An engine takes batches up to `max_batch`. `capabilities`, as `8.9`, are of GPUs that need not be
    here; none means the one in use.
    """

    model: Path
    size: tuple[int, int] | None
    precision: str
    max_batch: int = BUCKETS[-1]
    capabilities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.precision not in ("fp32", "fp16", "int8"):
            raise EngineError(f"precision {self.precision}: TensorRT builds fp32, fp16 and int8 here; use one of them")
        if self.max_batch < 1:
            raise ValueError(f"max batch must be 1 or more, got {self.max_batch}")

    @property
    def profile(self) -> str:
        """The batch sizes, as the key of an engine has them."""
        return f"batches of 1 to {self.max_batch}"


def build_engine(
    library: Library,
    order: Order,
    progress: OnProgress,
    *,
    timing_cache: Path | None = None,
    on_device: OnDevice = nullcontext,
) -> Engine:
    """Build an engine, and tell `progress` about four times a second how far it is, on the thread of the caller.

    What `progress` raises, and Ctrl-C, end the build at its next step, for which they wait. `timing_cache` is a file in
    which the full TensorRT keeps how fast which kernel was; `on_device` chooses the GPU it builds on. Raises
    EngineError where the model cannot be built so, in one line, and OSError where it cannot be read.
    """
    watch = Watch()
    with ThreadPoolExecutor(1, thread_name_prefix=THREAD) as executor:
        # On a thread of its own: an interrupt that falls into a callback of the library would be swallowed by it.
        made = executor.submit(_build_or_free, library, order, watch, timing_cache, on_device)
        try:
            while wait([made], TICK_S).not_done:
                progress(watch.progress())
        finally:
            watch.stopped.set()
        return made.result()


def profiles(max_batch: int, one: bool) -> list[tuple[int, int, int]]:
    """The least, the usual and the most rows of each profile of an engine.

    One for each bucket, so that kernels are chosen for that size. With `one` a single one for all: TensorRT-RTX
    compiles for the size it meets when it runs, and six profiles make its engine of TinyPose four times as large and
    its build five times as long.
    """
    if one:
        return [(1, min(MIDDLE, max_batch), max_batch)]
    return [(1, rows, rows) for rows in buckets_up_to(max_batch)]


def buckets_up_to(most: int) -> list[int]:
    """The buckets below `most`, and `most` itself."""
    return [*(bucket for bucket in BUCKETS if bucket < most), most]


def _build_or_free(
    library: Library, order: Order, watch: Watch, timing_cache: Path | None, on_device: OnDevice
) -> Engine:
    """`_build`; where that fails, what it had of the library is freed at once.

    Else the error's frames keep a builder until the next garbage collection, and if that falls into a callback of a
    later build, the builder's end waits for a lock that this build holds: for ever, and with the interpreter's lock.
    """
    try:
        return _build(library, order, watch, timing_cache, on_device)
    except BaseException as error:
        failed: BaseException | None = error
        while failed is not None:
            clear_frames(failed.__traceback__)
            failed = failed.__cause__ or failed.__context__
        raise


def _build(library: Library, order: Order, watch: Watch, timing_cache: Path | None, on_device: OnDevice) -> Engine:
    trt = library.module
    listener = listen(trt)
    observer = monitor(trt, watch)  # held here, as it has to outlive the build
    with on_device():
        builder = trt.Builder(listener)
        network = network_of(library, order.model, order.precision, builder, listener)
        outputs = settle(network, order.model, order.size)
        config = builder.create_builder_config()
        config.progress_monitor = observer
        config.clear_flag(trt.BuilderFlag.TF32)  # fp32 is what other precisions are judged by
        if library.is_rtx:
            config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)  # else it cannot be captured as a CUDA graph
        _set_capabilities(library, order, config)
        _add_profiles(library, order, builder, config, network.get_input(0))
        times = None if library.is_rtx or timing_cache is None else _TimingCache.attach(config, timing_cache)
        plan = builder.build_serialized_network(network, config)
        if watch.stopped.is_set():
            raise EngineError(f"{order.model.name}: the build of its engine was ended")
        if plan is None:
            raise EngineError(f"{order.model.name}: {library.words} cannot build it: {reason(listener)}; {REMEDY}")
        if times is not None:
            times.keep()
        return Engine(bytes(plan), outputs)


def _set_capabilities(library: Library, order: Order, config: Any) -> None:
    """Name the GPUs that TensorRT-RTX builds for; the full TensorRT builds for the one it runs on."""
    if not library.is_rtx:
        if order.capabilities:
            raise EngineError(
                f"{library.words} builds for the GPU it runs on alone; for compute capability"
                f" {' '.join(order.capabilities)} pip install tensorrt-rtx"
            )
        return
    known = library.module.ComputeCapability.__members__
    if order.capabilities:
        config.num_compute_capabilities = len(order.capabilities)
    for index, name in enumerate(map(capability_name, order.capabilities)):
        if name not in known:
            have = " ".join(sorted((name for name in known if name.startswith("SM")), key=lambda name: int(name[2:])))
            raise EngineError(f"{library.words} has no kernels for {name}, it has {have}; pip install tensorrt")
        config.set_compute_capability(known[name], index)


def capability_name(capability: str) -> str:
    """`8.9` as `SM89`."""
    return f"SM{capability.replace('.', '')}"


def _add_profiles(library: Library, order: Order, builder: Any, config: Any, tensor: Any) -> None:
    """Say which batch sizes there will be, where the model leaves that open."""
    if tensor.shape[0] != -1:
        return
    size: Sequence[int] = tuple(tensor.shape)[1:]
    for rows in profiles(order.max_batch, one=library.is_rtx):
        profile = builder.create_optimization_profile()
        profile.set_shape(tensor.name, *((count, *size) for count in rows))
        config.add_optimization_profile(profile)


@dataclass(frozen=True, slots=True)
class _TimingCache:
    """How fast which kernel was, from one build to the next."""

    config: Any
    path: Path

    @staticmethod
    def attach(config: Any, path: Path) -> _TimingCache:
        """Let a build use what the file holds, unless it is another GPU's; an empty one where there is no file."""
        known = path.read_bytes() if path.is_file() else b""
        if not config.set_timing_cache(config.create_timing_cache(known), ignore_mismatch=False):
            config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
        return _TimingCache(config, path)

    def keep(self) -> None:
        """Write what is known now, whole or not at all; of two builds at a time the later counts."""
        part = self.path.with_name(f".{self.path.name}.{os.getpid()}-{threading.get_ident()}")
        try:
            part.write_bytes(bytes(self.config.get_timing_cache().serialize()))
            part.replace(self.path)
        finally:
            part.unlink(missing_ok=True)
