"""A network in int8, as quantise and dequantise pairs in its ONNX, and the same with some of its operations in fp32."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


def quantized_names(network: onnx.ModelProto) -> list[str]:
    """The names of the operations that work on int8, in the order in which they are computed."""
    producers = _producers(network)
    return [
        node.name
        for node in network.graph.node
        if node.op_type not in (_QUANTIZE, _DEQUANTIZE) and any(_is_pair(producers.get(name)) for name in node.input)
    ]


def keep_in_fp32(quantized: onnx.ModelProto, original: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """A copy of the network `quantized` in which the operations of these names are as `original` has them.

    They read what was to be quantised before that, and have their own weights again, their biases too: those of
    `quantized` make up for what int8 shifts. The rest stays as it is, and what nothing reads any longer goes.
    """
    import onnx

    network = onnx.ModelProto()
    network.CopyFrom(quantized)
    producers, before = _producers(network), {node.name: node for node in original.graph.node}
    weights = {weight.name: weight for weight in original.graph.initializer}
    there = {weight.name: weight for weight in network.graph.initializer}
    kept = set(names)
    for node in network.graph.node:
        if node.name not in kept:
            continue
        for place, name in enumerate(node.input):
            if _is_pair(producers.get(name)):
                node.input[place] = _unquantized(producers, producers[name], before[node.name].input[place])
        _restore_weights(network, node, before[node.name], weights, there)
    _drop_unread(network)
    return network


def _producers(network: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {name: node for node in network.graph.node for name in node.output}


def _is_pair(node: onnx.NodeProto | None) -> bool:
    return node is not None and node.op_type == _DEQUANTIZE


def _unquantized(producers: Mapping[str, onnx.NodeProto], dequantize: onnx.NodeProto, original: str) -> str:
    """The tensor that a pair quantises; where that is done beforehand, of a weight, the `original` one."""
    quantize = producers.get(dequantize.input[0])
    return str(quantize.input[0]) if quantize is not None and quantize.op_type == _QUANTIZE else original


def _restore_weights(
    network: onnx.ModelProto,
    node: onnx.NodeProto,
    before: onnx.NodeProto,
    weights: Mapping[str, onnx.TensorProto],
    there: dict[str, onnx.TensorProto],
) -> None:
    """Give a node the weights that it had `before`, under another name where another tensor has taken theirs."""
    del node.input[len(before.input) :]  # a bias that was made up
    for place, name in enumerate(before.input):
        if name not in weights:
            continue
        own = weights[name]
        if name in there and there[name].SerializeToString() != own.SerializeToString():
            name = f"{name}_fp32"
        if name not in there:
            network.graph.initializer.add().CopyFrom(own)
            network.graph.initializer[-1].name = name
            there[name] = network.graph.initializer[-1]
        node.input[place] = name


def _drop_unread(network: onnx.ModelProto) -> None:
    """Remove the nodes and weights that lead to no output."""
    graph = network.graph
    read: set[str] = {output.name for output in graph.output}
    nodes: list[onnx.NodeProto] = []
    for node in reversed(graph.node):  # what reads a tensor stands behind what makes it
        if any(name in read for name in node.output):
            nodes.append(node)
            read.update(node.input)
    _replace(graph.node, nodes[::-1])
    _replace(graph.initializer, [weight for weight in graph.initializer if weight.name in read])


def _replace(field: Any, messages: Sequence[Any]) -> None:
    """Set a repeated field of a protobuf message to these, which may be its own."""
    kept = [type(message).FromString(message.SerializeToString()) for message in messages]
    del field[:]
    field.extend(kept)
