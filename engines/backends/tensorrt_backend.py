"""Engines of TensorRT and TensorRT-RTX as backends: batches of any size cut into those that there are graphs of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engines.backends.base import EngineError, TensorSpec, complaint
from engines.backends.tensorrt_library import Library
from engines.engine_cache import StoredEngine
from engines.images import Copies
from engines.results import check_array

if TYPE_CHECKING:
    from torch import Tensor

    from engines.nets.tensorrt_slots import Launcher


class TensorRtBackend:
    """An engine on a GPU: a DeviceBackend, in the batch sizes that the engine was built for, by CUDA graphs."""

    def __init__(
        self, stored: StoredEngine, library: Library, device: str, launcher: Launcher, runtime_cache: Path | None = None
    ) -> None:
        """Load the engine and make every batch size ready; EngineError where it does not run on this machine.

        `runtime_cache` is the file in which TensorRT-RTX keeps the kernels that it compiled.
        """
        from engines.nets.tensorrt_slots import Slots

        self._title = f"{library.name} {device} {stored.key.precision}"
        self._model = stored.key.name
        self._device = device
        self._launcher = launcher
        self._copies = Copies()
        try:
            self._slots = Slots(stored, library, device, launcher, runtime_cache)
        except RuntimeError as error:
            raise EngineError(
                f"{stored.path.name}: cannot be made ready on {device}: {complaint(error)}; close what else uses the"
                " GPU, or use --device cpu"
            ) from error

    @property
    def name(self) -> str:
        """`TensorRT cuda:0 fp16` or `TensorRT-RTX cuda:0 int8`."""
        return self._title

    @property
    def device(self) -> str:
        """As `cuda:0`."""
        return self._device

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The one input, its height and width known."""
        return (self._slots.input,)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs at that input size, all in fp32."""
        return self._slots.outputs

    def infer(self, batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """See `Backend`; the way there and back is through pinned memory."""
        check_array("batch", batch, (None, *self._slots.input.shape[1:]), np.float32)
        if len(batch) == 0:
            raise ValueError("batch must be one row or more, got none")
        return tuple(self._copies.fetch(self.infer_tensors(self._copies.send(batch, self._device))))

    def infer_tensors(self, batch: Tensor) -> tuple[Tensor, ...]:
        """See `DeviceBackend`."""
        import torch

        slots = self._slots.by_rows
        if not slots:
            raise EngineError(f"{self._model}: the model was closed; open it again")
        self._check(batch)
        try:
            with self._launcher.in_turn():
                done = [self._run(piece) for piece in torch.split(batch, max(slots))]
                return done[0] if len(done) == 1 else tuple(map(torch.cat, zip(*done, strict=True)))
        except RuntimeError as error:
            raise EngineError(f"{self._model}: {self._title} failed to run it: {complaint(error)}") from error

    def close(self) -> None:
        """Free the graphs and the engine."""
        self._slots.close()

    def _run(self, piece: Tensor) -> tuple[Tensor, ...]:
        """Copies, in fp32, of the outputs of at most as many rows as the largest batch size has."""
        import torch

        slots = self._slots.by_rows
        slot = slots[min(rows for rows in slots if rows >= len(piece))]
        slot.place[: len(piece)].copy_(piece)  # what an earlier batch left below is no row's concern
        return tuple(output[: len(piece)].to(torch.float32, copy=True) for output in slot.run())

    def _check(self, batch: Tensor) -> None:
        """Raise ValueError for what `infer_tensors` does not take."""
        shape = self._slots.input.shape[1:]
        if batch.ndim != 4 or tuple(batch.shape[1:]) != shape or len(batch) == 0:
            wanted = ", ".join(["N", *map(str, shape)])
            raise ValueError(f"batch must be ({wanted}) of one row or more, got {tuple(batch.shape)}")
        if not str(batch.dtype).endswith(".float32") or str(batch.device) != self._device:
            raise ValueError(f"batch must be float32 on {self._device}, got {batch.dtype} on {batch.device}")
