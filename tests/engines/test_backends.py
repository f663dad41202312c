from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import pytest
from astronaut import DETECTOR, POSE
from numpy.typing import NDArray
from onnx import TensorProto, helper

from engines.backends import openvino_backend
from engines.backends.base import Backend, EngineError, TensorSpec, complaint, open_backend
from engines.cards import read_card
from engines.guard import noise

BACKENDS = ("openvino", "onnxruntime")
Side = int | str | None


def save_model(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    input_shape: Sequence[Side],
    output_shapes: Sequence[Sequence[Side]],
    *,
    input_type: int = TensorProto.FLOAT,
    inputs: Sequence[str] = ("images",),
    constants: Sequence[onnx.TensorProto] = (),
) -> Path:
    """An ONNX file whose inputs all have one shape and whose outputs are `out0`, `out1`, and so on."""
    outputs = [
        helper.make_tensor_value_info(f"out{i}", TensorProto.FLOAT, shape) for i, shape in enumerate(output_shapes)
    ]
    given = [helper.make_tensor_value_info(name, input_type, input_shape) for name in inputs]
    graph = helper.make_graph(nodes, "test", given, outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def save_sum_and_double(path: Path, batch: Side, height: Side = 2, width: Side = 4) -> Path:
    """Two outputs: the sum of each row (N, 1, 1, 1), and the picture doubled (N, 3, H, W)."""
    nodes = [
        helper.make_node("ReduceSum", ["images", "axes"], ["out0"], keepdims=1),
        helper.make_node("Add", ["images", "images"], ["out1"]),
    ]
    axes = helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3])
    shape = [batch, 3, height, width]
    return save_model(path, nodes, shape, [[batch, 1, 1, 1], shape], constants=[axes])


def save_ragged(path: Path) -> Path:
    """A model of batch 1 whose output (1, D) is as long as its input has numbers above 0."""
    nodes = [
        helper.make_node("Greater", ["images", "zero"], ["above"]),
        helper.make_node("Compress", ["flat", "flags"], ["found"]),
        helper.make_node("Reshape", ["images", "line"], ["flat"]),
        helper.make_node("Reshape", ["above", "line"], ["flags"]),
        helper.make_node("Unsqueeze", ["found", "first"], ["out0"]),
    ]
    nodes = [nodes[i] for i in (0, 2, 3, 1, 4)]
    constants = [
        helper.make_tensor("zero", TensorProto.FLOAT, [], [0]),
        helper.make_tensor("line", TensorProto.INT64, [1], [-1]),
        helper.make_tensor("first", TensorProto.INT64, [1], [0]),
    ]
    return save_model(path, nodes, [1, 3, 1, 2], [[1, "found"]], constants=constants)


def pictures(count: int, height: int = 2, width: int = 4) -> NDArray[np.float32]:
    """Whole numbers, which fp32 and bf16 alike add without loss."""
    return np.arange(count * 3 * height * width, dtype=np.float32).reshape(count, 3, height, width) % 7


def check_sum_and_double(backend: Backend, batch: NDArray[np.float32]) -> None:
    sums, doubles = backend.infer(batch)
    assert sums.dtype == doubles.dtype == np.float32
    np.testing.assert_array_equal(sums[:, 0, 0, 0], batch.sum(axis=(1, 2, 3)))
    np.testing.assert_array_equal(doubles, 2 * batch)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("batch", ["N", 1, 2])
def test_any_number_of_rows_comes_back_in_order(tmp_path: Path, name: str, batch: Side) -> None:
    backend = open_backend(save_sum_and_double(tmp_path / "m.onnx", batch), backend=name, precision="fp32")
    for count in (1, 2, 3, 8, 23):
        check_sum_and_double(backend, pictures(count))
    backend.close()


