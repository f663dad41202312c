"""Engines that run, on a stand-in for TensorRT: which calls are made, in which order, on which memory; on no GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_tensorrt import STREAM, FakeLauncher, FakeTensorRt, Specialization, Strategy, Tensor
from fake_tensorrt import DataType as Kind
from numpy.typing import NDArray

from engines.backends.base import EngineError, TensorSpec
from engines.backends.tensorrt_backend import TensorRtBackend
from engines.backends.tensorrt_library import Library
from engines.buckets import BUCKETS
from engines.engine_build import Order, build_engine
from engines.engine_cache import EngineKey, StoredEngine
from engines.images import on_device

NAMES = {False: "TensorRT", True: "TensorRT-RTX"}
PREPARED = (
    "create_execution_context",
    "set_device_memory",
    "set_optimization_profile_async",
    "set_input_shape",
    "set_tensor_address",
    "execute_async_v3",
    "capture",
)


def opened(
    module: FakeTensorRt, folder: Path, rtx: bool = False, most: int = 32, kernels: Path | None = None
) -> TensorRtBackend:
    """A backend of an engine that was just built; the calls are those of opening it."""
    library = Library(module, NAMES[rtx])
    model = folder / "m.onnx"
    model.write_bytes(b"model")
    engine = build_engine(library, Order(model, None, "fp32", most), lambda _: None)
    module.calls.clear()
    key = EngineKey("m", "0", library.words, "GPU", "8.9", "580", "fp32", "2x4", "", 1)
    stored = StoredEngine(folder / "m.engine", key, engine)
    return TensorRtBackend(stored, library, "cpu", FakeLauncher(module), kernels)


def pictures(count: int) -> NDArray[np.float32]:
    return np.arange(count * 24, dtype=np.float32).reshape(count, 3, 2, 4) % 7


def check(backend: TensorRtBackend, count: int) -> None:
    batch = pictures(count)
    sums, doubles = backend.infer(batch)
    assert sums.dtype == doubles.dtype == np.float32
    np.testing.assert_array_equal(sums[:, 0], batch.sum(axis=(1, 2, 3)))
    np.testing.assert_array_equal(doubles, 2 * batch)


@pytest.mark.parametrize("rtx", [False, True])
def test_any_number_of_rows_comes_back_in_the_models_order(tmp_path: Path, rtx: bool) -> None:
    backend = opened(FakeTensorRt(), tmp_path, rtx)
    for count in (1, 2, 3, 8, 31, 32, 33, 70):
        check(backend, count)
    backend.close()


def test_each_batch_size_is_prepared_in_the_order_that_tensorrt_asks_for(tmp_path: Path) -> None:
    module = FakeTensorRt()
    opened(module, tmp_path)
    for rows, profile, made in zip(reversed(BUCKETS), reversed(range(6)), _by_context(module), strict=True):
        names = [call[0] for call in made]
        assert names == [
            "create_execution_context",
            "set_device_memory",
            "set_optimization_profile_async",
            "set_input_shape",
            *["set_tensor_address"] * 3,
            "execute_async_v3",
            "capture",
            "execute_async_v3",
        ]
        assert made[0][1] is Strategy.USER_MANAGED
        assert made[1][1] == 1000
        assert made[2][1:] == (profile, STREAM)
        assert made[3][1:] == ("images", (rows, 3, 2, 4))
        assert [call[1] for call in made[4:7]] == ["images", "sums", "doubles"]
        assert made[7][1] == made[9][1] == STREAM


def _by_context(module: FakeTensorRt) -> list[list[tuple[Any, ...]]]:
    """The calls of opening an engine, those of each context together."""
    found: list[list[tuple[Any, ...]]] = []
    for call in module.named(*PREPARED):
        if call[0] == "create_execution_context":
            found.append([])
        found[-1].append(call)
    return found


def test_every_tensor_has_memory_of_its_own(tmp_path: Path) -> None:
    module = FakeTensorRt()
    opened(module, tmp_path)
    addresses = [call[2] for call in module.named("set_tensor_address")]
    assert len(set(addresses)) == 3 * len(BUCKETS)


@pytest.mark.parametrize(("rows", "graphs"), [(1, 1), (5, 1), (32, 1), (33, 2), (100, 4)])
def test_a_batch_is_a_replay_of_a_graph_for_each_32_rows_and_asks_tensorrt_nothing(
    tmp_path: Path, rows: int, graphs: int
) -> None:
    module = FakeTensorRt()
    backend = opened(module, tmp_path)
    module.calls.clear()
    backend.infer(pictures(rows))
    assert [call[0] for call in module.calls] == ["in_turn", *["replay"] * graphs]


def test_later_calls_leave_outputs_alone(tmp_path: Path) -> None:
    backend = opened(FakeTensorRt(), tmp_path)
    for count in (1, 3, 32):
        batch = torch.from_numpy(pictures(count))
        sums, doubles = backend.infer_tensors(batch)
        backend.infer_tensors(batch + 1)
        np.testing.assert_array_equal(doubles.numpy(), 2 * batch.numpy())
        np.testing.assert_array_equal(sums[:, 0].numpy(), batch.sum(dim=(1, 2, 3)).numpy())


def test_fewer_batch_sizes_serve_too(tmp_path: Path) -> None:
    module = FakeTensorRt()
    backend = opened(module, tmp_path, most=6)
    assert [call[2][0] for call in module.named("set_input_shape")] == [6, 4, 2, 1]
    check(backend, 20)


def test_a_model_of_a_fixed_batch_has_one_size_and_no_profile(tmp_path: Path) -> None:
    module = FakeTensorRt(rows=2)
    backend = opened(module, tmp_path)
    assert module.named("set_optimization_profile_async") == []
    assert [call[2][0] for call in module.named("set_input_shape")] == [2]
    assert backend.inputs == (TensorSpec("images", (2, 3, 2, 4), "float32"),)
    check(backend, 5)


def test_what_it_eats_and_gives_is_told(tmp_path: Path) -> None:
    module = FakeTensorRt()
    module.outputs[1].dtype = Kind.HALF
    backend = opened(module, tmp_path)
    assert backend.name == "TensorRT cpu fp32"
    assert backend.inputs == (TensorSpec("images", (None, 3, 2, 4), "float32"),)
    assert backend.outputs == (
        TensorSpec("sums", (None, 1), "float32"),
        TensorSpec("doubles", (None, 3, 2, 4), "float32"),
    )
    assert on_device(backend) is backend
    assert backend.device == "cpu"
    check(backend, 3)


def test_whole_numbers_come_out_as_floats(tmp_path: Path) -> None:
    module = FakeTensorRt()
    module.outputs[0].dtype = Kind.INT64
    check(opened(module, tmp_path), 2)


def test_rtx_compiles_before_the_capture_and_keeps_what_it_compiled(tmp_path: Path) -> None:
    module, kernels = FakeTensorRt("1.7.1"), tmp_path / "cache" / "m.kernels"
    opened(module, tmp_path, rtx=True, kernels=kernels)
    how = module.named("create_execution_context")[0][1]
    assert how.strategy is Strategy.USER_MANAGED
    assert how.dynamic_shapes_kernel_specialization_strategy is Specialization.EAGER
    assert {call[1:] for call in module.named("set_optimization_profile_async")} == {(0, STREAM)}
    assert kernels.read_bytes() == b"k"
    opened(module, tmp_path, rtx=True, kernels=kernels)
    assert kernels.read_bytes() == b"kk"
    assert [path.name for path in kernels.parent.iterdir()] == ["m.kernels"]


def test_kernels_that_cannot_be_kept_harm_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no folder")
    backend = opened(FakeTensorRt(), tmp_path, rtx=True, kernels=tmp_path / "file" / "m.kernels")
    check(backend, 3)


def test_rtx_without_a_capture_is_run_call_by_call_on_a_stream_of_its_own(tmp_path: Path) -> None:
    module = FakeTensorRt(fails=["capture"])
    backend = opened(module, tmp_path, rtx=True)
    assert module.named("capture") == []
    module.calls.clear()
    check(backend, 3)
    assert module.named("replay", "execute_async_v3") == [("execute_async_v3", STREAM)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("deserialize", r"m\.engine: TensorRT 10\.13\.2 cannot load it: Cuda Runtime \(driver is too old.*; remove it"),
        ("create_execution_context", r"m\.engine: create_execution_context of TensorRT 10\.13\.2 failed"),
        ("set_optimization_profile_async", "set_optimization_profile_async of TensorRT 10.13.2 failed: it does not"),
        ("set_input_shape", "set_input_shape of TensorRT 10.13.2 failed"),
        ("set_tensor_address", r"set_tensor_address\(images\) of TensorRT 10\.13\.2 failed"),
        ("execute_async_v3", "execute_async_v3 of TensorRT 10.13.2 failed: CUDA error 700"),
    ],
)
def test_a_call_that_fails_is_an_error_that_names_it(tmp_path: Path, call: str, message: str) -> None:
    with pytest.raises(EngineError, match=message) as raised:
        opened(FakeTensorRt(fails=[call]), tmp_path)
    assert "\n" not in str(raised.value)


def test_memory_that_is_not_there_is_an_engine_error(tmp_path: Path) -> None:
    module = FakeTensorRt()
    module.scratch = 1 << 60
    with pytest.raises(EngineError, match=r"m\.engine: cannot be made ready on cpu: .*; close what else uses the GPU"):
        opened(module, tmp_path)


def test_a_run_that_fails_is_an_engine_error(tmp_path: Path) -> None:
    module = FakeTensorRt(fails=["capture"])
    backend = opened(module, tmp_path, rtx=True)
    module.fails.add("execute_async_v3")
    with pytest.raises(EngineError, match=r"execute_async_v3 of TensorRT-RTX 10\.13\.2 failed: CUDA error 700"):
        backend.infer(pictures(1))


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (torch.zeros(1, 3, 2, 5), r"batch must be \(N, 3, 2, 4\) of one row or more, got \(1, 3, 2, 5\)"),
        (torch.zeros(3, 2, 4), r"got \(3, 2, 4\)"),
        (torch.zeros(0, 3, 2, 4), r"got \(0, 3, 2, 4\)"),
        (torch.zeros(1, 3, 2, 4, dtype=torch.float16), "batch must be float32 on cpu, got torch.float16 on cpu"),
        (torch.zeros(1, 3, 2, 4, device="meta"), "batch must be float32 on cpu, got torch.float32 on meta"),
    ],
)
def test_a_batch_of_another_form_is_refused(tmp_path: Path, batch: torch.Tensor, message: str) -> None:
    backend = opened(FakeTensorRt(), tmp_path)
    with pytest.raises(ValueError, match=message):
        backend.infer_tensors(batch)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (np.zeros((1, 3, 2, 5), np.float32), r"batch must be \(N, 3, 2, 4\), got \(1, 3, 2, 5\)"),
        (np.zeros((1, 3, 2, 4)), "batch must be float32, got float64"),
        (np.zeros((0, 3, 2, 4), np.float32), "one row or more, got none"),
    ],
)
def test_an_array_of_another_form_is_refused(tmp_path: Path, batch: NDArray[np.float32], message: str) -> None:
    backend = opened(FakeTensorRt(), tmp_path)
    with pytest.raises(ValueError, match=message):
        backend.infer(batch)


def test_a_closed_engine_says_so(tmp_path: Path) -> None:
    backend = opened(FakeTensorRt(), tmp_path)
    backend.close()
    backend.close()
    with pytest.raises(EngineError, match="m: the model was closed; open it again"):
        backend.infer(pictures(1))


def test_outputs_without_a_row_for_each_picture_are_refused_before_the_build(tmp_path: Path) -> None:
    module = FakeTensorRt()
    module.outputs[0] = Tensor("found", (4, -1))
    with pytest.raises(EngineError, match=r"output found is \(4, None\), wanted a row for each of N pictures"):
        opened(module, tmp_path)
    assert module.named("build") == []


def test_outputs_whose_size_nobody_knows_are_refused(tmp_path: Path) -> None:
    module = FakeTensorRt()
    module.outputs[0] = Tensor("found", (-1, -1))
    with pytest.raises(EngineError, match=r"the size of output found \(32, -1\) hangs on what is in the pictures"):
        opened(module, tmp_path)
