"""YOLOv3 from darknet's files, against an independent importer and against numbers worked by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from engines.backends.base import EngineError, open_backend  # noqa: E402
from engines.nets.darknet import Convolution, Detection, Network, read_cfg  # noqa: E402
from engines.nets.yolov3 import YoloV3, build_yolov3  # noqa: E402

HEADER = np.array([0, 2, 0, 0, 0], "<i4").tobytes()
"""Version 0.2, and an int64 of the pictures seen."""
DRAWN_ROWS = {"yolov3": 5, "yolov3-tiny": 1}
"""Of how many rows of the reference one is kept."""


@pytest.fixture
def reference_weights(tmp_path: Path) -> Iterator[Path]:
    """Where the weights of a reference network are put; taken away at once, for YOLOv3's are 248 MB."""
    path = tmp_path / "reference.weights"
    yield path
    path.unlink(missing_ok=True)


@pytest.mark.assets
@pytest.mark.parametrize("name", ["yolov3-tiny", "yolov3"])
def test_output_is_that_of_another_darknet_importer(assets: Path, reference_weights: Path, name: str) -> None:
    folder = assets / "gt" / "reference_nets"
    cfg = folder / f"{name}.cfg"
    network = read_cfg(cfg)
    write_reference_weights(reference_weights, network)
    module = build_yolov3(cfg, reference_weights, person_only=False)
    assert module.size == (416, 416)
    picture = np.random.RandomState(0).uniform(0, 1, (1, 3, 416, 416)).astype(np.float32)
    (rows,) = run(module, picture)
    rows[:, :4] /= 416  # the reference has fractions of the input
    rows[:, 5:] *= rows[:, 4:5]  # and scores of classes times objectness, those above its threshold
    reference = np.load(folder / f"{name}.npz")
    for index, layer in enumerate(network.layers):
        if isinstance(layer, Detection):
            count = layer.shape[1] * layer.shape[2] * len(layer.anchors)
            got, rows = rows[: count : DRAWN_ROWS[name]], rows[count:]
            expected = reference[f"yolo_{index}"]
            np.testing.assert_allclose(got[:, :5], expected[:, :5], rtol=0, atol=1e-3)
            seen = expected[:, 5:] > 0.25
            assert seen.sum() > 1000
            np.testing.assert_allclose(got[:, 5:][seen], expected[:, 5:][seen], rtol=0, atol=1e-3)
    assert len(rows) == 0


ONE_LAYER = """[net]
width=64
height=32
[convolutional]
filters=14
size=1
stride=32
activation=linear
[yolo]
anchors=10,20, 30,40
classes=2
"""
"""Two cells of two anchors: rows of 5 + 2."""
RAW = [0.0, math.log(3), math.log(2), 0.0, 0.0, math.log(3), -math.log(3)]
"""sigmoid 0.5, 0.75; exp 2, 1; sigmoid 0.5, 0.75, 0.25."""


def write_one_layer(folder: Path) -> tuple[Path, Path]:
    """A network that gives RAW in every cell for its first anchor and zeros for its second."""
    cfg, weights = folder / "one.cfg", folder / "one.weights"
    cfg.write_text(ONE_LAYER)
    weights.write_bytes(HEADER + np.array(RAW + [0.0] * 7 + [0.0] * 14 * 3, "<f4").tobytes())
    return cfg, weights


def test_rows_go_cell_by_cell_and_anchor_by_anchor(tmp_path: Path) -> None:
    module = build_yolov3(*write_one_layer(tmp_path), person_only=False)
    assert module.size == (32, 64)
    got = run(module, np.zeros((1, 3, 64, 64), np.float32))  # taller than the .cfg says: two rows of two cells
    scores, even = [0.5, 0.75, 0.25], [0.5, 0.5, 0.5]
    expected = [
        row
        for y in (0, 32)
        for x in (0, 32)
        for row in ([x + 16, y + 24, 20, 20, *scores], [x + 16, y + 16, 30, 40, *even])
    ]
    np.testing.assert_allclose(got, [expected], rtol=1e-5)


def test_the_person_alone_is_the_first_six_columns(tmp_path: Path) -> None:
    files = write_one_layer(tmp_path)
    pictures = np.zeros((3, 3, 32, 64), np.float32)
    got = run(build_yolov3(*files), pictures)
    assert got.shape == (3, 4, 6)
    np.testing.assert_array_equal(got, run(build_yolov3(*files, person_only=False), pictures)[..., :6])


