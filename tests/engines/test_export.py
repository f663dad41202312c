"""Checkpoints made ONNX: alike in every runtime, one for each content and option, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from engines import export  # noqa: E402
from engines.backends.base import EngineError  # noqa: E402
from engines.backends.onnx_file import describe  # noqa: E402
from engines.backends.openvino_backend import load_openvino, read_onnx  # noqa: E402
from engines.cards import InputSpec, ModelCard, SourceRef, read_card  # noqa: E402
from engines.catalog import FoundModel  # noqa: E402
from engines.export import Exported, ExportOptions, export_checkpoint, export_found, put_export  # noqa: E402
from engines.guard import compare, noise  # noqa: E402
from engines.lock import alone  # noqa: E402
from engines.nets.darknet import Convolution, read_cfg  # noqa: E402
from engines.nets.hrnet import HRNet  # noqa: E402
from engines.nets.hrnet_layout import HrnetLayout, StageLayout, layout_w  # noqa: E402
from engines.nets.read import read_network  # noqa: E402
from engines.nets.to_onnx import run_network  # noqa: E402
from engines.nets.yolox import Yolox  # noqa: E402

Infer = Callable[[NDArray[np.float32]], NDArray[np.float32]]

ROOT = Path(__file__).parents[2]
WAIT_S = 120.0
TINY = HrnetLayout((StageLayout(1, (1, 1), (4, 8)),), 17, stem=8, stem_blocks=1)
SLIM = HrnetLayout((StageLayout(1, (2, 2), (12, 24)), StageLayout(1, (2, 1, 1), (12, 24, 48))), 16, final_kernel=3)
CFG = """[net]
width=64
height=32
channels=3
[convolutional]
filters=14
size=1
stride=32
activation=linear
[yolo]
anchors=10,20, 30,40
classes=2
"""
HEADER = np.array([0, 2, 0, 0, 0], "<i4").tobytes()


def save(path: Path, module: Any) -> Path:
    """A checkpoint of the module with the weights of gt/reference_nets' kind: no layer dies or explodes."""
    random = np.random.default_rng(7)
    tensors = module.state_dict()
    for name, tensor in tensors.items():
        shape = tuple(tensor.shape)
        z = random.standard_normal(shape, np.float32)
        if name.endswith("running_var"):
            z = 1 + 0.1 * np.abs(z)
        elif len(shape) > 1:
            z = z / np.sqrt(np.prod(shape[1:]), dtype=np.float32)
        elif name.endswith(".weight"):
            z = 0.5 * (1 + 0.1 * z)
        else:
            z = 0.1 * z
        if tensor.is_floating_point():
            tensors[name] = torch.from_numpy(z)
    path.parent.mkdir(exist_ok=True)
    torch.save(tensors, path)
    return path


def save_darknet(folder: Path, name: str, cfg: str, seed: int = 7) -> Path:
    """Weights and their .cfg, made as gt/reference_nets makes them."""
    (folder / f"{name}.cfg").write_text(cfg)
    network = read_cfg(folder / f"{name}.cfg")
    random = np.random.RandomState(seed)
    numbers = []
    for layer in network.layers:
        if isinstance(layer, Convolution):
            out = layer.shape[0]
            z = [0.1 * random.standard_normal(out)]
            if layer.normalized:
                scale, mean, variance = random.standard_normal((3, out))
                z += [0.5 * (1 + 0.1 * scale), 0.1 * mean, 1 + 0.1 * np.abs(variance)]
            count = layer.inputs * layer.size**2
            numbers += [*z, random.standard_normal(out * count) * np.sqrt(2 / count)]
    weights = folder / f"{name}.weights"
    weights.write_bytes(HEADER + np.concatenate(numbers).astype("<f4").tobytes())
    return weights


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def tiny(folder: Path) -> Path:
    """The checkpoint of the smallest HRNet there is."""
    return save(folder / "tiny.pth", HRNet(TINY))


@pytest.fixture(scope="module")
def exported(folder: Path, tiny: Path) -> Exported:
    return export_checkpoint(tiny, folder / "cache")


@pytest.fixture
def darknet(tmp_path: Path) -> Path:
    """Weights of one layer, whose export takes a second."""
    return save_darknet(tmp_path, "one", CFG)


