"""A network to int8 by NNCF."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("nncf")

from contextlib import closing  # noqa: E402

from engines import quantize as module  # noqa: E402
from engines.backends.base import EngineError, open_backend  # noqa: E402
from engines.backends.tensorrt_library import load_library  # noqa: E402
from engines.cards import InputSpec, ModelCard  # noqa: E402
from engines.engine_build import Order, build_engine  # noqa: E402
from engines.engine_network import engine_precision  # noqa: E402
from engines.export import ExportOptions, export_checkpoint  # noqa: E402
from engines.guard import compare, noise  # noqa: E402
from engines.int8_graph import quantized_names  # noqa: E402
from engines.nets.hrnet import HRNet  # noqa: E402
from engines.nets.hrnet_layout import HrnetLayout, StageLayout  # noqa: E402
from engines.quantize import GOAL, quantize  # noqa: E402
from engines.results import Image  # noqa: E402

LAYOUT = HrnetLayout((StageLayout(1, (1, 1), (4, 8)),), 17, stem=8, stem_blocks=1)
CARD = ModelCard("net", "pose", "heatmap", InputSpec((64, 64), "rgb", 1 / 255), skeleton="coco17")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small HRNet of random weights."""
    folder = tmp_path_factory.mktemp("net")
    torch.manual_seed(0)
    torch.save(HRNet(LAYOUT).state_dict(), folder / "net.pth")
    return export_checkpoint(folder / "net.pth", folder / "cache", "pose", ExportOptions((64, 64))).path


@pytest.fixture(scope="module")
def crops() -> list[Image]:
    random = np.random.default_rng(1)
    return [np.kron(random.integers(0, 256, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8) for _ in range(16)]


def outputs(path: Path, precision: str) -> np.ndarray:
    with closing(open_backend(path, backend="openvino", precision=precision)) as backend:
        return backend.infer(noise(CARD.input, 4))[0]


def test_a_network_in_int8_is_near_to_fp32_and_a_quarter_as_large(
    network: Path, crops: list[Image], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    target = tmp_path / "net8.onnx"
    quantize(network, CARD, crops, target, said.append)
    assert said[0] == "net: quantising to int8, calibrated on 16 pictures"
    assert len(quantized_names(onnx.load(target))) == 19
    assert 0 < compare(outputs(target, "int8"), outputs(network, "fp32")).relative < 2 * GOAL
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net8.onnx"]
    assert capfd.readouterr() == ("", "")


def test_what_is_quantised_suits_tensorrt_too(network: Path, crops: list[Image], tmp_path: Path) -> None:
    """It takes no zero points but 0."""
    pytest.importorskip("tensorrt_rtx")
    target = tmp_path / "net8.onnx"
    quantize(network, CARD, crops, target, lambda line: None)
    order = Order(target, None, engine_precision(target, "auto"), capabilities=("8.9",))
    assert order.precision == "int8"
    assert len(build_engine(load_library(), order, lambda progress: None).plan) > 10_000


def test_where_all_of_it_hurts_all_of_it_stays_in_fp32(
    network: Path, crops: list[Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bound in ("ENOUGH", "GOAL"):
        monkeypatch.setattr(module, bound, 0.0)
    said: list[str] = []
    target = tmp_path / "net8.onnx"
    quantize(network, CARD, crops, target, said.append)
    assert said[-1] == "net: 19 of 19 operations stay in fp32"
    assert compare(outputs(target, "int8"), outputs(network, "fp32")).relative < 1e-6


def test_without_nncf_the_way_to_it_is_told(
    network: Path, crops: list[Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(
        EngineError, match=r"int8 takes NNCF, which is not installed .*; pip install 'posestream\[quantize\]'"
    ):
        quantize(network, CARD, crops, tmp_path / "net8.onnx", lambda line: None)
