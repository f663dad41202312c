"""Networks of quantise and dequantise pairs, with some of their operations put back to fp32."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engines.int8_graph import keep_in_fp32, quantized_names

Weights = dict[str, NDArray[np.generic]]
SCALES: Weights = {"s": np.float32(0.5), "z": np.int8(0), "ws": np.float32(0.25), "wz": np.int8(0)}  # type: ignore[dict-item]
X = np.array([[[[0.2, 1.3]]]], np.float32)


def network(nodes: list[onnx.NodeProto], weights: Weights) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 1, 2])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=10)


ORIGINAL = network(
    [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Conv", ["b", "w2"], ["c"], "second"),
        helper.make_node("Add", ["c", "b"], ["y"], "sum"),
    ],
    {"w1": np.full((1, 1, 1, 1), 1.1, np.float32), "b1": np.array([0.1], np.float32),
     "w2": np.full((1, 1, 1, 1), 0.7, np.float32)},
)  # fmt: skip
"""y = 0.7 r + r for r = relu(1.1 x + 0.1)."""


def pair(name: str, out: str, scale: str = "s", zero: str = "z") -> list[onnx.NodeProto]:
    return [
        helper.make_node("QuantizeLinear", [name, scale, zero], [f"{out}_q"], f"{out}_quantize"),
        helper.make_node("DequantizeLinear", [f"{out}_q", scale, zero], [out], f"{out}_dequantize"),
    ]


@pytest.fixture
def quantized() -> onnx.ModelProto:
    """The first weight quantised beforehand, the second in the graph; the first bias moved, the second made up."""
    nodes = [
        *pair("x", "x8"),
        helper.make_node("DequantizeLinear", ["w1", "ws", "wz"], ["w1f"], "w1_dequantize"),
        helper.make_node("Conv", ["x8", "w1f", "b1"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        *pair("b", "b8"),
        *pair("w2", "w28", "ws", "wz"),
        helper.make_node("Conv", ["b8", "w28", "b2"], ["c"], "second"),
        *pair("c", "c8"),
        helper.make_node("Add", ["c8", "b8"], ["y"], "sum"),
    ]
    weights: Weights = {
        "w1": np.full((1, 1, 1, 1), 4, np.int8), "b1": np.array([0.3], np.float32),
        "w2": np.full((1, 1, 1, 1), 0.7, np.float32), "b2": np.array([0.2], np.float32), **SCALES,
    }  # fmt: skip
    return network(nodes, weights)


def run(model: onnx.ModelProto) -> list[float]:
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [float(value) for value in np.asarray(session.run(None, {"x": X})[0]).ravel()]


def halves(value: float) -> float:
    return round(value / 0.5) * 0.5


def test_what_reads_int8_is_named_in_order(quantized: onnx.ModelProto) -> None:
    assert quantized_names(quantized) == ["first", "second", "sum"]
    assert quantized_names(ORIGINAL) == []


def test_all_in_fp32_is_the_original(quantized: onnx.ModelProto) -> None:
    plain = keep_in_fp32(quantized, ORIGINAL, ["first", "second", "sum"])
    assert [node.op_type for node in plain.graph.node] == ["Conv", "Relu", "Conv", "Add"]
    assert run(plain) == pytest.approx(run(ORIGINAL), abs=1e-6)
    assert len(plain.graph.initializer) == 3


def test_none_in_fp32_changes_nothing(quantized: onnx.ModelProto) -> None:
    assert run(keep_in_fp32(quantized, ORIGINAL, [])) == run(quantized)


def test_one_in_fp32_has_its_weights_and_bias_again_and_the_rest_stays_in_int8(quantized: onnx.ModelProto) -> None:
    mixed = keep_in_fp32(quantized, ORIGINAL, ["first"])
    r = [max(0.0, 1.1 * x + 0.1) for x in X.ravel()]
    second = [halves(0.75 * halves(value) + 0.2) for value in r]  # 0.7 in quarters is 0.75
    assert run(mixed) == pytest.approx([c + halves(value) for c, value in zip(second, r, strict=True)], abs=1e-6)
    assert quantized_names(mixed) == ["second", "sum"]
    assert {weight.name for weight in mixed.graph.initializer} == {
        "w1_fp32",
        "b1_fp32",
        "w2",
        "b2",
        "s",
        "z",
        "ws",
        "wz",
    }


def test_a_bias_that_was_made_up_goes(quantized: onnx.ModelProto) -> None:
    mixed = keep_in_fp32(quantized, ORIGINAL, ["second"])
    (node,) = (node for node in mixed.graph.node if node.name == "second")
    assert list(node.input) == ["b", "w2"]
    assert "b2" not in {weight.name for weight in mixed.graph.initializer}


def test_the_network_that_is_given_stays_as_it_is(quantized: onnx.ModelProto) -> None:
    before = quantized.SerializeToString(deterministic=True)
    keep_in_fp32(quantized, ORIGINAL, ["first", "second", "sum"])
    assert quantized.SerializeToString(deterministic=True) == before
