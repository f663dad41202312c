"""Engines that are built: by a stand-in for the calls, and by TensorRT-RTX itself, which needs no GPU for that."""

from __future__ import annotations

import gc
import threading
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from astronaut import DETECTOR, POSE
from fake_tensorrt import FakeTensorRt, LayerType, Tensor
from onnx import TensorProto, helper, numpy_helper

from engines.backends.base import EngineError
from engines.backends.tensorrt_library import Library
from engines.build_progress import Progress
from engines.engine_build import THREAD, Order, buckets_up_to, build_engine, capability_name, profiles
from engines.engine_cache import Engine
from engines.engine_network import engine_precision

GENERATIONS = ("7.5", "8.0", "8.6", "8.9", "12.0")
"""Turing, the two of Ampere, Ada, Blackwell."""


def full(module: FakeTensorRt) -> Library:
    return Library(module, "TensorRT")


def rtx_like(module: FakeTensorRt) -> Library:
    return Library(module, "TensorRT-RTX")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"model")
    return path


def built(library: Library, order: Order, **options: Any) -> Engine:
    return build_engine(library, order, lambda _: None, **options)


def test_the_full_tensorrt_has_a_profile_for_each_bucket() -> None:
    assert profiles(32, one=False) == [(1, 1, 1), (1, 2, 2), (1, 4, 4), (1, 8, 8), (1, 16, 16), (1, 32, 32)]
    assert profiles(5, one=False) == [(1, 1, 1), (1, 2, 2), (1, 4, 4), (1, 5, 5)]
    assert profiles(1, one=False) == [(1, 1, 1)]


def test_rtx_has_one_profile_for_all() -> None:
    assert profiles(32, one=True) == [(1, 8, 32)]
    assert profiles(4, one=True) == [(1, 4, 4)]


@pytest.mark.parametrize(
    ("most", "sizes"), [(1, [1]), (2, [1, 2]), (12, [1, 2, 4, 8, 12]), (64, [1, 2, 4, 8, 16, 32, 64])]
)
def test_batch_sizes_end_at_the_largest_that_is_wanted(most: int, sizes: list[int]) -> None:
    assert buckets_up_to(most) == sizes


@pytest.mark.parametrize(
    ("content", "wanted", "precision"),
    [
        (b"..Conv..", "auto", "fp16"),
        (b"..QuantizeLinear..DequantizeLinear", "auto", "int8"),
        (b"..DequantizeLinear..", "auto", "fp16"),
        (b"..QuantizeLinear..", "fp32", "fp32"),
    ],
)
def test_precision_auto_is_that_of_the_file_or_fp16(model: Path, content: bytes, wanted: str, precision: str) -> None:
    model.write_bytes(content)
    assert engine_precision(model, wanted) == precision


def test_an_order_says_what_cannot_be(model: Path) -> None:
    with pytest.raises(EngineError, match="precision bf16: TensorRT builds fp32, fp16 and int8 here"):
        Order(model, None, "bf16")
    with pytest.raises(ValueError, match="max batch must be 1 or more, got 0"):
        Order(model, None, "fp32", max_batch=0)
    assert capability_name("12.0") == "SM120"


def test_the_calls_of_a_build_by_the_full_tensorrt(model: Path) -> None:
    module = FakeTensorRt()
    engine = built(full(module), Order(model, None, "fp32", 2))
    assert engine.outputs == ("sums", "doubles")
    assert b'"profiles": [[[1, 3, 2, 4], [1, 3, 2, 4], [1, 3, 2, 4]], [[1, 3, 2, 4], [2, 3, 2, 4], [2, 3' in engine.plan
    assert [call[:2] for call in module.calls] == [
        ("create_network", 1 << 1),  # strongly typed
        ("parse", len(b"model")),
        ("clear_flag", "TF32"),
        ("build", f"{THREAD}_0"),
    ]


def test_the_calls_of_a_build_by_rtx_for_two_generations(model: Path) -> None:
    module = FakeTensorRt()
    engine = built(rtx_like(module), Order(model, None, "fp32", capabilities=("7.5", "8.9")))
    assert b'"profiles": [[[1, 3, 2, 4], [8, 3, 2, 4], [32, 3, 2, 4]]]' in engine.plan
    assert module.named("set_flag", "num_compute_capabilities", "set_compute_capability", "set_timing_cache") == [
        ("set_flag", "REQUIRE_USER_ALLOCATION"),
        ("num_compute_capabilities", 2),
        ("set_compute_capability", "SM75", 0),
        ("set_compute_capability", "SM89", 1),
    ]


