"""What a backend is: tensors in, tensors out; it knows nothing of people."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

PRECISIONS = ("auto", "fp32", "fp16", "bf16", "int8")
BACKENDS = ("auto", "tensorrt", "openvino", "onnxruntime", "torch")
CHECKPOINTS = (".pth", ".pt", ".weights")
"""Endings of what torch runs as it is, and no other: its own, and darknet's."""
TENSORRTS = ("tensorrt", "tensorrt_rtx")
"""Modules of one API, either of which runs ONNX on a GPU."""
DRIVERS = ("libcuda.so.1", "nvcuda.dll")
"""NVIDIA's driver, as Linux and Windows call it."""


class EngineError(Exception):
    """A model cannot be loaded or run: what, got, wanted, remedy, in one line."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output of a model; None in `shape` is a free dimension, `dtype` is numpy's name of the elements."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


class Backend(Protocol):
    """Runs one model; whoever opened it closes it, and only one thread at a time uses it.

    `infer` takes a batch of one or more, (N, C, H, W) float32, C-contiguous, of any N, and returns the model's outputs
    in their order, each of N rows and float32, which no later call overwrites. Where an output's rows differ in length
    (boxes after an NMS inside the model) the shorter end in zeros. How N is cut into the batch sizes that run fastest
    is the backend's affair. A batch of another shape is a ValueError, a model that fails an EngineError.
    """

    @property
    def name(self) -> str:
        """The library, device and precision in words, as `OpenVINO CPU bf16`."""
        ...

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...

    def infer(self, batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]: ...

    def close(self) -> None: ...


class DeviceBackend(Backend, Protocol):
    """A Backend that also runs where torch's tensors are; models know it by its `device`.

    `infer_tensors` takes a batch (N, 3, H, W) float32 on that device, of any N from one, and returns the outputs in the
    model's order, each of N rows, float32, on that device; no later call overwrites them. It runs on torch's current
    stream and does not wait for it. A batch of another shape or device is a ValueError, a model that fails an
    EngineError.
    """

    @property
    def device(self) -> str:
        """torch's name of it: `cuda:0`, or `cpu`."""
        ...

    def infer_tensors(self, batch: Tensor) -> tuple[Tensor, ...]: ...


def open_backend(
    path: Path,
    *,
    input_size: tuple[int, int] | None = None,
    backend: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    front: float = 0.0,
    say: Callable[[str], None] | None = None,
) -> Backend:
    """The backend that runs the ONNX model or the checkpoint at `path`.

    `input_size` (height, width) is needed where the model leaves its own free. `backend` is one of BACKENDS, of which
    torch runs checkpoints and the others ONNX; auto is torch for a checkpoint, else TensorRT on a GPU, and on a CPU
    OpenVINO where it is installed. `device` is cpu, cuda:N or auto: a GPU where there is one and what runs the model on
    it. `precision` is one of PRECISIONS; auto is fp16 on a GPU, and on a CPU what it computes in, bf16 or fp32.
    `threads` 0 leaves their number to the library. `front` is the share of a model's first operations that stay in fp32
    where OpenVINO computes the rest in bf16. `say` is told in lines how far the build of an engine is. Raises OSError
    where the file cannot be read, EngineError where the model or a wish does not fit, ValueError where an option is
    unknown.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if threads < 0:
        raise ValueError(f"threads must be 0 or more, got {threads}")
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise ValueError(f"device must be auto, cpu or cuda:N, got {device!r}")
    _check_readable(path)
    if backend == "torch" or (backend == "auto" and path.suffix in CHECKPOINTS):
        return _open_torch(path, input_size, device, precision, threads)
    if backend == "tensorrt" or (backend == "auto" and _is_for_tensorrt(device)):
        return _open_tensorrt(path, input_size, device, precision, say)
    _check_cpu(backend, device, precision)
    return _open_on_cpu(path, input_size, backend, precision, threads, front)


def has_gpu() -> bool:
    """Whether torch finds an NVIDIA GPU; without a driver it is not asked, as to import it takes seconds."""
    if not any(map(_loads, DRIVERS)):
        return False
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


def has_tensorrt() -> bool:
    """Whether TensorRT, of either kind, is installed."""
    return any(find_spec(module) is not None for module in TENSORRTS)


def _is_for_tensorrt(device: str) -> bool:
    """Whether an ONNX model goes to a GPU: because somebody says so, or because there is one and what it takes."""
    return device.startswith("cuda") or (device == "auto" and has_tensorrt() and has_gpu())


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _open_torch(
    path: Path, input_size: tuple[int, int] | None, device: str, precision: str, threads: int
) -> DeviceBackend:
    try:
        from engines.backends.torch_backend import open_checkpoint

        return open_checkpoint(path, input_size, precision, device, threads)
    except ImportError as error:
        raise EngineError(f"backend torch is not installed ({error}); pip install torch torchvision") from error


def _open_tensorrt(
    path: Path,
    input_size: tuple[int, int] | None,
    device: str,
    precision: str,
    say: Callable[[str], None] | None,
) -> DeviceBackend:
    try:
        from engines.backends.tensorrt_opening import open_tensorrt
        from engines.export import silent

        return open_tensorrt(path, input_size, precision, device, say or silent)
    except ImportError as error:
        raise EngineError(
            f"{path.name}: ONNX runs on a GPU by TensorRT, which is not installed ({error}); pip install"
            " 'posestream[gpu]', name the checkpoint that it was made of, or use --device cpu"
        ) from error


def _check_cpu(backend: str, device: str, precision: str) -> None:
    """Raise EngineError for wishes that no library for ONNX on the CPU meets."""
    if device.startswith("cuda"):
        raise EngineError(f"device {device}: {backend} runs on the CPU; use --device cpu or another --backend")
    if precision == "fp16":
        raise EngineError(
            "precision fp16: an ONNX model on the CPU runs in fp32, bf16 or int8; use one of them or auto"
        )


def _open_on_cpu(
    path: Path, input_size: tuple[int, int] | None, backend: str, precision: str, threads: int, front: float
) -> Backend:
    """OpenVINO, or ONNX Runtime where that is wanted or alone installed."""
    if backend in ("auto", "openvino"):
        try:
            from engines.backends.openvino_backend import OpenVinoBackend

            return OpenVinoBackend(path, input_size, precision, threads, front)
        except ImportError as error:
            if backend == "openvino":
                raise EngineError(f"backend openvino is not installed ({error}); pip install openvino") from error
    try:
        from engines.backends.onnxruntime_backend import OnnxRuntimeBackend

        return OnnxRuntimeBackend(path, input_size, precision, threads)
    except ImportError as error:
        wanted = "openvino" if backend == "auto" else "onnxruntime"
        raise EngineError(f"no backend to run {path.name} ({error}); pip install {wanted}") from error


def _check_readable(path: Path) -> None:
    """Raise OSError in our words before a library does it in its own."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, wanted an .onnx file; name the file in it")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such model file; check the path, run.py models lists what is there")
    with path.open("rb") as file:
        if not file.read(1):
            raise EngineError(f"{path}: the model file is empty; fetch it again")