def by_openvino(path: Path) -> Infer:
    """The whole batch at once, in fp32."""
    compiled = load_openvino().Core().compile_model(read_onnx(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda batch: np.array(compiled(batch)[0])


def by_onnxruntime(path: Path) -> Infer:
    """The whole batch at once; its threads do not spin, as others want the cores."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda batch: np.asarray(session.run(None, {"image": batch})[0])


MAKERS: dict[str, Callable[[Path], Path]] = {
    "hrnet-w32": lambda folder: save(folder / "w32.pth", HRNet(layout_w(32, 17))),
    "hrnet-slim": lambda folder: save(folder / "slim.pth", HRNet(SLIM)),
    "yolox-nano": lambda folder: save(folder / "nano.pth", Yolox(0.33, 0.25, True)),
}


SHAPES = {
    "hrnet-w32": ((None, 3, 256, 192), (None, 17, 64, 48)),
    "hrnet-slim": ((None, 3, 256, 256), (None, 16, 64, 64)),
    "yolox-nano": ((None, 3, 416, 416), (None, 3549, 6)),
}
"""Of input and output: any batch, the usual size, detectors cut to the person."""


@pytest.mark.parametrize("name", MAKERS)
def test_torch_openvino_and_onnxruntime_agree_in_batches_of_1_3_and_8(name: str, tmp_path: Path) -> None:
    check_runtimes(MAKERS[name](tmp_path), *SHAPES[name], tmp_path / "cache")


@pytest.mark.assets
def test_the_runtimes_agree_on_yolov3_tiny(tmp_path: Path, assets: Path) -> None:
    cfg = (assets / "gt" / "reference_nets" / "yolov3-tiny.cfg").read_text()
    check_runtimes(save_darknet(tmp_path, "tiny", cfg), (None, 3, 416, 416), (None, 2535, 6), tmp_path / "cache")


def check_runtimes(checkpoint: Path, eats: tuple[int | None, ...], gives: tuple[int | None, ...], cache: Path) -> None:
    """The ONNX of a checkpoint gives torch's numbers in both runtimes, and is of these shapes."""
    exported = export_checkpoint(checkpoint, cache)
    definition = checkpoint.with_suffix(".cfg") if checkpoint.suffix == ".weights" else None
    module = read_network(checkpoint, definition).module
    random = noise(exported.card.input, 8)
    wanted = {rows: run_network(module, random[:rows]) for rows in (1, 3, 8)}
    for open_in in (by_openvino, by_onnxruntime):
        infer = open_in(exported.path)
        relative = {rows: compare(infer(random[:rows]), wanted[rows]).relative for rows in wanted}
        assert max(relative.values()) < 1e-4, (open_in.__name__, relative)
    (inputs,), (outputs,) = describe(exported.path)
    assert (inputs.shape, outputs.shape) == (eats, gives)
    assert (inputs.dtype, outputs.dtype) == ("float32", "float32")


def test_the_card_says_what_the_onnx_eats_and_gives(exported: Exported, tiny: Path) -> None:
    card = exported.card
    assert (card.name, card.task, card.family, card.skeleton) == ("tiny", "pose", "heatmap", "coco17")
    assert (card.input.size, card.input.color) == ((256, 192), "rgb")
    assert card.source == SourceRef(sha256=hashlib.sha256(tiny.read_bytes()).hexdigest())
    assert read_card(exported.path.with_suffix(".yaml")) == card
    assert exported.remark.startswith("exported in fp32, max |difference| from torch ")


def test_nothing_of_our_files_is_in_the_onnx(exported: Exported) -> None:
    content = exported.path.read_bytes()
    assert str(ROOT).encode() not in content
    assert b"engines" not in content
    assert b"BatchNormalization" not in content


def test_joints_of_no_skeleton_are_refused(tmp_path: Path) -> None:
    checkpoint = save(tmp_path / "x.pth", HRNet(HrnetLayout(TINY.stages, 5, stem=8, stem_blocks=1)))
    with pytest.raises(EngineError, match=r"x\.pth: 5 joints, which no skeleton fits: coco17 17, mpii16 16"):
        export_checkpoint(checkpoint, tmp_path)


def test_a_half_precision_onnx_is_half_as_large_and_near_torch_in_both_runtimes(
    tmp_path: Path, tiny: Path, exported: Exported
) -> None:
    half = export_checkpoint(tiny, tmp_path, "pose", ExportOptions(precision="fp16"))
    assert half.card.name == "tiny-fp16"
    assert half.path.stat().st_size < 0.75 * exported.path.stat().st_size  # the graph itself does not shrink
    batch = noise(half.card.input, 3)
    wanted = run_network(read_network(tiny, None).module, batch)
    for open_in in (by_openvino, by_onnxruntime):
        assert 1e-5 < compare(open_in(half.path)(batch), wanted).relative < 5e-3
    assert {spec.dtype for specs in describe(half.path) for spec in specs} == {"float32"}


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="precision must be one of fp32, fp16, got 'int8'"):
        ExportOptions(precision="int8")  # type: ignore[arg-type]


def test_what_is_there_takes_no_torch(tiny: Path, exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    again = export_checkpoint(tiny, exported.path.parents[1], "pose")
    assert again == Exported(exported.path, exported.card, "exported before")


@pytest.mark.parametrize("missing", ["torch", "onnx", "onnxscript"])
def test_without_torch_the_remedy_is_named(tiny: Path, tmp_path: Path, monkeypatch: Any, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(
        EngineError, match=rf"takes torch \(.*{missing}.*pip install 'posestream\[train\]'.* use the ONNX"
    ):
        export_checkpoint(tiny, tmp_path)


def test_each_content_and_option_has_an_export_of_its_own(darknet: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"

    def path(**options: Any) -> Path:
        return export_checkpoint(darknet, cache, options=ExportOptions(**options)).path

    plain = path()
    (tmp_path / "like.cfg").write_text(CFG)
    (tmp_path / "other.cfg").write_text(CFG.replace("30,40", "50,60"))
    same = [path(), path(definition=tmp_path / "like.cfg")]
    others = [path(size=(64, 64)), path(precision="fp16"), path(definition=tmp_path / "other.cfg")]
    save_darknet(tmp_path, "one", CFG, seed=8)
    others.append(path())
    assert same == [plain, plain]
    assert len({plain, *others}) == 5
    assert all(other.is_file() for other in others)


def test_an_experiment_gives_the_input_size_and_must_fit_the_checkpoint(tmp_path: Path) -> None:
    same = {"BLOCK": "BASIC", "FUSE_METHOD": "SUM", "NUM_MODULES": 1}
    extra: dict[str, Any] = {
        f"STAGE{n}": {**same, "NUM_BRANCHES": n, "NUM_BLOCKS": [1] * n, "NUM_CHANNELS": [4] * n} for n in (2, 3, 4)
    }
    extra["FINAL_CONV_KERNEL"] = 1
    sizes = {"IMAGE_SIZE": [96, 128], "HEATMAP_SIZE": [24, 32]}
    model = {"NAME": "pose_hrnet", "NUM_JOINTS": 16, **sizes, "EXTRA": extra}
    stages = tuple(StageLayout(1, (1,) * n, (4,) * n) for n in (2, 3, 4))
    checkpoint = save(tmp_path / "x.pth", HRNet(HrnetLayout(stages, 16)))
    exported = export_checkpoint(checkpoint, tmp_path, "pose", ExportOptions(definition=model))
    assert (exported.card.input.size, exported.card.skeleton) == ((128, 96), "mpii16")
    extra["STAGE2"]["NUM_CHANNELS"] = [4, 8]
    with pytest.raises(EngineError, match=r"x\.pth: HRNet: the checkpoint does not fit"):
        export_checkpoint(checkpoint, tmp_path, "pose", ExportOptions(definition=model))


def names(cache: Path) -> list[str]:
    """What is in the folder of exports but its locks."""
    return sorted(file.name for file in (cache / "exported").iterdir() if not file.name.startswith("."))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b"<html>"), "no checkpoint of torch"),
        (lambda path: torch.save({"fc.weight": torch.zeros(2, 2)}, path), "no HRNet, YOLOX or YOLOv3, .* fc.weight, "),
        (lambda path: torch.save({"module_list.0.conv_0.weight": torch.zeros(2)}, path), "a YOLOv3, which needs its"),
        (lambda path: torch.save({"stage2.0.weight": torch.zeros(2)}, path), r"x\.pth: "),
    ],
)
def test_what_cannot_be_exported_is_said_in_a_line_and_leaves_nothing(
    tmp_path: Path, make: Callable[[Path], object], message: str
) -> None:
    checkpoint = tmp_path / "x.pth"
    make(checkpoint)
    with pytest.raises(EngineError, match=message) as caught:
        export_checkpoint(checkpoint, tmp_path)
    assert str(caught.value).startswith(f"{checkpoint}: ")
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