def test_a_free_size_is_fixed_and_a_fixed_batch_has_no_profile(model: Path) -> None:
    module = FakeTensorRt()
    module.inputs = [Tensor("images", (2, 3, -1, -1))]
    module.outputs = [Tensor("out", (2, 9))]
    with pytest.raises(EngineError, match=r"m\.onnx: its input size is free; say which with --imgsz"):
        built(full(module), Order(model, None, "fp32"))
    engine = built(full(module), Order(model, (64, 48), "fp32"))
    assert module.inputs[0].shape == [2, 3, 64, 48]
    assert b'"profiles": []' in engine.plan


def test_kernel_times_are_kept_from_build_to_build_unless_they_are_another_gpus(model: Path, tmp_path: Path) -> None:
    module, times = FakeTensorRt(), tmp_path / "times"
    for _ in range(2):
        built(full(module), Order(model, None, "fp32"), timing_cache=times)
    assert times.read_bytes() == b"++"
    times.write_bytes(b"other GPU's")
    built(full(module), Order(model, None, "fp32"), timing_cache=times)
    assert times.read_bytes() == b"+"
    assert [call[1:] for call in module.named("set_timing_cache")] == [
        (b"", False),
        (b"+", False),
        (b"other GPU's", False),
        (b"", False),
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "times"]


def test_the_full_tensorrt_builds_for_no_other_gpu(model: Path) -> None:
    with pytest.raises(EngineError, match=r"builds for the GPU it runs on alone; .* 8\.9 pip install tensorrt-rtx"):
        built(full(FakeTensorRt()), Order(model, None, "fp32", capabilities=("8.9",)))


def test_progress_is_told_to_the_caller_on_its_own_thread(model: Path) -> None:
    module = FakeTensorRt()
    seen: list[tuple[Progress, str]] = []
    told = threading.Event()

    def tell(progress: Progress) -> None:
        seen.append((progress, threading.current_thread().name))
        told.set()

    def at_step(step: int) -> None:
        if step == 5:
            told.wait(20)

    module.at_step = at_step
    build_engine(full(module), Order(model, None, "fp32"), tell)
    progress, thread = seen[0]
    assert progress.done == pytest.approx((1 + 0.5) / 2)
    assert progress.phase == "Timing"
    assert progress.elapsed_s > 0.2
    assert thread == threading.current_thread().name


@pytest.mark.parametrize("error", [KeyboardInterrupt(), EngineError("not wanted any more")])
def test_an_interrupt_ends_the_build_at_its_next_step(model: Path, error: BaseException) -> None:
    module = FakeTensorRt()
    steps: list[int] = []
    raised = threading.Event()

    def tell(_: Progress) -> None:
        raised.set()
        raise error

    def at_step(step: int) -> None:
        steps.append(step)
        if step == 3:
            raised.wait(20)
        if step > 3:
            threading.Event().wait(0.05)  # as long as a step takes

    module.at_step = at_step
    with pytest.raises(type(error)):
        build_engine(full(module), Order(model, None, "fp32"), tell)
    assert 3 <= steps[-1] < 9
    assert not any(thread.name.startswith(THREAD) for thread in threading.enumerate())


def test_a_build_that_fails_says_why_in_a_line(model: Path) -> None:
    with pytest.raises(
        EngineError,
        match=r"m\.onnx: TensorRT 10\.13\.2 cannot build it: API Usage Error \(no luck\.\); use --backend onnxruntime",
    ):
        built(full(FakeTensorRt(fails=["build"])), Order(model, None, "fp32"))


@pytest.mark.parametrize("fails", ["build", "parse"])
def test_a_build_that_fails_leaves_nothing_of_the_library_to_garbage_collection(model: Path, fails: str) -> None:
    module, made = FakeTensorRt(fails=[fails]), list[weakref.ref[Any]]()
    make = module.Builder
    module.Builder = lambda logger: made.append(weakref.ref(builder := make(logger))) or builder  # type: ignore[method-assign]
    gc.disable()  # it would end a builder in the midst of another build, in which the library waits for itself
    try:
        with pytest.raises(EngineError):
            built(full(module), Order(model, None, "fp32"))
        assert [builder() for builder in made] == [None]
    finally:
        gc.enable()


