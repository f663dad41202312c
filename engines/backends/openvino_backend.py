"""Models on the CPU by OpenVINO."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.backends.base import EngineError, TensorSpec, complaint, cut_batch, join_pieces, settle_input
from engines.backends.openvino_front import keep_front
from engines.results import check_array

Outputs = tuple[NDArray[np.float32], ...]

MAX_STREAMS = 4
"""They share the threads evenly: one thread a stream wastes least, but a big network wants several for each person."""

BATCH = 8
"""Rows that a large network in int8 takes at once."""
LARGE = 10_000_000
"""Weights of such a network: HRNet-W32 has 28.5 million, TinyPose 1.3."""

_CONVERTER = "openvino.tools.ovc"
_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""What OpenVINO computes in where the model does not say; a model in int8 says it for what is to be in int8."""


def load_openvino() -> Any:
    """The module `openvino`, without its model converter: importing that reports to a web analytics service.

    Raises ImportError where it is not installed.
    """
    if "openvino" in sys.modules:
        import openvino

        return openvino
    modules: dict[str, Any] = sys.modules
    modules[_CONVERTER] = None  # makes its import fail, which openvino allows for
    try:
        import openvino
    finally:
        del modules[_CONVERTER]
    return openvino


class OpenVinoBackend:
    """An ONNX model compiled by OpenVINO, twice.

    Where the batch dimension is free both take one row at a time, as fixed shapes run a fifth to a quarter faster than
    free ones; a model with a fixed batch takes pieces of that size. A lone piece has all threads to itself; more go
    side by side, each on a stream of its own with a share of the threads, which is faster than one batch for small
    networks (TinyPose on two cores: 2 rows in 11 ms, as a batch 13 ms) and suffers less where decoder and encoder want
    the same cores. In int8 nothing goes side by side: after a network with a front in fp32 had been open in a process,
    OpenVINO 2026.4 compiled 6 of 57 such networks to wrong numbers. A large one takes whole batches of BATCH there, in
    which HRNet-W32 takes 20.1 ms a crop, side by side 21.2. Threads are not pinned to cores, as two models, decoder and
    encoder share them.
    """

    def __init__(
        self, path: Path, input_size: tuple[int, int] | None, precision: str, threads: int, front: float = 0.0
    ) -> None:
        """`front` is the share of the first operations that stay in fp32 where the rest is in bf16.

        Raises ImportError where OpenVINO is missing, EngineError where the model or the precision does not fit.
        """
        ov = load_openvino()
        core = ov.Core()
        self._path = path
        self._precision = _choose_precision(core, precision)
        model = read_onnx(path)
        self._input = settle_input(path, [_spec(port) for port in model.inputs], input_size)
        self._rows = self._input.shape[0] or 1
        try:
            model.reshape({model.input(0): [self._rows, *self._input.shape[1:]]})
            if front and self._precision == "bf16":
                model = keep_front(ov, model, front)
            alone = core.compile_model(model, "CPU", self._settings(threads, streams=1))
            self._alone = alone.create_infer_request()
            self._side_by_side: list[Any] = []
            self._batch: Any = None
            if self._precision != "int8":
                total = alone.get_property("INFERENCE_NUM_THREADS")
                streams = min(total, MAX_STREAMS)
                shared = core.compile_model(model, "CPU", self._settings(total, streams))
                self._side_by_side = [shared.create_infer_request() for _ in range(2 * streams)]
            elif self._input.shape[0] is None and _is_large(model):
                model.reshape({model.input(0): [BATCH, *self._input.shape[1:]]})
                whole = core.compile_model(model, "CPU", self._settings(threads, streams=1))
                self._batch = whole.create_infer_request()
        except RuntimeError as error:
            size = "x".join(str(n) for n in self._input.shape[2:])
            raise EngineError(
                f"{path.name}: OpenVINO cannot compile it for {size} (height x width): {complaint(error)}; "
                "try another size or --backend onnxruntime"
            ) from error
        free = self._input.shape[0] is None
        self._outputs = tuple(_spec(port, free_rows=free) for port in alone.outputs)
        self._open = True

    @property
    def name(self) -> str:
        """`OpenVINO CPU fp32`, or bf16 or int8."""
        return f"OpenVINO CPU {self._precision}"

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The one input, its height and width known."""
        return (self._input,)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs at that input size."""
        return self._outputs

    def infer(self, batch: NDArray[np.float32]) -> Outputs:
        """See `Backend`."""
        if not self._open:
            raise EngineError(f"{self._path.name}: the model was closed; open it again")
        check_array("batch", batch, (None, *self._input.shape[1:]), np.float32)
        if len(batch) == 0:
            raise ValueError("batch must be one row or more, got none")
        batch = np.ascontiguousarray(batch)
        whole = len(batch) // BATCH * BATCH if self._batch is not None else 0
        pieces = list(cut_batch(batch[whole:], self._rows)) if whole < len(batch) else []
        try:
            done = [_run(self._batch, batch[at : at + BATCH]) for at in range(0, whole, BATCH)]
            if len(pieces) > 1 and self._side_by_side:
                done += self._run_side_by_side(pieces)
            else:
                done += [_run(self._alone, piece) for piece in pieces]
        except RuntimeError as error:
            raise EngineError(f"{self._path.name}: OpenVINO failed to run it: {complaint(error)}") from error
        return join_pieces(done, len(batch))

    def close(self) -> None:
        """Free the compiled models."""
        self._open = False
        self._alone = self._batch = None
        self._side_by_side = []

    def _settings(self, threads: int, streams: int) -> dict[str, Any]:
        """What a model is compiled with; 0 threads leave their number to OpenVINO."""
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": _HINTS[self._precision],
            "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
            "NUM_STREAMS": streams,
            "ENABLE_CPU_PINNING": False,
        }
        return settings | ({"INFERENCE_NUM_THREADS": threads} if threads else {})

    def _run_side_by_side(self, pieces: list[NDArray[np.float32]]) -> list[Outputs]:
        """Each piece on the next request of a ring; twice as many requests as streams leave no stream waiting."""
        ring = self._side_by_side
        done: list[Outputs] = []
        for at, piece in enumerate(pieces):
            request = ring[at % len(ring)]
            if at >= len(ring):
                request.wait()
                done.append(_take(request))
            request.start_async([piece])
        for at in range(len(done), len(pieces)):
            request = ring[at % len(ring)]
            request.wait()
            done.append(_take(request))
        return done