def test_files_that_are_not_there_are_said(tmp_path: Path, darknet: Path) -> None:
    with pytest.raises(FileNotFoundError):
        export_checkpoint(tmp_path / "gone.pth", tmp_path)
    darknet.with_suffix(".cfg").rename(tmp_path / "elsewhere.cfg")
    with pytest.raises(EngineError, match=r"one\.weights: darknet's weights need their \.cfg; put it to .*one\.cfg"):
        export_checkpoint(darknet, tmp_path)


@pytest.mark.parametrize("size", [(100, 64), (0, 0), (64, 16)])
def test_a_size_that_does_not_divide_is_refused(darknet: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(EngineError, match=f"imgsz must be a multiple of 32, got {size[0]}x{size[1]}"):
        export_checkpoint(darknet, tmp_path, options=ExportOptions(size))


def test_a_model_of_the_other_task_is_refused_before_and_after_its_export(darknet: Path, tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(EngineError, match=r"one\.weights: is a model to detect with; wanted one to pose"):
        export_checkpoint(darknet, tmp_path, "pose", say=said.append)
    assert names(tmp_path) == []
    export_checkpoint(darknet, tmp_path, "detect", say=said.append)
    with pytest.raises(EngineError, match="wanted one to pose"):
        export_checkpoint(darknet, tmp_path, "pose", say=said.append)
    assert said == [f"{darknet}: exporting it to ONNX, once, which takes up to a minute"] * 2


def test_an_onnx_that_differs_from_torch_is_not_kept(darknet: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(export.BOUNDS, "fp32", -1.0)
    with pytest.raises(EngineError, match=r"max \|difference\| of its ONNX from torch .*, wanted -1; update torch"):
        export_checkpoint(darknet, tmp_path)
    assert names(tmp_path) == []


def test_what_a_killed_run_left_is_written_over(darknet: Path, tmp_path: Path) -> None:
    made = export_checkpoint(darknet, tmp_path).path
    whole = made.read_bytes()
    made.rename(made.with_name(f"{made.name}.part"))  # killed before the ONNX was put into its place
    made.with_name(f"{made.name}.part").write_bytes(whole[:1000])
    again = export_checkpoint(darknet, tmp_path)
    assert again.remark.startswith("exported in fp32")
    assert names(tmp_path) == [made.name, made.with_suffix(".yaml").name]
    describe(made)


def test_a_second_export_waits_for_the_first_and_takes_its_onnx(darknet: Path, tmp_path: Path) -> None:
    first = export_checkpoint(darknet, tmp_path / "first")
    folder = tmp_path / "second" / "exported"
    folder.mkdir(parents=True)
    said: queue.Queue[str] = queue.Queue()
    results: list[Exported] = []

    def wait_for_it() -> None:
        results.append(export_checkpoint(darknet, tmp_path / "second", say=said.put))

    with alone(folder / f".{first.path.stem}.lock", lambda: pytest.fail("nobody else can hold it")):
        second = threading.Thread(target=wait_for_it, name="second export")
        second.start()
        assert said.get(timeout=WAIT_S) == f"{darknet}: another process exports it; waiting for that"
        assert results == []
        for file in (first.path, first.path.with_suffix(".yaml")):
            (folder / file.name).write_bytes(file.read_bytes())
    second.join(WAIT_S)
    assert results == [Exported(folder / first.path.name, first.card, "exported before")]
    assert said.empty()


EXPORTER = """
import sys
from pathlib import Path
from engines.export import export_checkpoint
exported = export_checkpoint(Path(sys.argv[1]), Path(sys.argv[2]), say=lambda line: print("said", flush=True))
print(exported.remark.split()[1], exported.path)
"""


def watch(process: subprocess.Popen[str], exports: Path) -> Iterator[Path]:
    """The ONNX files that are seen while a process runs."""
    while process.poll() is None:
        yield from exports.glob("*.onnx")


def test_two_processes_do_not_collide_and_no_half_written_onnx_is_seen(darknet: Path, tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", EXPORTER, str(darknet), str(tmp_path)]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    processes = [subprocess.Popen(arguments, env=environ, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    sizes = {file.stat().st_size for process in processes for file in watch(process, tmp_path / "exported")}
    answers = [process.communicate(timeout=WAIT_S)[0].splitlines()[-1].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(how for how, _ in answers) == ["before", "in"]  # exported before; exported in fp32
    (made,) = {Path(path) for _, path in answers}
    assert names(tmp_path) == [made.name, made.with_suffix(".yaml").name]
    assert sizes <= {made.stat().st_size}
    describe(made)


def test_a_model_of_the_catalogue_keeps_its_card_but_for_the_form_of_its_output(darknet: Path, tmp_path: Path) -> None:
    published = ModelCard("mine", "detect", "yolox", InputSpec((32, 32), "rgb", 1 / 255), license="MIT")
    found = FoundModel(darknet, published)
    assert export_found(found, tmp_path, "detect", ExportOptions()).card == replace(published, family="yolov3")
    other = export_found(found, tmp_path, "detect", ExportOptions(size=(96, 64), precision="fp16")).card
    assert (other.name, other.license, other.input.size) == ("mine-fp16", "MIT", (96, 64))


def test_an_export_is_put_elsewhere_with_its_card(exported: Exported, tmp_path: Path) -> None:
    put = put_export(exported, tmp_path / "usb")
    assert put == tmp_path / "usb" / "tiny.onnx"
    assert put.read_bytes() == exported.path.read_bytes()
    assert read_card(put.with_suffix(".yaml")) == exported.card
    assert sorted(file.name for file in put.parent.iterdir()) == ["tiny.onnx", "tiny.yaml"]
