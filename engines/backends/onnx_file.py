"""What an ONNX file says of its inputs and outputs, read without compiling it."""

from __future__ import annotations

import re
from pathlib import Path

from engines.backends.base import EngineError, TensorSpec, complaint
from engines.backends.openvino_backend import load_openvino, read_onnx

Specs = tuple[TensorSpec, ...]

_NUMPY_NAMES = {"float": "float32", "double": "float64", "f32": "float32", "f16": "float16", "f64": "float64"}
"""ONNX Runtime's and OpenVINO's names of the floats; `_numpy_name` knows the integers."""


def describe(path: Path) -> tuple[Specs, Specs]:
    """The inputs and outputs of the ONNX file at `path`, by OpenVINO, or by ONNX Runtime where that is not installed.

    Raises FileNotFoundError, and EngineError where the file is no ONNX or neither library is installed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        load_openvino()
    except ImportError:
        inputs, outputs = describe_by_onnxruntime(path)
    else:
        inputs, outputs = describe_by_openvino(path)
    if not inputs or not outputs:
        raise EngineError(
            f"{path}: no model in it: {len(inputs)} inputs, {len(outputs)} outputs; fetch or export it again"
        )
    return inputs, outputs


def describe_by_openvino(path: Path) -> tuple[Specs, Specs]:
    """`describe` by OpenVINO."""
    model = read_onnx(path)
    inputs, outputs = (
        tuple(
            TensorSpec(
                min(port.get_names(), default=""),
                tuple(d.get_length() if d.is_static else None for d in port.get_partial_shape()),
                _numpy_name(port.get_element_type().get_type_name()),
            )
            for port in ports
        )
        for ports in (model.inputs, model.outputs)
    )
    return inputs, outputs


def describe_by_onnxruntime(path: Path) -> tuple[Specs, Specs]:
    """`describe` by ONNX Runtime, its optimiser off."""
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as raised
    except ImportError as error:
        raise EngineError("neither openvino nor onnxruntime is installed; pip install openvino") from error
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    failures = (raised.Fail, raised.InvalidArgument, raised.InvalidGraph, raised.InvalidProtobuf, raised.NotImplemented)
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except failures as error:
        raise _unreadable(path, error) from error
    inputs, outputs = (
        tuple(
            TensorSpec(
                node.name,
                tuple(d if isinstance(d, int) else None for d in node.shape),
                _numpy_name(node.type.removeprefix("tensor(").removesuffix(")")),
            )
            for node in nodes
        )
        for nodes in (session.get_inputs(), session.get_outputs())
    )
    return inputs, outputs


def _unreadable(path: Path, error: Exception) -> EngineError:
    return EngineError(f"{path}: cannot be read as ONNX: {complaint(error)}; fetch or export it again")


def _numpy_name(name: str) -> str:
    """`i64` and `int64` are int64, `u8` is uint8, `float` and `f32` are float32."""
    short = re.fullmatch(r"([iu])(\d+)", name)
    if short:
        return ("int" if short[1] == "i" else "uint") + short[2]
    return _NUMPY_NAMES.get(name, name)
