"""TensorRT's Python interface in memory: the calls that we make, written down; engines that add and double on a CPU.

What a call returns when it fails is what the library returns: None or False, never an exception, and a line in the log.
"""

from __future__ import annotations

import ctypes
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum, IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np

STREAM = 7
"""The number of the stream that work is put on."""
Shape = tuple[int, ...]


class Severity(IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2


class ILogger:
    Severity = Severity


class IProgressMonitor:
    pass


DataType = Enum("DataType", "FLOAT HALF INT64")
TensorIOMode = Enum("TensorIOMode", "INPUT OUTPUT")
LayerType = Enum("LayerType", "CONVOLUTION QUANTIZE")
Strategy = Enum("Strategy", "STATIC USER_MANAGED")
Specialization = Enum("Specialization", "LAZY EAGER")
Capability = IntEnum("Capability", "SM75 SM89")
Flag = Enum("Flag", "TF32 REQUIRE_USER_ALLOCATION")


class Tensor:
    """A tensor of a network; a free side is -1."""

    def __init__(self, name: str, shape: Sequence[int], dtype: DataType = DataType.FLOAT) -> None:
        self.name, self.shape, self.dtype = name, tuple(shape), dtype


class FakeTensorRt:
    """The module. Its networks have one input `images` and outputs `sums` (N, 1) and `doubles`, unless told otherwise.

    `calls` are those that were made, in order. Whatever is named in `fails` fails. While a network is built,
    `at_step(n)` is called before each of ten steps. `plan_order` is the order in which an engine names its outputs.
    """

    ILogger = ILogger
    IProgressMonitor = IProgressMonitor
    DataType = DataType
    TensorIOMode = TensorIOMode
    LayerType = LayerType
    BuilderFlag = Flag
    ComputeCapability = Capability
    ExecutionContextAllocationStrategy = Strategy
    DynamicShapesKernelSpecializationStrategy = Specialization
    NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)

    def __init__(self, version: str = "10.13.2", rows: int = -1, fails: Sequence[str] = ()) -> None:
        self.__version__ = version
        self.calls: list[tuple[Any, ...]] = []
        self.fails = set(fails)
        self.inputs = [Tensor("images", (rows, 3, 2, 4))]
        self.outputs = [Tensor("sums", (rows, 1)), Tensor("doubles", (rows, 3, 2, 4))]
        self.layer = LayerType.CONVOLUTION
        self.at_step: Callable[[int], None] = lambda step: None
        self.scratch = 1000
        self.device = Device()
        self.kernels = b""

    def named(self, *names: str) -> list[tuple[Any, ...]]:
        """The calls of these names."""
        return [call for call in self.calls if call[0] in names]

    def does(self, call: str, *values: Any) -> bool:
        self.calls.append((call, *values))
        return call not in self.fails

    def Builder(self, logger: Any) -> Builder:  # noqa: N802
        return Builder(self, logger)

    def OnnxParser(self, network: Any, logger: Any) -> Parser:  # noqa: N802
        return Parser(self)

    def Runtime(self, logger: Any) -> Runtime:  # noqa: N802
        return Runtime(self, logger)


class Device:
    """What is enqueued runs at once, and is kept for the capture that goes on."""

    def __init__(self) -> None:
        self.captured: list[Callable[[], None]] | None = None

    def enqueue(self, work: Callable[[], None]) -> None:
        if self.captured is not None:
            self.captured.append(work)
        else:
            work()


class FakeLauncher:
    """Graphs of a `Device`: what a replay does is what was enqueued in the capture, and the library is not asked."""

    def __init__(self, module: FakeTensorRt) -> None:
        self._module = module

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        self._module.does("in_turn")
        yield

    @contextmanager
    def beside(self) -> Iterator[int]:
        yield STREAM

    def capture(self, run: Callable[[int], Any]) -> Callable[[], Any]:
        run(STREAM)  # warm
        self._module.does("capture")
        self._module.device.captured = captured = []
        given = run(STREAM)
        self._module.device.captured = None

        def replay() -> Any:
            self._module.does("replay")
            for work in captured:
                work()
            return given

        return replay


