"""Models on the CPU by ONNX Runtime, where OpenVINO is not installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.backends.base import EngineError, TensorSpec, complaint, cut_batch, join_pieces, settle_input
from engines.results import check_array

_SILENT = 4
"""Severity below which ONNX Runtime logs nothing; what fails is raised."""
_NUMPY_NAMES = {"float": "float32", "double": "float64"}
"""ONNX Runtime's element types that numpy calls otherwise."""


class OnnxRuntimeBackend:
    """An ONNX model run by ONNX Runtime in fp32: the batch at once, or piece after piece where its size is fixed."""

    def __init__(self, path: Path, input_size: tuple[int, int] | None, precision: str, threads: int) -> None:
        """Raises ImportError where ONNX Runtime is missing, EngineError where the model or precision does not fit."""
        import onnxruntime as ort

        if precision == "bf16":
            raise EngineError(
                "precision bf16: ONNX Runtime computes in fp32 here; use fp32, auto or --backend openvino"
            )
        self._path = path
        self._failures = _failures()
        self._precision = "int8" if precision == "int8" else "fp32"
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = _SILENT
        try:
            session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except self._failures as error:
            raise EngineError(
                f"{path}: cannot be read as ONNX: {complaint(error)}; fetch or export it again"
            ) from error
        self._session: Any = session
        self._input = settle_input(path, [_spec(node) for node in session.get_inputs()], input_size)
        self._outputs = tuple(_spec(node) for node in session.get_outputs())

    @property
    def name(self) -> str:
        """`ONNX Runtime CPU fp32`, or int8, where the model says what is in it."""
        return f"ONNX Runtime CPU {self._precision}"

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The one input, its height and width known."""
        return (self._input,)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs as the file declares them."""
        return self._outputs

    def infer(self, batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """See `Backend`."""
        if self._session is None:
            raise EngineError(f"{self._path.name}: the model was closed; open it again")
        check_array("batch", batch, (None, *self._input.shape[1:]), np.float32)
        if len(batch) == 0:
            raise ValueError("batch must be one row or more, got none")
        pieces = cut_batch(np.ascontiguousarray(batch), self._input.shape[0] or len(batch))
        try:
            done = [self._session.run(None, {self._input.name: piece}) for piece in pieces]
        except self._failures as error:
            raise EngineError(f"{self._path.name}: ONNX Runtime failed to run it: {complaint(error)}") from error
        return join_pieces([tuple(np.asarray(a, np.float32) for a in outputs) for outputs in done], len(batch))

    def close(self) -> None:
        """Free the model."""
        self._session = None


def _failures() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises; its errors have no common class of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as raised

    return (
        raised.Fail,
        raised.InvalidArgument,
        raised.InvalidGraph,
        raised.InvalidProtobuf,
        raised.NotImplemented,
        raised.RuntimeException,
    )


def _spec(node: Any) -> TensorSpec:
    """An input or output of a session: `tensor(float)` is float32, a named dimension is free."""
    element = node.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(side if isinstance(side, int) else None for side in node.shape)
    return TensorSpec(node.name, shape, _NUMPY_NAMES.get(element, element))