JOINING = """[net]
width=4
height=4
[convolutional]
filters=1
activation=leaky
[maxpool]
size={size}
stride={stride}
[upsample]
stride={stride}
[shortcut]
from=0
activation=linear
[route]
layers=-1, 0
[convolutional]
filters=6
activation=linear
[yolo]
anchors=1,1
classes=1
"""
"""Sums of each pixel and the greatest around it."""


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (2, 1), (3, 1), (3, 2), (4, 2), (5, 1), (4, 4)])
def test_pools_and_joints_are_as_worked_out_slowly(tmp_path: Path, size: int, stride: int) -> None:
    cfg, weights = tmp_path / "joining.cfg", tmp_path / "joining.weights"
    cfg.write_text(JOINING.format(size=size, stride=stride))
    first = [0.0, 1.0, 0.0, 0.0]  # bias; the red channel alone
    last = [0.0] * 6 + [0.0, 0.0] * 4 + [1.0, 0.0] + [0.0, 1.0]  # objectness: the sum; class: the pixel itself
    weights.write_bytes(HEADER + np.array(first + last, "<f4").tobytes())
    picture = np.random.default_rng(size).uniform(-3, 1, (1, 3, 4, 4)).astype(np.float32)
    (rows,) = run(build_yolov3(cfg, weights), picture)
    pixels = np.where(picture[0, 0] > 0, picture[0, 0], 0.1 * picture[0, 0])  # leaky
    sums = np.empty((4, 4))
    for y, x in np.ndindex(4, 4):
        top, left = (side // stride * stride - (size - 1) // 2 for side in (y, x))
        inside = pixels[max(top, 0) : top + size, max(left, 0) : left + size]
        sums[y, x] = pixels[y, x] + inside.max()
    np.testing.assert_allclose(rows[:, 4], 1 / (1 + np.exp(-sums.ravel())), rtol=1e-5)
    np.testing.assert_allclose(rows[:, 5], 1 / (1 + np.exp(-pixels.ravel())), rtol=1e-5)


def test_a_normalised_layer_takes_bias_scale_mean_and_variance_in_this_order(tmp_path: Path) -> None:
    cfg, weights = tmp_path / "norm.cfg", tmp_path / "norm.weights"
    first = "[convolutional]\nbatch_normalize=1\nfilters=1\nactivation=linear\n"
    cfg.write_text("[net]\nwidth=1\nheight=1\n" + first + JOINING.split("layers=-1, 0\n")[1])
    numbers = [0.5, 2.0, 3.0, 4.0, 1.0, 0.0, 0.0]  # bias, scale, mean, variance; the red channel alone
    weights.write_bytes(HEADER + np.array(numbers + [0.0] * 6 + [0.0] * 4 + [1.0, 0.0], "<f4").tobytes())
    ((row,),) = run(build_yolov3(cfg, weights), np.full((1, 3, 1, 1), 6, np.float32))
    assert row[4] == pytest.approx(1 / (1 + math.exp(-3.5)))  # 2 x (6 - 3) / sqrt(4) + 0.5


def test_a_torch_checkpoint_gives_what_the_weights_gave(tmp_path: Path) -> None:
    cfg, weights = write_one_layer(tmp_path)
    module = build_yolov3(cfg, weights)
    checkpoint = tmp_path / "one.pth"
    anchors = {"module_list.1.yolo_1.anchors": torch.zeros(2, 2)}
    torch.save({**module.state_dict(), **anchors}, checkpoint)
    pictures = np.ones((1, 3, 32, 64), np.float32)
    np.testing.assert_array_equal(run(build_yolov3(cfg, checkpoint), pictures), run(module, pictures))
    torch.save({}, checkpoint)
    with pytest.raises(EngineError, match=r"one\.pth"):
        build_yolov3(cfg, checkpoint)
    torch.save({"module_list.0.conv_0.weight": torch.zeros(14, 3, 1, 1)}, checkpoint)
    with pytest.raises(EngineError, match=r"one\.pth with one\.cfg: .*module_list\.0\.conv_0\.bias"):
        build_yolov3(cfg, checkpoint)


def test_weights_cut_short_are_refused(tmp_path: Path) -> None:
    cfg, weights = write_one_layer(tmp_path)
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(EngineError, match=r"one\.weights: holds 55 numbers, the \.cfg needs 56: cut short"):
        build_yolov3(cfg, weights)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_as_onnx_it_gives_the_same_for_any_batch(exported: tuple[YoloV3, Path], backend: str) -> None:
    module, path = exported
    with closing(open_backend(path, backend=backend, precision="fp32")) as opened:
        for rows in (1, 3, 8):
            pictures = np.random.default_rng(rows).uniform(0, 1, (rows, 3, 64, 96)).astype(np.float32)
            expected = run(module, pictures)
            (got,) = opened.infer(pictures)
            assert got.shape == expected.shape == (rows, 3 * (2 * 3 + 4 * 6), 6)
            assert np.linalg.norm(got - expected) / np.linalg.norm(expected) < 1e-4


@pytest.fixture(scope="module")
def exported(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[YoloV3, Path]:
    """YOLOv3-tiny of random weights, as torch and as ONNX."""
    torch.manual_seed(4)
    module = YoloV3(read_cfg(assets / "gt" / "reference_nets" / "yolov3-tiny.cfg")).eval()
    module.keep_person()
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    batch = torch.zeros(2, 3, 64, 96)
    program = torch.onnx.export(module, (batch,), dynamo=True, dynamic_shapes=({0: "batch"},), verbose=False)
    program.save(path)
    return module, path


def run(network: torch.nn.Module, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.inference_mode():
        return np.asarray(network(torch.from_numpy(pictures)).numpy())


def write_reference_weights(path: Path, network: Network) -> None:
    """A `.weights` file by the rule of the reference's README: one stream of normals for the whole file."""
    draw = np.random.RandomState(7)
    with path.open("wb") as file:
        file.write(HEADER)
        for layer in network.layers:
            if isinstance(layer, Convolution):
                filters, fan_in = layer.shape[0], layer.inputs * layer.size**2
                vectors = [0.1 * draw.standard_normal(filters)]
                if layer.normalized:
                    vectors.append(0.5 * (1 + 0.1 * draw.standard_normal(filters)))
                    vectors.append(0.1 * draw.standard_normal(filters))
                    vectors.append(1 + 0.1 * np.abs(draw.standard_normal(filters)))
                for vector in vectors:
                    file.write(vector.astype("<f4").tobytes())
                weights = draw.standard_normal(filters * fan_in).astype("<f4") * np.float32(math.sqrt(2 / fan_in))
                file.write(weights.tobytes())