@pytest.mark.parametrize("count", [1, 7, 8, 9, 23])
def test_a_large_network_in_int8_takes_batches_and_the_rest_in_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(openvino_backend, "LARGE", 1)
    path = save_sum_and_double(tmp_path / "m.onnx", "N")
    with closing(open_backend(path, backend="openvino", precision="int8")) as backend:
        check_sum_and_double(backend, pictures(count))


@pytest.mark.parametrize("name", BACKENDS)
def test_later_calls_leave_outputs_alone(tmp_path: Path, name: str) -> None:
    backend = open_backend(save_sum_and_double(tmp_path / "m.onnx", "N"), backend=name, precision="fp32")
    for count in (1, 3):
        batch = pictures(count)
        _, first = backend.infer(batch)
        backend.infer(batch + 1)
        np.testing.assert_array_equal(first, 2 * batch)
    backend.close()


@pytest.mark.parametrize("name", BACKENDS)
def test_rows_of_unequal_length_end_in_zeros(tmp_path: Path, name: str) -> None:
    backend = open_backend(save_ragged(tmp_path / "m.onnx"), backend=name, precision="fp32")
    batch = np.zeros((3, 3, 1, 2), np.float32)
    batch[0, 0, 0] = [5, 6]
    batch[2, :, 0, 1] = [7, 8, 9]
    (found,) = backend.infer(batch)
    assert found.tolist() == [[5, 6, 0], [0, 0, 0], [7, 8, 9]]
    backend.close()


@pytest.mark.parametrize("name", BACKENDS)
def test_a_free_size_is_settled_on_opening(tmp_path: Path, name: str) -> None:
    path = save_sum_and_double(tmp_path / "m.onnx", "N", "H", "W")
    with pytest.raises(EngineError, match=r"m\.onnx: its input size is free; say which with --imgsz"):
        open_backend(path, backend=name)
    backend = open_backend(path, input_size=(4, 6), backend=name, precision="fp32")
    assert backend.inputs == (TensorSpec("images", (None, 3, 4, 6), "float32"),)
    check_sum_and_double(backend, pictures(3, 4, 6))
    backend.close()


def test_openvino_knows_its_outputs_at_the_settled_size(tmp_path: Path) -> None:
    path = save_sum_and_double(tmp_path / "m.onnx", "N", "H", "W")
    backend = open_backend(path, input_size=(4, 6), backend="openvino", precision="fp32")
    assert backend.name == "OpenVINO CPU fp32"
    assert [output.shape for output in backend.outputs] == [(None, 1, 1, 1), (None, 3, 4, 6)]
    assert [output.name for output in backend.outputs] == ["out0", "out1"]
    backend.close()


@pytest.mark.parametrize("name", BACKENDS)
def test_another_size_than_the_models_is_refused(tmp_path: Path, name: str) -> None:
    path = save_sum_and_double(tmp_path / "m.onnx", 1)
    with pytest.raises(EngineError, match=r"fixed at 2x4 \(height x width\), wanted 4x4; leave the size out"):
        open_backend(path, input_size=(4, 4), backend=name)
    open_backend(path, input_size=(2, 4), backend=name).close()


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (np.zeros((1, 3, 2, 5), np.float32), r"batch must be \(N, 3, 2, 4\), got \(1, 3, 2, 5\)"),
        (np.zeros((3, 2, 4), np.float32), r"batch must be \(N, 3, 2, 4\), got \(3, 2, 4\)"),
        (np.zeros((1, 3, 2, 4)), "batch must be float32, got float64"),
        (np.zeros((0, 3, 2, 4), np.float32), "one row or more, got none"),
    ],
)
def test_a_batch_of_another_form_is_refused(
    tmp_path: Path, name: str, batch: NDArray[np.float32], message: str
) -> None:
    backend = open_backend(save_sum_and_double(tmp_path / "m.onnx", "N"), backend=name)
    with pytest.raises(ValueError, match=message):
        backend.infer(batch)
    backend.close()


