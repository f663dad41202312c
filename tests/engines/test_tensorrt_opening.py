"""From an ONNX file to an engine: found, built, kept, or built for elsewhere; by a stand-in and by TensorRT-RTX."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from astronaut import DETECTOR, POSE
from fake_tensorrt import FakeLauncher, FakeTensorRt

from engines.backends.base import EngineError
from engines.backends.tensorrt_backend import TensorRtBackend
from engines.backends.tensorrt_library import Gpu, Library
from engines.backends.tensorrt_opening import Workshop, build_elsewhere, make_key, open_tensorrt
from engines.build_progress import Progress
from engines.engine_build import Order
from engines.engine_cache import ANY, FOLDER

ADA = Gpu("cpu", "NVIDIA L4", "8.9", "580.65")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "models" / "net.onnx"
    path.parent.mkdir()
    path.write_bytes(b"model")
    return path


def workshop(cache: Path, module: FakeTensorRt, gpu: Gpu = ADA, name: str = "TensorRT-RTX") -> Workshop:
    """On a device that is not asked for: the stand-in runs where torch's tensors are."""
    return Workshop(Library(module, name), gpu, cache)


def test_the_key_says_all_there_is(model: Path) -> None:
    library = Library(FakeTensorRt("1.7.1"), "TensorRT-RTX")
    key = make_key(library, Order(model, (64, 48), "fp16", 8), ADA)
    assert (key.name, key.library, key.gpu, key.capability) == ("net", "TensorRT-RTX 1.7.1", "NVIDIA L4", "8.9")
    assert (key.driver, key.precision, key.size, key.profile) == ("580.65", "fp16", "64x48", "batches of 1 to 8")
    assert key.model == "9372c470eeadd5ecd9c3c74c2b3cb633f8e2f2fad799250a0f70d652b6b825e4"
    model.write_bytes(b"another")
    assert make_key(library, Order(model, (64, 48), "fp16", 8), ADA).model != key.model
    assert make_key(library, Order(model, None, "fp16"), ADA).size == "the model's"


def test_rtx_builds_for_the_gpu_that_is_here_once(model: Path, tmp_path: Path) -> None:
    module = FakeTensorRt("1.7.1")
    shop, lines = workshop(tmp_path, module), list[str]()
    first = shop.engine(Order(model, None, "fp32"), lines.append)
    assert module.named("set_compute_capability") == [("set_compute_capability", "SM89", 0)]
    assert lines == [
        "net in fp32 for NVIDIA L4 by TensorRT-RTX 1.7.1: building the engine, once, which takes up to some minutes"
    ]
    assert shop.engine(Order(model, None, "fp32"), pytest.fail) == first
    assert len(module.named("build")) == 1
    assert first.path.parent == tmp_path / FOLDER
    assert shop.kernels(first) == first.path.with_name(f"{first.path.stem}-nvidia-l4.kernels")


@pytest.mark.parametrize(
    ("version", "driver", "line"),
    [
        ("1.8.0", "580.65", "its library was TensorRT-RTX 1.7.1, is TensorRT-RTX 1.8.0; building"),
        ("1.7.1", "590.12", "its driver was 580.65, is 590.12; building"),
    ],
)
def test_a_stale_engine_is_built_again_and_the_line_says_why(
    model: Path, tmp_path: Path, version: str, driver: str, line: str
) -> None:
    shop = workshop(tmp_path, FakeTensorRt("1.7.1"))
    shop.kernels(shop.engine(Order(model, None, "fp32"), lambda _: None)).write_bytes(b"of the old one")
    module, lines = FakeTensorRt(version), list[str]()
    gpu = Gpu("cpu", "NVIDIA L4", "8.9", driver)
    workshop(tmp_path, module, gpu).engine(Order(model, None, "fp32"), lines.append)
    assert line in lines[0]
    assert len(module.named("build")) == 1
    assert [path.suffix for path in (tmp_path / FOLDER).iterdir() if not path.name.startswith(".")] == [".engine"]


