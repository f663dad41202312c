"""Weights stored in fp16: half the file, the same network but for the rounding of its weights."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("openvino")  # imported here, as it starts a thread that stays
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from engines.backends.base import open_backend  # noqa: E402
from engines.compact import LEAST, compact  # noqa: E402

RNG_SEED = 0


def model() -> onnx.ModelProto:
    """Two convolutions: the weights of both are large, one bias is small, and one weight is beyond fp16."""
    rng = np.random.default_rng(RNG_SEED)
    arrays = {
        "first": rng.normal(0, 0.2, (64, 3, 3, 3)),
        "bias": rng.normal(0, 0.2, 64),
        "second": rng.normal(0, 0.05, (48, 64, 3, 3)),
        "beyond": np.concatenate([[1e5], np.ones(LEAST - 1)]).reshape(1, 1, 16, LEAST // 16),
    }
    weights = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()]
    nodes = [
        helper.make_node("Conv", ["image", "first", "bias"], ["inner"], pads=[1] * 4),
        helper.make_node("Relu", ["inner"], ["bent"]),
        helper.make_node("Conv", ["bent", "second"], ["outer"], pads=[1] * 4),
        helper.make_node("Add", ["outer", "beyond"], ["maps"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", channels, 16, LEAST // 16])
        for name, channels in (("image", 3), ("maps", 48))
    ]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], weights)
    made: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(made, full_check=True)
    return made


def kinds(given: onnx.ModelProto) -> dict[str, int]:
    return {weight.name: weight.data_type for weight in given.graph.initializer}


def test_large_weights_are_stored_in_half_the_room() -> None:
    given = model()
    before = given.ByteSize()
    assert compact(given) == 2
    onnx.checker.check_model(given, full_check=True)
    assert kinds(given) == {
        "first_fp16": TensorProto.FLOAT16,
        "bias": TensorProto.FLOAT,
        "second_fp16": TensorProto.FLOAT16,
        "beyond": TensorProto.FLOAT,
    }
    assert given.ByteSize() / before == pytest.approx(0.5, abs=0.02)
    assert [node.op_type for node in given.graph.node] == ["Cast", "Cast", "Conv", "Relu", "Conv", "Add"]


def test_weights_are_rounded_and_no_more() -> None:
    given, before = model(), {weight.name: numpy_helper.to_array(weight) for weight in model().graph.initializer}
    compact(given)
    now = {weight.name: numpy_helper.to_array(weight) for weight in given.graph.initializer}
    np.testing.assert_allclose(now["second_fp16"].astype(np.float32), before["second"], rtol=2**-11, atol=2**-25)
    for name in ("bias", "beyond"):
        np.testing.assert_array_equal(now[name], before[name])


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_it_runs_and_gives_the_same_but_for_the_rounding(tmp_path: Path, backend: str) -> None:
    given = model()
    onnx.save(given, tmp_path / "whole.onnx")
    compact(given)
    onnx.save(given, tmp_path / "compact.onnx")
    pictures = np.random.default_rng(1).random((2, 3, 16, LEAST // 16), np.float32)
    maps = []
    for name in ("whole", "compact"):
        path = tmp_path / f"{name}.onnx"
        with closing(open_backend(path, backend=backend, device="cpu", precision="fp32")) as opened:
            maps.append(opened.infer(pictures)[0])
    whole, small = (np.delete(given.reshape(2, 48, -1), 0, axis=2) for given in maps)  # without the 1e5
    assert np.abs(whole).max() > 0.5
    assert 0 < np.abs(small - whole).max() < 2e-3 * np.abs(whole).max()


def test_nothing_large_is_nothing_done() -> None:
    given = model()
    for weight in [weight for weight in given.graph.initializer if weight.name != "bias"]:
        given.graph.initializer.remove(weight)
    assert compact(given) == 0
    assert kinds(given) == {"bias": TensorProto.FLOAT}