@pytest.mark.parametrize("name", BACKENDS)
def test_a_closed_model_says_so(tmp_path: Path, name: str) -> None:
    backend = open_backend(save_sum_and_double(tmp_path / "m.onnx", "N"), backend=name)
    backend.close()
    backend.close()
    with pytest.raises(EngineError, match=r"m\.onnx: the model was closed"):
        backend.infer(pictures(1))


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("cut", [0.5, 0.99])
def test_what_is_no_onnx_is_refused_without_a_word_on_stderr(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, cut: float
) -> None:
    whole = save_sum_and_double(tmp_path / "m.onnx", "N").read_bytes()
    for content in (b"a picture, not a model" * 9, whole[: int(cut * len(whole))]):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(
            EngineError, match=r"bad\.onnx: cannot be read as ONNX: .*; fetch or export it again"
        ) as bad:
            open_backend(tmp_path / "bad.onnx", backend=name)
        assert bad.value.__cause__ is not None
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", BACKENDS)
def test_two_inputs_are_refused(tmp_path: Path, name: str) -> None:
    nodes = [helper.make_node("Add", ["images", "sizes"], ["out0"])]
    shape = [1, 3, 2, 4]
    path = save_model(tmp_path / "m.onnx", nodes, shape, [shape], inputs=("images", "sizes"))
    with pytest.raises(EngineError, match=r"wanted one input \(N, 3, height, width\), got images .*, sizes"):
        open_backend(path, backend=name)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize(
    ("shape", "kind", "message"),
    [
        ([1, 2, 4, 3], TensorProto.FLOAT, "wanted 3 channels"),
        ([1, 24], TensorProto.FLOAT, "wanted one input"),
        ([1, 3, 2, 4], TensorProto.FLOAT16, "is float16, wanted float32"),
    ],
)
def test_an_input_of_another_form_is_refused(
    tmp_path: Path, name: str, shape: list[Side], kind: int, message: str
) -> None:
    nodes = [helper.make_node("Cast", ["images"], ["out0"], to=TensorProto.FLOAT)]
    path = save_model(tmp_path / "m.onnx", nodes, shape, [shape], input_type=kind)
    with pytest.raises(EngineError, match=message):
        open_backend(path, backend=name)


def test_a_model_that_fails_on_a_batch_says_so(tmp_path: Path) -> None:
    nodes = [helper.make_node("Reshape", ["images", "shape"], ["out0"])]  # of one row only, against what it declares
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1, 24])
    path = save_model(tmp_path / "m.onnx", nodes, ["N", 3, 2, 4], [["N", 24]], constants=[shape])
    backend = open_backend(path, backend="onnxruntime")
    with pytest.raises(EngineError, match=r"m\.onnx: ONNX Runtime failed to run it: .*Reshape"):
        backend.infer(pictures(2))
    backend.close()
    row_by_row = open_backend(path, backend="openvino", precision="fp32")
    np.testing.assert_array_equal(row_by_row.infer(pictures(2))[0], pictures(2).reshape(2, 24))
    row_by_row.close()


def test_missing_empty_and_folder_paths_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.onnx: no such model file"):
        open_backend(tmp_path / "none.onnx")
    with pytest.raises(IsADirectoryError, match=r"is a folder, wanted an \.onnx file"):
        open_backend(tmp_path)
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(EngineError, match=r"empty\.onnx: the model file is empty; fetch it again"):
        open_backend(tmp_path / "empty.onnx")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"device": "cuda:0"},
            EngineError,
            "ONNX runs on a GPU by TensorRT, which is not installed|device cuda:0: torch .* has 0 GPUs here",
        ),
        ({"device": "tpu"}, ValueError, "device must be auto, cpu or cuda:N, got 'tpu'"),
        ({"backend": "torch"}, EngineError, "m.onnx: torch runs checkpoints, not ONNX"),
        (
            {"backend": "tvm"},
            ValueError,
            "backend must be one of auto, tensorrt, openvino, onnxruntime, torch, got 'tvm'",
        ),
        ({"precision": "fp16"}, EngineError, "precision fp16: an ONNX model on the CPU runs in fp32, bf16 or int8"),
        ({"precision": "int4"}, ValueError, "precision must be one of auto, fp32, fp16, bf16, int8, got 'int4'"),
        ({"threads": -1}, ValueError, "threads must be 0 or more, got -1"),
        ({"backend": "onnxruntime", "precision": "bf16"}, EngineError, "ONNX Runtime computes in fp32"),
    ],
)
def test_wishes_that_cannot_be_met_are_refused(
    tmp_path: Path, options: dict[str, str], error: type[Exception], message: str
) -> None:
    path = save_sum_and_double(tmp_path / "m.onnx", "N")
    with pytest.raises(error, match=message):
        open_backend(path, **options)  # type: ignore[arg-type]