def settle_input(path: Path, inputs: list[TensorSpec], input_size: tuple[int, int] | None) -> TensorSpec:
    """The one picture input of a model, (N, 3, H, W) float32 with H and W known, N an int or None where free.

    Raises EngineError where the model has another input, or `input_size` is missing or not the model's own.
    """
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        got = ", ".join(f"{spec.name} {spec.shape}" for spec in inputs) or "none"
        raise EngineError(
            f"{path.name}: wanted one input (N, 3, height, width), got {got}; export it with one picture input"
        )
    (spec,) = inputs
    if spec.dtype != "float32":
        raise EngineError(
            f"{path.name}: input {spec.name} is {spec.dtype}, wanted float32; export it with float32 inputs"
        )
    rows, channels, *size = spec.shape
    if channels not in (3, None):
        raise EngineError(
            f"{path.name}: wanted 3 channels in (N, 3, height, width), got {spec.shape}; export it as NCHW"
        )
    if input_size is None:
        if None in size:
            raise EngineError(f"{path.name}: its input size is free; say which with --imgsz or a card")
        return spec
    if any(own not in (None, wanted) for own, wanted in zip(size, input_size, strict=True)):
        own = "x".join("free" if n is None else str(n) for n in size)
        raise EngineError(
            f"{path.name}: its input is fixed at {own} (height x width), wanted {input_size[0]}x{input_size[1]}; "
            "leave the size out or export the model with a free one"
        )
    return TensorSpec(spec.name, (rows, 3, *input_size), spec.dtype)


def cut_batch(batch: NDArray[np.float32], rows: int) -> Iterator[NDArray[np.float32]]:
    """The batch in pieces of exactly `rows` rows; the last is filled up with zeros."""
    for start in range(0, len(batch), rows):
        piece = batch[start : start + rows]
        if len(piece) < rows:
            piece = np.concatenate([piece, np.zeros((rows - len(piece), *batch.shape[1:]), np.float32)])
        yield piece


def join_pieces(pieces: list[tuple[NDArray[np.float32], ...]], count: int) -> tuple[NDArray[np.float32], ...]:
    """The outputs of pieces one below the other, `count` rows of each; rows that end early go on in zeros."""
    return tuple(_stack(parts)[:count] for parts in zip(*pieces, strict=True))


def _stack(parts: tuple[NDArray[np.float32], ...]) -> NDArray[np.float32]:
    if len(parts) == 1:
        return parts[0]
    longest = np.max([part.shape[1:] for part in parts], axis=0)
    whole = np.zeros((sum(map(len, parts)), *longest), np.float32)
    row = 0
    for part in parts:
        whole[(slice(row, row + len(part)), *(slice(n) for n in part.shape[1:]))] = part
        row += len(part)
    return whole


def complaint(error: BaseException) -> str:
    """What a library says is wrong, in one line: its last one holds the cause, those before the place in its code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