def test_a_file_in_another_precision_is_refused(model: Path) -> None:
    module = FakeTensorRt()
    module.layer = LayerType.QUANTIZE
    with pytest.raises(
        EngineError, match=r"m\.onnx: is in int8, wanted fp16; name the file in fp16, or precision int8"
    ):
        built(full(module), Order(model, None, "fp16"))
    assert built(full(module), Order(model, None, "int8")).outputs == ("sums", "doubles")


def test_a_model_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.onnx"):
        built(full(FakeTensorRt()), Order(tmp_path / "gone.onnx", None, "fp32"))


@pytest.fixture(scope="module")
def rtx() -> Library:
    return Library(pytest.importorskip("tensorrt_rtx"), "TensorRT-RTX")


def save(path: Path, nodes: list[onnx.NodeProto], outputs: dict[str, list[int | str]], **constants: Any) -> Path:
    """An ONNX file from pictures `images` (N, 3, 8, 8)."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def save_quantised(path: Path, zero: int) -> Path:
    """A convolution whose input and weights are quantised to int8, 0 being at `zero`."""
    nodes = [
        helper.make_node("QuantizeLinear", ["images", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["x"]),
        helper.make_node("QuantizeLinear", ["weights", "scale", "none"], ["qw"]),
        helper.make_node("DequantizeLinear", ["qw", "scale", "none"], ["w"]),
        helper.make_node("Conv", ["x", "w"], ["out"], kernel_shape=[1, 1]),
    ]
    return save(
        path,
        nodes,
        {"out": ["N", 4, 8, 8]},
        scale=np.array(0.1, np.float32),
        zero=np.array(zero, np.int8),
        none=np.array(0, np.int8),
        weights=np.ones((4, 3, 1, 1), np.float32),
    )


@pytest.mark.parametrize("model", [DETECTOR, POSE], ids=["detector", "pose"])
def test_rtx_builds_the_embedded_models_for_five_generations_at_once(rtx: Library, model: Path) -> None:
    engine = built(rtx, Order(model, None, "fp16", capabilities=GENERATIONS))
    assert engine.outputs == tuple(output.name for output in onnx.load(model).graph.output)
    assert 1e6 < len(engine.plan) < 60e6


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_rtx_builds_yolox_nano_for_five_generations_at_once(assets: Path, rtx: Library, precision: str) -> None:
    order = Order(assets / "models/yolox_nano_dynhw.onnx", (416, 416), precision, capabilities=GENERATIONS)
    engine = built(rtx, order)
    assert engine.outputs == ("output",)
    assert 3e6 < len(engine.plan) < 30e6


def test_rtx_builds_yolox_nano_of_a_fixed_batch(assets: Path, rtx: Library) -> None:
    order = Order(assets / "models/yolox_nano.onnx", None, "fp32", capabilities=GENERATIONS)
    assert built(rtx, order).outputs == ("output",)


def test_rtx_builds_tinypose_for_five_generations_at_once(assets: Path, rtx: Library) -> None:
    seen: list[float] = []
    order = Order(assets / "models/tinypose_256x192_dyn.onnx", None, "fp16", capabilities=GENERATIONS)
    engine = build_engine(rtx, order, lambda progress: seen.append(progress.done))
    assert engine.outputs == ("heatmaps",)
    assert 3e6 < len(engine.plan) < 60e6
    assert seen == sorted(seen)
    assert 0.5 < seen[-1] <= 1


def test_rtx_names_the_outputs_of_rtmdet_in_the_files_order(assets: Path, rtx: Library) -> None:
    order = Order(assets / "models/rtmdet_nano_dyn.onnx", None, "fp16", capabilities=("8.9",))
    proto = onnx.load(order.model)
    assert built(rtx, order).outputs == tuple(output.name for output in proto.graph.output)


@pytest.fixture(scope="module")
def hrnet_w32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of random weights, by torch's older exporter, which takes a tenth of the time of the newer one."""
    torch = pytest.importorskip("torch")
    from engines.nets.fold import fold_norms
    from engines.nets.samples import HRNETS

    (w32,) = [sample for sample in HRNETS if sample.name == "HRNet-W32"]
    path = tmp_path_factory.mktemp("w32") / "w32.onnx"
    names: dict[str, Any] = {"input_names": ["image"], "output_names": ["heatmaps"]}
    free = {"image": {0: "rows"}, "heatmaps": {0: "rows"}}
    picture = torch.zeros(1, 3, *w32.size)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several that wait for a core each take ten times as long together
    try:
        network = fold_norms(w32.network(), picture)
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            torch.onnx.export(network, (picture,), path, dynamic_axes=free, opset_version=18, dynamo=False, **names)
    finally:
        torch.set_num_threads(threads)
    return path


