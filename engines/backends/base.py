"""What a backend is: tensors in, tensors out; it knows nothing of people."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

PRECISIONS = ("auto", "fp32", "bf16")


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


def open_backend(
    path: Path,
    *,
    input_size: tuple[int, int] | None = None,
    backend: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    threads: int = 0,
) -> Backend:
    """The backend that runs the ONNX model at `path`.

    `input_size` (height, width) is needed where the model leaves its own free. `backend` is openvino, onnxruntime or
    auto: OpenVINO where it is installed. `precision` is fp32, bf16 or auto: bf16 where the CPU computes in it.
    `threads` 0 leaves their number to the library. Raises OSError where the file cannot be read, EngineError where the
    model or a wish does not fit, ValueError where an option is unknown.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if threads < 0:
        raise ValueError(f"threads must be 0 or more, got {threads}")
    _check_device(device)
    _check_readable(path)
    if backend in ("auto", "openvino"):
        try:
            from engines.backends.openvino_backend import OpenVinoBackend

            return OpenVinoBackend(path, input_size, precision, threads)
        except ImportError as error:
            if backend == "openvino":
                raise EngineError(f"backend openvino is not installed ({error}); pip install openvino") from error
    if backend in ("auto", "onnxruntime"):
        try:
            from engines.backends.onnxruntime_backend import OnnxRuntimeBackend

            return OnnxRuntimeBackend(path, input_size, precision, threads)
        except ImportError as error:
            wanted = "openvino" if backend == "auto" else "onnxruntime"
            raise EngineError(f"no backend to run {path.name} ({error}); pip install {wanted}") from error
    raise ValueError(f"backend must be auto, openvino or onnxruntime, got {backend!r}")


def _check_device(device: str) -> None:
    if re.fullmatch(r"cuda(:\d+)?", device):
        raise EngineError(f"device {device}: there is no GPU backend here, models run on the CPU; use --device cpu")
    if device not in ("auto", "cpu"):
        raise ValueError(f"device must be auto, cpu or cuda:N, got {device!r}")


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