def test_auto_takes_openvino_and_what_is_installed_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_sum_and_double(tmp_path / "m.onnx", "N")
    first = open_backend(path, device="cpu", threads=1)
    assert first.name.startswith("OpenVINO CPU ")
    first.close()
    monkeypatch.setitem(sys.modules, "openvino", None)
    second = open_backend(path)
    assert second.name == "ONNX Runtime CPU fp32"
    check_sum_and_double(second, pictures(2))
    second.close()
    with pytest.raises(EngineError, match=r"backend openvino is not installed .*; pip install openvino"):
        open_backend(path, backend="openvino")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineError, match=r"no backend to run m\.onnx .*; pip install openvino"):
        open_backend(path)


def test_bf16_is_taken_where_the_cpu_has_it(tmp_path: Path) -> None:
    path = save_sum_and_double(tmp_path / "m.onnx", "N")
    automatic = open_backend(path, backend="openvino")
    if automatic.name == "OpenVINO CPU bf16":
        open_backend(path, backend="openvino", precision="bf16").close()
    else:
        with pytest.raises(EngineError, match="this CPU does not compute in bf16; use precision fp32"):
            open_backend(path, backend="openvino", precision="bf16")
    automatic.close()


def test_opening_a_model_loads_nothing_that_reports_home(tmp_path: Path) -> None:
    path = save_sum_and_double(tmp_path / "m.onnx", "N")
    program = (
        "import sys; from pathlib import Path; from engines.backends.base import open_backend; "
        "assert not {'openvino', 'onnxruntime'} & set(sys.modules); "
        f"open_backend(Path({str(path)!r}), backend='openvino').close(); "
        "print(sorted(m for m in sys.modules if 'telemetry' in m or m == 'torch'))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert done.stderr == ""


def test_a_complaint_is_the_last_line() -> None:
    assert complaint(RuntimeError("Exception from core.cpp:84:\nCheck failed\n  Model can't be parsed\n\n")) == (
        "Model can't be parsed"
    )
    assert complaint(RuntimeError("")) == "RuntimeError"


@pytest.mark.parametrize("model", [DETECTOR, POSE], ids=["detector", "pose"])
def test_backends_agree_on_the_embedded_models(model: Path) -> None:
    card = read_card(model.with_suffix(".yaml"))
    check_agreement(model, noise(card.input, 3))


@pytest.mark.assets
@pytest.mark.parametrize(
    ("model", "size"),
    [("yolox_nano", (416, 416)), ("rtmdet_nano_dyn", (320, 320)), ("tinypose_128x96_dyn", (128, 96))],
)
def test_backends_agree_on_real_models(assets: Path, model: str, size: tuple[int, int]) -> None:
    batch = np.random.default_rng(0).random((3, 3, *size), np.float32)
    check_agreement(assets / "models" / f"{model}.onnx", batch)


def check_agreement(path: Path, batch: NDArray[np.float32]) -> None:
    """Both backends give the same numbers, to what sums in another order cost."""
    results = []
    for name in BACKENDS:
        backend = open_backend(path, backend=name, precision="fp32")
        results.append(backend.infer(batch))
        backend.close()
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-3, rtol=1e-3)