def test_rtx_builds_hrnet_w32_for_five_generations_at_once(rtx: Library, hrnet_w32: Path) -> None:
    engine = built(rtx, Order(hrnet_w32, None, "fp16", capabilities=GENERATIONS))
    assert engine.outputs == ("heatmaps",)
    assert 57e6 < len(engine.plan) < 70e6  # 28.5 million weights of two bytes


def test_rtx_builds_what_is_quantised_around_0_and_nothing_else(rtx: Library, tmp_path: Path) -> None:
    order = Order(save_quantised(tmp_path / "q.onnx", 0), None, "int8", capabilities=("8.9",))
    assert engine_precision(order.model, "auto") == "int8"
    assert built(rtx, order).outputs == ("out",)
    order = Order(save_quantised(tmp_path / "q.onnx", 3), None, "int8", capabilities=("8.9",))
    with pytest.raises(
        EngineError,
        match=r"its QuantizeLinear: .*zero point is not supported; quantise it for TensorRT, with all zero points 0",
    ):
        built(rtx, order)


def test_rtx_reports_an_interrupt_that_it_would_swallow_itself(rtx: Library, capfd: pytest.CaptureFixture[str]) -> None:
    told = threading.Event()

    @contextmanager
    def after_the_interrupt() -> Iterator[None]:
        told.wait(20)
        yield

    def tell(_: Progress) -> None:
        told.set()
        raise KeyboardInterrupt

    order = Order(POSE, None, "fp32", capabilities=("8.9",))
    with pytest.raises(KeyboardInterrupt):
        build_engine(rtx, order, tell, on_device=after_the_interrupt)
    assert capfd.readouterr().err == ""


def test_rtx_has_no_kernels_for_an_h100(rtx: Library, tmp_path: Path) -> None:
    order = Order(save_quantised(tmp_path / "q.onnx", 0), None, "int8", capabilities=("9.0",))
    with pytest.raises(EngineError, match=r"has no kernels for SM90, it has SM75 SM80 .*; pip install tensorrt"):
        built(rtx, order)


@pytest.mark.parametrize("content", [b"a picture, not a model" * 9, b""])
def test_what_is_no_onnx_is_refused_without_a_word_on_stderr(
    rtx: Library, tmp_path: Path, capfd: pytest.CaptureFixture[str], content: bytes
) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(EngineError, match=r"bad\.onnx") as raised:
        built(rtx, Order(path, None, "fp32", capabilities=("8.9",)))
    assert "\n" not in str(raised.value)
    assert capfd.readouterr().err == ""


def test_an_operator_that_is_unknown_is_named(rtx: Library, tmp_path: Path) -> None:
    path = save(
        tmp_path / "m.onnx", [helper.make_node("Sprinkle", ["images"], ["out"], name="n")], {"out": ["N", 3, 8, 8]}
    )
    with pytest.raises(EngineError, match=r"m\.onnx: TensorRT-RTX .* does not take its Sprinkle n: "):
        built(rtx, Order(path, None, "fp32", capabilities=("8.9",)))


def test_what_needs_a_plugin_that_is_not_there_is_refused(rtx: Library, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("NonZero", ["images"], ["found"]),
        helper.make_node("Cast", ["found"], ["out"], to=TensorProto.FLOAT),
    ]
    path = save(tmp_path / "m.onnx", nodes, {"out": [4, "found"]})
    with pytest.raises(EngineError, match=r"does not take its NonZero: .* not found in plugin registry; use --backend"):
        built(rtx, Order(path, None, "fp32", capabilities=("8.9",)))


@pytest.mark.parametrize(
    ("size", "message"),
    [((8, 9), r"its input is fixed at 8x8 \(height x width\), wanted 8x9"), ((8, 8), "")],
)
def test_another_size_than_the_models_is_refused(
    rtx: Library, tmp_path: Path, size: tuple[int, int], message: str
) -> None:
    order = Order(save_quantised(tmp_path / "q.onnx", 0), size, "int8", capabilities=("8.9",))
    if message:
        with pytest.raises(EngineError, match=message):
            built(rtx, order)
    else:
        assert built(rtx, order).outputs == ("out",)
