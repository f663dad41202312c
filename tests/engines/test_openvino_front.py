"""The first operations of an OpenVINO model in fp32."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper, save

from engines.backends.base import EngineError, open_backend
from engines.backends.openvino_backend import load_openvino, read_onnx
from engines.backends.openvino_front import keep_front

MARK = "DisablePrecisionConversion_0"
BLOCKS = 10


def write(path: Path, nodes: list[Any], weights: dict[str, Any]) -> Path:
    """An ONNX from `x` (1, 3, 32, 32) to the last node's output."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 32, 32])],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=10), path)
    return path


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A convolution, then blocks of two and one beside: OpenVINO computes the last of them and all after it as one."""
    random = np.random.default_rng(0)
    weights = {"stem": random.normal(size=(16, 3, 3, 3)) / 5}
    nodes = [helper.make_node("Conv", ["x", "stem"], ["r0"], pads=[1, 1, 1, 1])]
    for block in range(BLOCKS):
        x, w, v, u = f"r{block}", f"w{block}", f"v{block}", f"u{block}"
        weights |= {name: random.normal(size=(16, 16, 3, 3)) / 15 for name in (w, v, u)}
        nodes += [
            helper.make_node("Conv", [x, w], [f"a{block}"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"a{block}"], [f"b{block}"]),
            helper.make_node("Conv", [f"b{block}", v], [f"c{block}"], pads=[1, 1, 1, 1]),
            helper.make_node("Conv", [x, u], [f"s{block}"], pads=[1, 1, 1, 1]),
            helper.make_node("Add", [f"s{block}", f"c{block}"], [f"d{block}"]),
            helper.make_node("Relu", [f"d{block}"], [f"r{block + 1}"]),
        ]
    return write(tmp_path_factory.mktemp("chain") / "chain.onnx", nodes, weights)


def read(path: Path) -> Any:
    model = read_onnx(path)
    model.reshape({model.input(0): [1, 3, 32, 32]})
    return model


def marked(model: Any) -> set[str]:
    """The names of the operations that stay in fp32."""
    operations = model.get_ordered_ops()
    return {operation.get_friendly_name() for operation in operations if MARK in operation.get_rt_info().keys()}  # noqa: SIM118


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1, 0.15, 0.2])
def test_a_front_ends_soon_and_where_nothing_is_torn_apart(chain: Path, share: float) -> None:
    model = keep_front(load_openvino(), read(chain), share)
    front, count = marked(model), 1 + 6 * BLOCKS
    assert share * count <= len(front) <= share * count + 6
    for operation in model.get_ordered_ops():
        if operation.get_type_name() in ("Add", "Relu") and operation.get_friendly_name() not in front:
            sources = {port.get_source_output().get_node().get_friendly_name() for port in operation.inputs()}
            assert not sources & front


def test_a_network_without_a_place_to_end_has_no_front(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y0"])]
    nodes += [helper.make_node("Mul", [f"y{n}", "w"], [f"y{n + 1}"]) for n in range(20)]
    path = write(tmp_path / "sum.onnx", [*nodes, helper.make_node("Add", ["x", "y20"], ["z"])], {"w": 2.0})
    with pytest.raises(EngineError, match="the first 4% of its operations cannot be computed apart from the rest"):
        keep_front(load_openvino(), read(path), 0.04)


def test_the_front_computes_in_fp32_and_the_rest_in_bf16(chain: Path) -> None:
    ov = load_openvino()
    core = ov.Core()
    if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU does not compute in bf16")
    model = core.compile_model(keep_front(ov, read(chain), 0.2), "CPU", {"INFERENCE_PRECISION_HINT": "bf16"})
    precisions = Counter(
        str(operation.get_rt_info()["runtimePrecision"].value)
        for operation in model.get_runtime_model().get_ordered_ops()
        if str(operation.get_rt_info()["layerType"].value) == "Convolution"
    )
    assert precisions == {"f32": 7, "bf16": 24}  # the stem and two blocks, eight blocks


def test_a_front_is_nearer_to_fp32_and_changes_nothing_else(chain: Path) -> None:
    batch = np.random.default_rng(0).normal(size=(3, 3, 32, 32)).astype(np.float32)
    outputs = {}
    for precision, front in (("fp32", 0.0), ("fp32", 0.2), ("bf16", 0.0), ("bf16", 0.2)):
        try:
            backend = open_backend(chain, backend="openvino", precision=precision, front=front)
        except EngineError as error:
            pytest.skip(str(error))
        outputs[precision, front] = backend.infer(batch)[0]
        backend.close()
    truth = outputs["fp32", 0.0]
    np.testing.assert_array_equal(outputs["fp32", 0.2], truth)
    assert 0 < np.linalg.norm(outputs["bf16", 0.2] - truth) < np.linalg.norm(outputs["bf16", 0.0] - truth)
