"""An engine of TensorRT in a GPU's memory: for each batch size a context, places for its tensors, and a CUDA graph."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import torch
from torch import Tensor

from engines.backends.base import EngineError, TensorSpec
from engines.backends.tensorrt_library import Library, listen, reason
from engines.engine_build import buckets_up_to

if TYPE_CHECKING:
    from engines.engine_cache import StoredEngine

T = TypeVar("T")
Outputs = tuple[Tensor, ...]

DTYPES: Final = {
    "FLOAT": torch.float32,
    "HALF": torch.float16,
    "BF16": torch.bfloat16,
    "INT64": torch.int64,
    "INT32": torch.int32,
    "INT8": torch.int8,
    "UINT8": torch.uint8,
    "BOOL": torch.bool,
}
"""torch's types by the names that TensorRT has for them."""


class Launcher(Protocol):
    """How work is put on a device: `engines.nets.graphs.Graphs` on a GPU, and see there."""

    def in_turn(self) -> AbstractContextManager[None]: ...

    def beside(self) -> AbstractContextManager[int]: ...

    def capture(self, run: Callable[[int], T]) -> Callable[[], T]: ...


@dataclass(frozen=True, slots=True)
class Slot:
    """One batch size: the `place` (rows, 3, H, W) that is read, the `results` that are written, and what runs it."""

    place: Tensor
    results: Outputs
    run: Callable[[], Outputs]


class Slots:
    """An engine made ready to run in every batch size that it was built for.

    All contexts share one piece of scratch memory, as they run in turn. Once closed it has no slots.
    """

    def __init__(
        self, stored: StoredEngine, library: Library, device: str, launcher: Launcher, runtime_cache: Path | None
    ) -> None:
        """Load an engine, and run and capture every batch size; the largest first, as it needs the most memory.

        `runtime_cache` is the file in which TensorRT-RTX keeps the kernels that it compiled. Raises EngineError where
        the engine does not run on this machine, and torch's RuntimeError where the device has not the memory.
        """
        self._name = stored.path.name
        self._library = library
        self._device = device
        self._launcher = launcher
        self._listener = listen(library.module)
        self.by_rows: dict[int, Slot] = {}
        with launcher.in_turn():
            self._runtime = library.module.Runtime(self._listener)
            self._engine = self._runtime.deserialize_cuda_engine(stored.engine.plan)
            if self._engine is None:
                raise EngineError(
                    f"{stored.path}: {library.words} cannot load it: {reason(self._listener)}; remove it, and it is"
                    " built again"
                )
            self.input = self._input_spec()
            # The contexts know no more than its address.
            size = max(1, self._engine.device_memory_size_v2)
            self._scratch: Tensor | None = torch.empty(size, dtype=torch.uint8, device=device)
            contexts = _Contexts(library, self._engine, runtime_cache)
            for rows in sorted(self._batch_sizes(), reverse=True):
                context = contexts.make()
                self._must(context is not None, "create_execution_context")
                context.set_device_memory(self._scratch.data_ptr(), size)
                self.by_rows[rows] = self._make(context, rows, stored.engine.outputs)
            contexts.keep()
        largest = self.by_rows[max(self.by_rows)].results
        self.outputs = tuple(
            TensorSpec(name, (self.input.shape[0], *result.shape[1:]), "float32")
            for name, result in zip(stored.engine.outputs, largest, strict=True)
        )

    def close(self) -> None:
        """Free the graphs and contexts, then the engine."""
        self.by_rows = {}
        self._engine = None
        self._runtime = None
        self._scratch = None

    def _input_spec(self) -> TensorSpec:
        """The engine's one input; free rows are None."""
        wanted = self._library.module.TensorIOMode.INPUT
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        (name,) = [name for name in names if self._engine.get_tensor_mode(name) == wanted]
        rows, *size = self._engine.get_tensor_shape(name)
        return TensorSpec(name, (None if rows < 0 else rows, *size), "float32")

    def _batch_sizes(self) -> list[int]:
        """The model's own where it is fixed, else the buckets up to the most rows that a profile has."""
        if self.input.shape[0] is not None:
            return [self.input.shape[0]]
        return buckets_up_to(max(most for _, _, most in self._ranges()))

    def _ranges(self) -> list[list[int]]:
        """The least, usual and most rows of each profile."""
        profiles = range(self._engine.num_optimization_profiles)
        return [[shape[0] for shape in self._engine.get_tensor_profile_shape(self.input.name, i)] for i in profiles]

    def _profile_for(self, rows: int) -> int:
        """The profile that is tuned for the size nearest to `rows`, of those that allow it."""
        ranges = self._ranges()
        allowed = [index for index, (least, _, most) in enumerate(ranges) if least <= rows <= most]
        return min(allowed, key=lambda index: abs(ranges[index][1] - rows))

    def _make(self, context: Any, rows: int, outputs: tuple[str, ...]) -> Slot:
        """A batch size made ready: profile and shape, then addresses, then the graph."""
        if self.input.shape[0] is None:
            with self._launcher.beside() as stream:
                profile = self._profile_for(rows)
                self._must(context.set_optimization_profile_async(profile, stream), "set_optimization_profile_async")
        shape = (rows, *self.input.shape[1:])
        self._must(context.set_input_shape(self.input.name, shape), "set_input_shape")
        place = self._place(context, self.input.name)
        results = tuple(self._place(context, name) for name in outputs)

        def launch(stream: int) -> Outputs:
            self._must(context.execute_async_v3(stream), "execute_async_v3")
            return results

        return Slot(place, results, self._runner(context, launch))

    def _place(self, context: Any, name: str) -> Tensor:
        """Memory for a tensor, zeros at first, which the context is told of."""
        shape = tuple(context.get_tensor_shape(name))
        if min(shape) < 0:
            raise EngineError(
                f"{self._name}: the size of output {name} {shape} hangs on what is in the pictures, which no graph has;"
                " use --backend onnxruntime or openvino"
            )
        dtype = DTYPES[self._engine.get_tensor_dtype(name).name]
        place = torch.zeros(shape, dtype=dtype, device=self._device)
        self._must(context.set_tensor_address(name, place.data_ptr()), f"set_tensor_address({name})")
        return place

    def _runner(self, context: Any, launch: Callable[[int], Outputs]) -> Callable[[], Outputs]:
        """Runs a context by a CUDA graph, or kernel by kernel where TensorRT-RTX says that it cannot be captured."""
        with self._launcher.beside() as stream:
            can_capture = not self._library.is_rtx or context.is_stream_capturable(stream)
        if can_capture:
            return self._launcher.capture(launch)

        def run() -> Outputs:
            with self._launcher.beside() as stream:
                return launch(stream)

        run()
        return run

    def _must(self, succeeded: bool, call: str) -> None:
        """Raise EngineError where a call of the library said False, which it does instead of raising."""
        if not succeeded:
            raise EngineError(f"{self._name}: {call} of {self._library.words} failed: {reason(self._listener)}")


