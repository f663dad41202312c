"""An ONNX model in fp32 to the same in fp16, its inputs and outputs left in fp32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

KEPT_IN_FP32 = {"Resize": (1, 2), "Upsample": (1,)}
"""Inputs, by position, that the operator takes in fp32 alone: regions and scales."""


def halve(model: onnx.ModelProto) -> None:
    """Make every fp32 weight, constant and cast of `model` fp16, in place, and cast its inputs and outputs.

    What is larger than fp16 holds becomes infinite, so the result wants to be checked. Weights that only KEPT_IN_FP32
    reads stay. For graphs without subgraphs, as exporters write networks.
    """
    graph = model.graph
    kept = _keep_scales(graph)
    for weight in graph.initializer:
        if weight.name not in kept:
            _halve_tensor(weight)
    for node in graph.node:
        _halve_node(node)
    _cast_border(graph)
    del graph.value_info[:]


def _keep_scales(graph: onnx.GraphProto) -> set[str]:
    """Names of the weights read where fp32 is demanded; a weight that is read elsewhere too is there twice then."""
    from onnx import TensorProto

    weights = {weight.name: weight for weight in graph.initializer if weight.data_type == TensorProto.FLOAT}
    kept: dict[str, str] = {}
    for node in graph.node:
        for position in KEPT_IN_FP32.get(node.op_type, ()):
            name = node.input[position] if position < len(node.input) else ""
            if name in weights:
                node.input[position] = kept.setdefault(name, f"{name}_fp32")
    read = {name for node in graph.node for name in node.input}
    for name, copy in kept.items():
        graph.initializer.add().CopyFrom(weights[name])
        graph.initializer[-1].name = copy
        if name not in read:
            graph.initializer.remove(weights[name])
    return set(kept.values())


def _halve_node(node: onnx.NodeProto) -> None:
    """Make the fp32 that a node holds in its attributes, or makes by itself, fp16."""
    from onnx import TensorProto, helper, numpy_helper

    for attribute in node.attribute:
        if attribute.HasField("t"):
            _halve_tensor(attribute.t)
        elif node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16
        elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
            values = np.array(helper.get_attribute_value(attribute), np.float16)
            attribute.CopyFrom(helper.make_attribute("value", numpy_helper.from_array(values)))
    if node.op_type == "ConstantOfShape" and not node.attribute:
        zero = numpy_helper.from_array(np.zeros(1, np.float16))
        node.attribute.append(helper.make_attribute("value", zero))


def _halve_tensor(tensor: onnx.TensorProto) -> None:
    from onnx import TensorProto, numpy_helper

    if tensor.data_type != TensorProto.FLOAT:
        return
    with np.errstate(over="ignore"):
        halved = numpy_helper.to_array(tensor).astype(np.float16)
    tensor.CopyFrom(numpy_helper.from_array(halved, tensor.name))


def _cast_border(graph: onnx.GraphProto) -> None:
    """Put a cast behind every fp32 input of the graph and one before every fp32 output."""
    from onnx import TensorProto, helper

    weights = {weight.name for weight in graph.initializer}
    for value in [v for v in graph.input if v.name not in weights and _is_fp32(v)]:
        inner = f"{value.name}_fp16"
        for node in graph.node:
            node.input[:] = [inner if name == value.name else name for name in node.input]
        graph.node.insert(0, helper.make_node("Cast", [value.name], [inner], to=TensorProto.FLOAT16))
    for value in [v for v in graph.output if _is_fp32(v)]:
        inner = f"{value.name}_fp16"
        for node in graph.node:
            node.input[:] = [inner if name == value.name else name for name in node.input]
            node.output[:] = [inner if name == value.name else name for name in node.output]
        graph.node.append(helper.make_node("Cast", [inner], [value.name], to=TensorProto.FLOAT))


def _is_fp32(value: onnx.ValueInfoProto) -> bool:
    from onnx import TensorProto

    return value.type.tensor_type.elem_type == TensorProto.FLOAT
