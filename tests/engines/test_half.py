"""ONNX in fp16: every weight and constant, whatever an operator demands left, borders in fp32."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engines.half import halve


def model_of(nodes: list[Any], weights: dict[str, Any], outputs: dict[str, tuple[int, ...]]) -> onnx.ModelProto:
    """From `x` (2, 2) through the nodes."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 2, 2])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run(model: onnx.ModelProto, x: NDArray[np.float32]) -> list[NDArray[Any]]:
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(output) for output in session.run(None, {"x": x})]


X = np.array([[[[1, 2], [3, 4]]]], np.float32)


def types_of(model: onnx.ModelProto) -> dict[str, str]:
    return {w.name: TensorProto.DataType.Name(w.data_type) for w in model.graph.initializer}


def test_weights_are_rounded_to_fp16_and_the_borders_stay_fp32() -> None:
    model = model_of([helper.make_node("Mul", ["x", "w"], ["y"])], {"w": np.float32(1 + 2**-12)}, {"y": (1, 1, 2, 2)})
    halve(model)
    assert types_of(model) == {"w": "FLOAT16"}
    (y,) = run(model, X)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, X)  # fp16 has nothing between 1 and 1 + 2**-10


def test_the_scales_of_a_resize_stay_fp32_even_where_they_are_read_elsewhere_too() -> None:
    nodes = [
        helper.make_node("Resize", ["x", "", "scales"], ["big"], mode="nearest"),
        helper.make_node("ReduceSum", ["scales"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["big", "sum"], ["y"]),
    ]
    model = model_of(nodes, {"scales": np.array([1, 1, 2, 2], np.float32)}, {"y": (1, 1, 4, 4)})
    halve(model)
    assert types_of(model) == {"scales": "FLOAT16", "scales_fp32": "FLOAT"}
    (y,) = run(model, X)
    np.testing.assert_array_equal(y[0, 0], np.kron(X[0, 0], np.ones((2, 2))) * 6)


def test_scales_that_only_a_resize_reads_leave_no_copy() -> None:
    nodes = [helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="nearest")]
    model = model_of(nodes, {"scales": np.array([1, 1, 2, 2], np.float32)}, {"y": (1, 1, 4, 4)})
    halve(model)
    assert types_of(model) == {"scales_fp32": "FLOAT"}


def test_constants_casts_and_fills_become_fp16_and_integers_stay() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Cast", ["shape"], ["sizes"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["sizes"], ["sum"], keepdims=0),
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("Constant", [], ["half"], value_float=0.5),
        helper.make_node("Constant", [], ["two"], value=numpy_helper.from_array(np.float32(2))),
        helper.make_node("Add", ["x", "zeros"], ["a"]),
        helper.make_node("Mul", ["a", "half"], ["b"]),
        helper.make_node("Mul", ["b", "two"], ["c"]),
        helper.make_node("Add", ["c", "sum"], ["y"]),
    ]
    model = model_of(nodes, {}, {"y": (1, 1, 2, 2)})
    halve(model)
    (y,) = run(model, X)
    np.testing.assert_array_equal(y, X + 6)


def test_an_output_that_is_read_inside_too_stays_an_output() -> None:
    nodes = [helper.make_node("Add", ["x", "w"], ["y"]), helper.make_node("Mul", ["y", "y"], ["z"])]
    model = model_of(nodes, {"w": np.float32(1)}, {"y": (1, 1, 2, 2), "z": (1, 1, 2, 2)})
    halve(model)
    assert [output.name for output in model.graph.output] == ["y", "z"]
    y, z = run(model, X)
    np.testing.assert_array_equal(y, X + 1)
    np.testing.assert_array_equal(z, (X + 1) ** 2)


def test_a_weight_beyond_fp16_becomes_infinite() -> None:
    model = model_of([helper.make_node("Mul", ["x", "w"], ["y"])], {"w": np.float32(1e6)}, {"y": (1, 1, 2, 2)})
    halve(model)
    (y,) = run(model, X)
    assert np.isposinf(y).all()