def _run(request: Any, piece: NDArray[np.float32]) -> Outputs:
    """The outputs of a piece that has the threads to itself."""
    request.infer([piece], share_inputs=True, share_outputs=True)
    return _take(request)


def _is_large(model: Any) -> bool:
    constants = (operation for operation in model.get_ordered_ops() if operation.get_type_name() == "Constant")
    return bool(sum(math.prod(constant.get_output_shape(0)) for constant in constants) >= LARGE)


def _take(request: Any) -> Outputs:
    """Copies of a request's outputs, as its next run overwrites them."""
    return tuple(np.array(tensor.data, np.float32) for tensor in request.output_tensors)


def read_onnx(path: Path) -> Any:
    """The `openvino.Model` in an ONNX file, EngineError where there is none.

    By the reader of ONNX alone: `Core.read_model` tries every other format on a bad file and prints about each.
    """
    frontend = load_openvino().frontend
    try:
        reader = frontend.FrontEndManager().load_by_framework("onnx")
        return reader.convert(reader.load(str(path)))
    except (
        RuntimeError,
        frontend.GeneralFailure,
        frontend.InitializationFailure,
        frontend.NotImplementedFailure,
        frontend.OpConversionFailure,
        frontend.OpValidationFailure,
    ) as error:
        raise EngineError(f"{path}: cannot be read as ONNX: {complaint(error)}; fetch or export it again") from error


def _choose_precision(core: Any, wanted: str) -> str:
    has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if wanted == "bf16" and not has_bf16:
        raise EngineError("precision bf16: this CPU does not compute in bf16; use precision fp32 or auto")
    if wanted == "auto":
        return "bf16" if has_bf16 else "fp32"
    return wanted


def _spec(port: Any, free_rows: bool = False) -> TensorSpec:
    """An input or output of an OpenVINO model; `free_rows` makes its first dimension free."""
    shape = [side.get_length() if side.is_static else None for side in port.get_partial_shape()]
    if free_rows and shape:
        shape[0] = None
    return TensorSpec(
        min(port.get_names(), default=""), tuple(shape), np.dtype(port.get_element_type().to_dtype()).name
    )
