"""An ONNX file as TensorRT reads it: in the precision that is wanted, its input fixed, its outputs known."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

from engines.backends.base import EngineError, TensorSpec, settle_input
from engines.backends.tensorrt_library import Library, reason

MARK: Final = b"QuantizeLinear"
"""What an ONNX file in int8 has in it, as the names of operators are stored as they are."""
REMEDY: Final = "use --backend onnxruntime or openvino, or export it again"

_SENTENCE_END = re.compile(r"\.\s")


def engine_precision(model: Path, wanted: str) -> str:
    """The precision that an ONNX file is built in: for `auto` fp16, or int8 where the file is quantised."""
    if wanted != "auto":
        return wanted
    return "int8" if MARK in model.read_bytes() else "fp16"


def network_of(library: Library, model: Path, precision: str, builder: Any, listener: Any) -> Any:
    """The INetworkDefinition of an ONNX file, made fp16 where it is fp32 and that is wanted.

    Raises OSError where the file cannot be read, and EngineError where the library does not take what is in it, or it
    is in another precision.
    """
    onnx = model.read_bytes()
    network = _parse(library, model, onnx, builder, listener)
    there = _precision_of(library.module, network)
    if there == precision:
        return network
    if (there, precision) == ("fp32", "fp16"):
        return _parse(library, model, _halved(model, onnx), builder, listener)
    raise EngineError(
        f"{model.name}: is in {there}, wanted {precision}; name the file in {precision}, or precision {there}"
    )


def settle(network: Any, model: Path, size: tuple[int, int] | None) -> tuple[str, ...]:
    """Fix the height and width of a network's input, and name its outputs in their order.

    Raises EngineError where the input is no batch of pictures, or an output has not a row for each of them.
    """
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    spec = settle_input(model, [_spec(tensor) for tensor in inputs], size)
    rows = spec.shape[0]
    inputs[0].shape = [-1 if side is None else side for side in spec.shape]
    outputs = [_spec(network.get_output(index)) for index in range(network.num_outputs)]
    for output in outputs:
        if output.shape[:1] != (rows,):
            raise EngineError(
                f"{model.name}: output {output.name} is {output.shape}, wanted a row for each of {rows or 'N'} pictures"
                " (None is free); use --backend onnxruntime or openvino"
            )
    return tuple(output.name for output in outputs)


def _parse(library: Library, model: Path, onnx: bytes, builder: Any, listener: Any) -> Any:
    """A strongly typed network: every version has those, and they compute in what the file says and nothing else.

    It keeps the parser alive, which owns the weights.
    """
    trt = library.module
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    if network is None:
        raise EngineError(f"{library.words} makes no network: {reason(listener)}; install it again")
    parser = trt.OnnxParser(network, listener)
    if parser.parse(onnx, os.fspath(model)):
        return network
    error = parser.get_error(0) if parser.num_errors else None
    if error is None:
        raise EngineError(f"{model}: {library.words} cannot read it: {reason(listener)}; fetch or export it again")
    said = _SENTENCE_END.split(" ".join(error.desc().split()))[0][:200].rstrip(".")
    remedy = "quantise it for TensorRT, with all zero points 0" if "zero point" in said else REMEDY
    where = f"{error.node_operator()} {error.node_name()}".strip()
    raise EngineError(f"{model.name}: {library.words} does not take its {where or 'graph'}: {said}; {remedy}")


def _precision_of(trt: Any, network: Any) -> str:
    """What a network computes in: int8 where a layer quantises, else fp16 where any gives that, else fp32."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    if any(layer.type == trt.LayerType.QUANTIZE for layer in layers):
        return "int8"
    given = {layer.get_output(index).dtype for layer in layers for index in range(layer.num_outputs)}
    return "fp16" if trt.DataType.HALF in given else "fp32"


def _halved(model: Path, onnx_bytes: bytes) -> bytes:
    """The ONNX in fp16, its inputs and outputs still in fp32."""
    try:
        import onnx
    except ImportError as error:
        raise EngineError(
            f"{model.name}: to make it fp16 takes onnx ({error}): pip install onnx, or precision fp32"
        ) from error
    from engines.half import halve

    proto = onnx.load_from_string(onnx_bytes)
    halve(proto)
    halved: bytes = proto.SerializeToString()
    return halved


def _spec(tensor: Any) -> TensorSpec:
    """A tensor of the library, -1 being a free side there, and types called FLOAT, HALF, INT32."""
    kind = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16"}.get(tensor.dtype.name, tensor.dtype.name.lower())
    return TensorSpec(tensor.name, tuple(None if side < 0 else side for side in tensor.shape), kind)