class Builder:
    def __init__(self, module: FakeTensorRt, logger: Any) -> None:
        self._module, self._logger = module, logger

    def create_network(self, flags: int) -> Network:
        self._module.does("create_network", flags)
        return Network(self._module)

    def create_builder_config(self) -> Config:
        return Config(self._module)

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
        self._module.does("build", threading.current_thread().name)
        monitor = config.progress_monitor
        monitor.phase_start("Building engine", None, 2)
        monitor.step_complete("Building engine", 0)
        monitor.phase_start("Timing", "Building engine", 10)
        for step in range(10):
            self._module.at_step(step)
            if not monitor.step_complete("Timing", step):
                self._logger.log(Severity.ERROR, "IBuilder: Error Code 7: BuildCanceled (In next at /src/x.cpp:9)")
                return None
        monitor.phase_finish("Timing")
        monitor.phase_finish("Building engine")
        if "build" in self._module.fails:
            self._logger.log(Severity.WARNING, "slow")
            self._logger.log(
                Severity.ERROR, "IBuilder::x: Error Code 4: API Usage Error (no luck. In validate at /src/a.cpp:10)"
            )
            return None
        rows, *size = network.get_input(0).shape
        plan = {
            "shape": [rows, *size],
            "outputs": [[one.name, list(one.shape), one.dtype.name] for one in self._module.outputs],
            "profiles": config.profiles,
        }
        return json.dumps(plan).encode()


class Network:
    """One layer that gives the last output."""

    num_layers = 1

    def __init__(self, module: FakeTensorRt) -> None:
        self._module = module
        self.num_inputs, self.num_outputs = len(module.inputs), len(module.outputs)

    def get_input(self, index: int) -> Tensor:
        return self._module.inputs[index]

    def get_output(self, index: int) -> Tensor:
        return self._module.outputs[index]

    def get_layer(self, index: int) -> SimpleNamespace:
        return SimpleNamespace(
            type=self._module.layer, num_outputs=1, get_output=lambda _: SimpleNamespace(dtype=DataType.FLOAT)
        )


class Parser:
    def __init__(self, module: FakeTensorRt) -> None:
        self._module = module
        self.num_errors = 0

    def parse(self, model: bytes, path: str) -> bool:
        self._module.calls.append(("parse", len(model), path))
        return "parse" not in self._module.fails


class Profile:
    def __init__(self) -> None:
        self.shapes: list[Shape] = []

    def set_shape(self, name: str, least: Shape, usual: Shape, most: Shape) -> None:
        self.shapes = [least, usual, most]


class Config:
    def __init__(self, module: FakeTensorRt) -> None:
        self._module = module
        self.profiles: list[list[Shape]] = []
        self.progress_monitor: Any = None
        self._times: bytes | None = None

    @property
    def num_compute_capabilities(self) -> int:
        return len(self._module.named("set_compute_capability"))

    @num_compute_capabilities.setter
    def num_compute_capabilities(self, count: int) -> None:
        self._module.does("num_compute_capabilities", count)

    def set_compute_capability(self, capability: Capability, index: int) -> bool:
        return self._module.does("set_compute_capability", capability.name, index)

    def set_flag(self, flag: Flag) -> None:
        self._module.does("set_flag", flag.name)

    def clear_flag(self, flag: Flag) -> None:
        self._module.does("clear_flag", flag.name)

    def add_optimization_profile(self, profile: Profile) -> int:
        self.profiles.append(profile.shapes)
        return len(self.profiles) - 1

    def create_timing_cache(self, known: bytes) -> bytes:
        return known

    def set_timing_cache(self, times: bytes, ignore_mismatch: bool) -> bool:
        self._module.does("set_timing_cache", times, ignore_mismatch)
        if times.startswith(b"other"):
            return False
        self._times = times
        return True

    def get_timing_cache(self) -> SimpleNamespace:
        return SimpleNamespace(serialize=lambda: (self._times or b"") + b"+")


class Runtime:
    def __init__(self, module: FakeTensorRt, logger: Any) -> None:
        self._module, self._logger = module, logger

    def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
        if not self._module.does("deserialize", len(plan)):
            self._logger.log(
                Severity.ERROR, "IRuntime::x: Error Code 1: Cuda Runtime (driver is too old. In y at /z:1)"
            )
            return None
        return Engine(self._module, json.loads(plan), self._logger)