class _Contexts:
    """Makes execution contexts without memory of their own."""

    def __init__(self, library: Library, engine: Any, runtime_cache: Path | None) -> None:
        trt = library.module
        self._engine = engine
        self._how: Any = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        self._kernels: Any = None
        self._file = runtime_cache
        if library.is_rtx:
            self._how = self._configure(trt, runtime_cache)

    def make(self) -> Any:
        """A new context, None where that fails."""
        return self._engine.create_execution_context(self._how)

    def keep(self) -> None:
        """Write the kernels that were compiled for the contexts, whole or not at all, for the next start.

        Where that cannot be, they are compiled at each start, in some seconds.
        """
        if self._kernels is None or self._file is None:
            return
        part = self._file.with_name(f".{self._file.name}.{os.getpid()}-{threading.get_ident()}")
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            try:
                part.write_bytes(bytes(self._kernels.serialize()))
                part.replace(self._file)
            finally:
                part.unlink(missing_ok=True)

    def _configure(self, trt: Any, runtime_cache: Path | None) -> Any:
        """How TensorRT-RTX makes contexts: kernels compiled for the shape at its first run, which a graph then holds.

        Left alone it would begin with slower ones and exchange them later, which a captured graph does not see. What it
        compiled before is taken from the file, unless that is of another machine, which the library finds out.
        """
        how = self._engine.create_runtime_config()
        how.set_execution_context_allocation_strategy(self._how)
        how.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
        self._kernels = how.create_runtime_cache()
        if runtime_cache is not None and runtime_cache.is_file():
            self._kernels.deserialize(runtime_cache.read_bytes())
        how.set_runtime_cache(self._kernels)
        return how
