"""Which TensorRT is there, what it says, and that the stand-in of the tests has the calls of the real one."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import fake_tensorrt
import pytest
from fake_tensorrt import FakeTensorRt, Severity

from engines.backends.base import EngineError
from engines.backends.tensorrt_library import Library, driver_version, find_gpu, listen, load_library, reason

REAL = {
    "Builder": fake_tensorrt.Builder,
    "INetworkDefinition": fake_tensorrt.Network,
    "OnnxParser": fake_tensorrt.Parser,
    "IOptimizationProfile": fake_tensorrt.Profile,
    "IBuilderConfig": fake_tensorrt.Config,
    "Runtime": fake_tensorrt.Runtime,
    "ICudaEngine": fake_tensorrt.Engine,
    "IExecutionContext": fake_tensorrt.Context,
    "IRuntimeConfig": fake_tensorrt.RuntimeConfig,
}
"""The classes of the library, and what stands in for them."""


def module(name: str, version: str) -> ModuleType:
    made = ModuleType(name)
    made.__dict__["__version__"] = version
    return made


@pytest.mark.parametrize(
    ("there", "words", "is_rtx"),
    [
        (("tensorrt",), "TensorRT 10.13.2", False),
        (("tensorrt_rtx",), "TensorRT-RTX 10.13.2", True),
        (("tensorrt", "tensorrt_rtx"), "TensorRT 10.13.2", False),
    ],
)
def test_the_full_library_goes_before_the_other(
    monkeypatch: pytest.MonkeyPatch, there: tuple[str, ...], words: str, is_rtx: bool
) -> None:
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, module(name, "10.13.2") if name in there else None)
    library = load_library()
    assert (library.words, library.is_rtx) == (words, is_rtx)


def test_neither_library_is_an_import_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match="no module of tensorrt or tensorrt_rtx can be imported"):
        load_library()


def test_the_real_library_is_found() -> None:
    rtx = pytest.importorskip("tensorrt_rtx")
    library = load_library()
    assert library.words.startswith("TensorRT")
    assert Library(rtx, "TensorRT-RTX").words == f"TensorRT-RTX {rtx.__version__}"


@pytest.mark.parametrize("name", REAL)
def test_every_call_of_the_stand_in_is_one_of_the_library(name: str) -> None:
    real = getattr(pytest.importorskip("tensorrt_rtx"), name)
    ours = {call for call in vars(REAL[name]) if not call.startswith("_")}
    assert ours
    assert {call for call in ours if not hasattr(real, call)} == set()


def test_what_we_use_beside_calls_is_in_the_library() -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    assert trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED is not None
    assert trt.ExecutionContextAllocationStrategy.USER_MANAGED is not None
    assert trt.DynamicShapesKernelSpecializationStrategy.EAGER is not None
    assert {"TF32", "REQUIRE_USER_ALLOCATION"} <= set(trt.BuilderFlag.__members__)
    assert {"FLOAT", "HALF", "BF16", "INT64", "INT32", "INT8", "UINT8", "BOOL"} <= set(trt.DataType.__members__)
    assert {"num_inputs", "num_outputs", "num_layers"} <= set(dir(trt.INetworkDefinition))
    assert {"num_io_tensors", "num_optimization_profiles", "device_memory_size_v2"} <= set(dir(trt.ICudaEngine))
    assert {"num_compute_capabilities", "progress_monitor"} <= set(dir(trt.IBuilderConfig))
    assert (int(trt.ILogger.Severity.ERROR), int(trt.ILogger.Severity.WARNING)) == (Severity.ERROR, Severity.WARNING)


def test_errors_are_kept_and_warnings_are_not() -> None:
    listener = listen(FakeTensorRt())
    listener.log(Severity.WARNING, "slow")
    assert reason(listener) == "it does not say why"
    listener.log(Severity.INTERNAL_ERROR, "first\n  of two lines")
    listener.log(Severity.ERROR, "second")
    assert listener.errors == ["first\n  of two lines", "second"]
    assert reason(listener) == "first of two lines"


@pytest.mark.parametrize(
    ("said", "short"),
    [
        (
            "IBuilder::buildSerializedNetwork: Error Code 4: API Usage Error (Network must have at least one output. "
            "In validate at /_src/optimizer/api/network.cpp:3810)",
            "API Usage Error (Network must have at least one output.)",
        ),
        (
            "IRuntime::deserializeCudaEngine: Error Code 1: Cuda Runtime (In ScopedCudaStream at "
            "/_src/common/dispatch/cudaResources.cpp:25 (cudaError 35: CUDA driver version is insufficient))",
            "Cuda Runtime (cudaError 35: CUDA driver version is insufficient)",
        ),
        ("out of memory", "out of memory"),
    ],
)
def test_reasons_are_without_the_places_in_their_code(said: str, short: str) -> None:
    listener: Any = SimpleNamespace(errors=[said])
    assert reason(listener) == short


def test_a_driver_that_is_not_there_is_unknown() -> None:
    assert driver_version("libno-such-driver.so.1") == "unknown"


def test_the_cpu_is_no_gpu() -> None:
    with pytest.raises(EngineError, match="device cpu: TensorRT runs on a GPU alone"):
        find_gpu("cpu")


def test_a_gpu_that_is_not_there_is_told() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(EngineError, match=f"device cuda:99: torch {torch.__version__.split('+')[0]}.* GPUs here"):
        find_gpu("cuda:99")
