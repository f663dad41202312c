"""Checkpoints by torch: on a GPU without TensorRT, as the reference there, and on the CPU for tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from engines.backends.base import EngineError, TensorSpec, complaint
from engines.images import Copies
from engines.results import check_array

if TYPE_CHECKING:
    from torch import Tensor, nn

DTYPES: Final = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
"""torch's names of the precisions that it computes in."""


class TorchBackend:
    """A network run by torch: a DeviceBackend, in the batch sizes of `engines.buckets`, on a GPU by CUDA graphs.

    By itself it takes the first GPU and fp16 there, else the CPU and fp32. In fp16 a CPU computes a hundred times
    slower than in fp32, but to the same numbers as a GPU. A batch size runs the first time when a batch needs it, which
    takes some tenths of a second on a GPU: whoever cannot wait later runs those that are to come.
    """

    def __init__(
        self,
        module: nn.Module,
        name: str,
        size: tuple[int, int],
        precision: str = "auto",
        device: str = "auto",
        threads: int = 0,
    ) -> None:
        """Take a network in eval mode that gives one output for pictures (N, 3, *size), and run it once.

        `name` is what errors call it; it is left as it is. `threads` are those of a CPU, of torch as a whole. Raises
        ImportError where torch is missing, EngineError where the device or the precision is, or the network fails.
        """
        import torch

        from engines.nets.bucketed import Bucketed

        self._name = name
        self._device = _choose_device(device)
        self._precision = _choose_precision(precision, self._device)
        if threads and self._device == "cpu":
            torch.set_num_threads(threads)
        self._copies = Copies()
        self._input = TensorSpec("image", (None, 3, *size), "float32")
        dtype: torch.dtype = getattr(torch, DTYPES[self._precision])
        try:
            self._network: Bucketed | None = Bucketed(module, size, torch.device(self._device), dtype)
            output = self._network(torch.zeros((1, 3, *size), device=self._device))
        except RuntimeError as error:
            size_words = "x".join(map(str, size))
            raise EngineError(
                f"{name}: torch cannot run it on {self._device} for {size_words} (height x width): {complaint(error)};"
                " try another size or --device cpu"
            ) from error
        self._outputs = (TensorSpec("output", (None, *output.shape[1:]), "float32"),)

    @property
    def name(self) -> str:
        """`torch cuda:0 fp16` or `torch CPU fp32`."""
        return f"torch {'CPU' if self._device == 'cpu' else self._device} {self._precision}"

    @property
    def device(self) -> str:
        """`cuda:0`, or `cpu`."""
        return self._device

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The one input, of any number of rows."""
        return (self._input,)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The one output at that input size."""
        return self._outputs

    def infer(self, batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """See `Backend`; on a GPU the way there and back is through pinned memory."""
        check_array("batch", batch, (None, *self._input.shape[1:]), np.float32)
        return tuple(self._copies.fetch(self.infer_tensors(self._copies.send(batch, self._device))))

    def infer_tensors(self, batch: Tensor) -> tuple[Tensor, ...]:
        """See `DeviceBackend`."""
        if self._network is None:
            raise EngineError(f"{self._name}: the model was closed; open it again")
        self._check_tensor(batch)
        try:
            return (self._network(batch),)
        except RuntimeError as error:
            raise EngineError(f"{self._name}: torch failed to run it: {complaint(error)}") from error

    def close(self) -> None:
        """Free the network and its graphs."""
        self._network = None

    def _check_tensor(self, batch: Tensor) -> None:
        """Raise ValueError for what `infer_tensors` does not take."""
        wanted = ", ".join(["N", *map(str, self._input.shape[1:])])
        if batch.ndim != 4 or tuple(batch.shape[1:]) != self._input.shape[1:]:
            raise ValueError(f"batch must be ({wanted}), got {tuple(batch.shape)}")
        if not str(batch.dtype).endswith(".float32") or str(batch.device) != self._device:
            raise ValueError(f"batch must be float32 on {self._device}, got {batch.dtype} on {batch.device}")


def open_checkpoint(
    path: Path, input_size: tuple[int, int] | None, precision: str, device: str, threads: int
) -> TorchBackend:
    """The network of a checkpoint, of a darknet's by the .cfg beside it; `input_size` None takes the network's own.

    Raises ImportError where torch is missing, OSError where a file cannot be read, and EngineError where it is an ONNX
    model, holds no network that we know, or cannot run as wished.
    """
    check_no_onnx(path)
    from engines.nets.read import read_network

    network = read_network(path, path.with_suffix(".cfg") if path.suffix == ".weights" else None)
    size = input_size or network.size
    if size is None:
        raise EngineError(f"{path.name}: its input size is free; say which with --imgsz or a card")
    return TorchBackend(network.module, path.name, size, precision, device, threads)


def check_no_onnx(path: Path) -> None:
    """Raise EngineError for a model that torch does not run."""
    if path.suffix == ".onnx":
        raise EngineError(
            f"{path}: torch runs checkpoints, not ONNX; name the checkpoint that it was made of, or another --backend"
        )


def _choose_device(wanted: str) -> str:
    """torch's name of the device; EngineError where there is no such GPU."""
    import torch

    from engines.nets.stopwatch import device_words

    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return "cpu"
    device = f"cuda:{torch.device('cuda' if wanted == 'auto' else wanted).index or 0}"
    device_words(device)  # raises where it is not there
    return device


def _choose_precision(wanted: str, device: str) -> str:
    if wanted == "auto":
        return "fp32" if device == "cpu" else "fp16"
    if wanted not in DTYPES:
        raise EngineError(f"precision {wanted}: torch computes in {', '.join(DTYPES)} here; use one of them or auto")
    return wanted