def test_what_is_told_of_the_progress_ends_the_build_by_raising(model: Path, tmp_path: Path) -> None:
    module = FakeTensorRt("1.7.1")
    shop = workshop(tmp_path, module)

    def tell(progress: Progress) -> None:
        raise EngineError("the engine is not wanted any more")

    module.at_step = lambda step: _wait_a_tick()
    with pytest.raises(EngineError, match="not wanted any more"):
        shop.engine(Order(model, None, "fp32"), lambda _: None, tell)
    assert list((tmp_path / FOLDER).glob("*.engine")) == []
    module.at_step = lambda step: None
    assert shop.engine(Order(model, None, "fp32"), lambda _: None).engine.outputs == ("sums", "doubles")


def _wait_a_tick() -> None:
    """As long as a step of a build takes."""
    import threading

    threading.Event().wait(0.05)


def test_an_engine_for_elsewhere_is_found_beside_the_model_there(model: Path, tmp_path: Path) -> None:
    here = Library(FakeTensorRt("1.7.1"), "TensorRT-RTX")
    order = Order(model, None, "fp32", 4, ("7.5", "8.9"))
    path = build_elsewhere(here, order, model.parent, lambda _: None)
    assert path == model.parent / "net-fp32-sm75-sm89.engine"
    module = FakeTensorRt("1.7.1")
    found = workshop(tmp_path / "cache", module).engine(Order(model, None, "fp32"), pytest.fail)
    assert (found.path, found.key.gpu, found.key.driver) == (path, ANY, ANY)
    assert not (tmp_path / "cache").exists()
    backend = TensorRtBackend(found, Library(module, "TensorRT-RTX"), "cpu", FakeLauncher(module))
    assert [call[2][0] for call in module.named("set_input_shape")] == [4, 2, 1]
    (_, doubles) = backend.infer(np.ones((9, 3, 2, 4), np.float32))
    assert doubles.shape == (9, 3, 2, 4)
    assert (doubles == 2).all()


def test_one_for_elsewhere_that_does_not_fit_is_told_and_another_built(model: Path, tmp_path: Path) -> None:
    order = Order(model, None, "fp32", capabilities=("7.5",))
    build_elsewhere(Library(FakeTensorRt("1.6.0"), "TensorRT-RTX"), order, model.parent, lambda _: None)
    module, lines = FakeTensorRt("1.7.1"), list[str]()
    workshop(tmp_path, module).engine(Order(model, None, "fp32"), lines.append)
    assert lines[0] == (
        "net-fp32-sm75.engine: not used, as its library was TensorRT-RTX 1.6.0, is TensorRT-RTX 1.7.1;"
        " its capability was 7.5, is 8.9"
    )
    assert len(module.named("build")) == 1


def test_elsewhere_has_to_be_named(model: Path) -> None:
    library = Library(FakeTensorRt(), "TensorRT-RTX")
    with pytest.raises(ValueError, match=r"name a compute capability to build for, as 8\.9"):
        build_elsewhere(library, Order(model, None, "fp32"), model.parent, lambda _: None)


def test_rtx_itself_builds_for_elsewhere_and_loads_nothing_here(tmp_path: Path) -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    library = Library(trt, "TensorRT-RTX")
    model = tmp_path / "nano.onnx"
    shutil.copyfile(DETECTOR, model)
    order = Order(model, None, "fp16", capabilities=("8.6", "8.9"))
    path = build_elsewhere(library, order, tmp_path, lambda _: None)
    assert path.name == "nano-fp16-sm86-sm89.engine"
    stored = Workshop(library, ADA, tmp_path / "cache").engine(order, pytest.fail)
    assert stored.path == path
    if trt.Runtime(trt.Logger(trt.Logger.INTERNAL_ERROR)).get_engine_validity(stored.engine.plan)[0].name != "INVALID":
        pytest.skip("a GPU is here; tests/gpu runs engines")
    with pytest.raises(EngineError, match=r"cannot load it: .*CUDA driver.*; remove it"):
        TensorRtBackend(stored, library, "cpu", FakeLauncher(FakeTensorRt()))


def test_without_a_gpu_it_is_told_before_anything_is_built() -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("tensorrt_rtx")
    if torch.cuda.is_available():
        pytest.skip("a GPU is here; tests/gpu opens engines")
    with pytest.raises(EngineError, match=r"device cuda:0: torch .* has 0 GPUs here; see run.py doctor"):
        open_tensorrt(POSE, None, "auto", "auto")