class Engine:
    """Names its outputs the other way round than the model does."""

    def __init__(self, module: FakeTensorRt, plan: dict[str, Any], logger: Any) -> None:
        self._module, self.logger = module, logger
        self.shape: list[int] = plan["shape"]
        self.results: dict[str, tuple[list[int], str]] = {name: (shape, kind) for name, shape, kind in plan["outputs"]}
        self.profiles: list[list[list[int]]] = plan["profiles"]
        self._names = [*reversed(self.results), "images"]
        self.num_io_tensors = len(self._names)
        self.num_optimization_profiles = len(self.profiles) or 1
        self.device_memory_size_v2 = module.scratch

    def get_tensor_name(self, index: int) -> str:
        return self._names[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name == "images" else TensorIOMode.OUTPUT

    def get_tensor_shape(self, name: str) -> Shape:
        return tuple(self.shape if name == "images" else self.results[name][0])

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType.FLOAT if name == "images" else DataType[self.results[name][1]]

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[Shape]:
        assert name == "images"
        return [tuple(shape) for shape in self.profiles[profile]]

    def create_runtime_config(self) -> RuntimeConfig:
        return RuntimeConfig(self._module)

    def create_execution_context(self, how: Any) -> Context | None:
        if not self._module.does("create_execution_context", how):
            return None
        return Context(self._module, self)


class RuntimeConfig:
    dynamic_shapes_kernel_specialization_strategy = Specialization.LAZY

    def __init__(self, module: FakeTensorRt) -> None:
        self._module = module
        self.strategy = Strategy.STATIC

    def set_execution_context_allocation_strategy(self, strategy: Strategy) -> None:
        self.strategy = strategy

    def create_runtime_cache(self) -> SimpleNamespace:
        def take(known: bytes) -> bool:
            self._module.kernels = known
            return True

        return SimpleNamespace(deserialize=take, serialize=lambda: self._module.kernels + b"k")

    def set_runtime_cache(self, kernels: Any) -> bool:
        return self._module.does("set_runtime_cache")


class Context:
    """Runs on the memory whose addresses it was given, and complains where a call was left out or came too early."""

    def __init__(self, module: FakeTensorRt, engine: Engine) -> None:
        self._module, self._engine = module, engine
        self._shape: Shape | None = None if engine.shape[0] < 0 else tuple(engine.shape)
        self._profile: int | None = 0 if engine.shape[0] >= 0 else None
        self._memory = 0
        self._addresses: dict[str, int] = {}

    def set_device_memory(self, address: int, size: int) -> None:
        self._module.does("set_device_memory", size)
        self._memory = size

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        self._profile, self._shape = profile, None
        return self._module.does("set_optimization_profile_async", profile, stream)

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        if self._profile is None:
            return self._fail("no profile is set")
        self._shape = tuple(shape)
        return self._module.does("set_input_shape", name, self._shape)

    def get_tensor_shape(self, name: str) -> Shape:
        if self._shape is None:
            return (-1,)
        return self._shape if name == "images" else (self._shape[0], *self._engine.results[name][0][1:])

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return self._module.does("set_tensor_address", name, address)

    def is_stream_capturable(self, stream: int) -> bool:
        return "capture" not in self._module.fails

    def execute_async_v3(self, stream: int) -> bool:
        if not self._module.does("execute_async_v3", stream):
            return self._fail("CUDA error 700")
        if (
            self._memory < self._module.scratch
            or self._shape is None
            or len(self._addresses) != 1 + len(self._engine.results)
        ):
            return self._fail("memory, shape or addresses are missing")
        shape, addresses = self._shape, dict(self._addresses)
        self._module.device.enqueue(lambda: self._compute(shape, addresses))
        return True

    def _compute(self, shape: Shape, addresses: dict[str, int]) -> None:
        images = _memory(addresses["images"], shape, "FLOAT")
        for name, (own, kind) in self._engine.results.items():
            out = _memory(addresses[name], (shape[0], *own[1:]), kind)
            out[:] = images.sum(axis=(1, 2, 3)).reshape(out.shape) if name == "sums" else 2 * images

    def _fail(self, why: str) -> bool:
        self._engine.logger.log(Severity.ERROR, f"IExecutionContext::enqueueV3: Error Code 1: {why} (In a at /b:1)")
        return False


def _memory(address: int, shape: Shape, kind: str) -> np.ndarray[Any, Any]:
    """What lies at an address, to read and to write."""
    dtype = {"FLOAT": np.float32, "HALF": np.float16, "INT64": np.int64}[kind]
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype).reshape(shape)
