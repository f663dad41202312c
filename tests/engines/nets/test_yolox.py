"""YOLOX against the published implementation: its keys, and its output for fixed weights and a fixed picture."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from engines.backends.base import EngineError  # noqa: E402
from engines.nets.yolox import Yolox, build_yolox  # noqa: E402

NANO, SMALL = (0.33, 0.25, True), (0.33, 0.5, False)


@pytest.mark.assets
@pytest.mark.parametrize(("name", "variant", "side"), [("yolox_nano", NANO, 416), ("yolox_s", SMALL, 640)])
def test_keys_and_output_are_those_of_the_reference(
    assets: Path, name: str, variant: tuple[float, float, bool], side: int
) -> None:
    folder = assets / "gt" / "reference_nets"
    keys = {key: tuple(shape) for key, shape in json.loads((folder / f"{name}.keys.json").read_text()).items()}
    own = Yolox(*variant).state_dict()
    assert [(key, tuple(tensor.shape)) for key, tensor in own.items()] == list(keys.items())
    network = build_yolox({key: fixed_tensor(key, shape) for key, shape in keys.items()}, person_only=False)
    assert network.size == (side, side)
    expected = np.load(folder / f"{name}.npz")["output"]
    picture = np.random.RandomState(0).standard_normal((1, 3, side, side)).astype(np.float32)
    got = run(network, picture)
    assert got.shape == expected.shape
    assert np.linalg.norm(got - expected) / np.linalg.norm(expected) < 1e-4


@pytest.mark.parametrize(
    ("depth", "width", "depthwise", "millions"),
    [
        (0.33, 0.25, True, 0.91),
        (0.33, 0.375, False, 5.06),
        (0.33, 0.5, False, 8.97),
        (0.67, 0.75, False, 25.3),
        (1.0, 1.0, False, 54.2),
        (1.33, 1.25, False, 99.1),
    ],
)
def test_each_variant_has_its_published_number_of_parameters(
    depth: float, width: float, depthwise: bool, millions: float
) -> None:
    with torch.device("meta"):
        network = Yolox(depth, width, depthwise)
    assert sum(weights.numel() for weights in network.parameters()) / 1e6 == pytest.approx(millions, rel=0.003)
    assert network.size == ((416, 416) if width < 0.5 else (640, 640))


@pytest.mark.parametrize("variant", [(0.67, 0.125, False, 3), (0.33, 0.0625, True, 1), (1.0, 0.109375, True, 2)])
def test_depth_width_and_classes_are_read_from_the_shapes(variant: tuple[float, float, bool, int]) -> None:
    torch.manual_seed(1)
    made = Yolox(*variant).eval()
    network = build_yolox(made.state_dict(), person_only=False)
    picture = random_pictures(2, 64, 96)
    got = run(network, picture)
    assert got.shape == (2, 8 * 12 + 4 * 6 + 2 * 3, 5 + variant[3])
    np.testing.assert_array_equal(got, run(made, picture))


def test_the_person_alone_is_the_first_six_columns_of_all() -> None:
    torch.manual_seed(2)
    tensors = Yolox(0.33, 0.125, True, 4).state_dict()
    everyone, person = build_yolox(tensors, person_only=False), build_yolox(tensors)
    pictures = random_pictures(3, 32, 32)
    got = run(person, pictures)
    assert got.shape == (3, 21, 6)
    np.testing.assert_allclose(got, run(everyone, pictures)[..., :6], rtol=1e-5, atol=1e-6)


def test_what_is_missing_too_much_or_of_another_shape_is_named() -> None:
    whole = Yolox(0.33, 0.0625, False, 2).state_dict()
    lacking = {key: tensor for key, tensor in whole.items() if key != "head.stems.1.bn.bias"}
    with pytest.raises(EngineError, match=r"YOLOX.*head\.stems\.1\.bn\.bias"):
        build_yolox(lacking)
    with pytest.raises(EngineError, match=r"YOLOX.*head\.extra"):
        build_yolox({**whole, "head.extra": torch.zeros(1)})
    with pytest.raises(EngineError, match=r"YOLOX.*backbone\.C3_p4\.conv1\.conv\.weight"):
        build_yolox({**whole, "backbone.C3_p4.conv1.conv.weight": torch.zeros(1, 2, 3, 4)})


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, r"backbone\.backbone\.stem\.conv\.conv\.weight must be \(out, in, k, k\), it is missing"),
        ({"backbone.backbone.stem.conv.conv.weight": torch.zeros(8)}, r"got the shape \(8,\)"),
    ],
)
def test_another_checkpoint_is_refused(tensors: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        build_yolox(tensors)


def test_a_checkpoint_without_the_first_stage_is_refused() -> None:
    tensors = {key: value for key, value in Yolox(0.33, 0.0625).state_dict().items() if "dark2.1.m" not in key}
    with pytest.raises(EngineError, match=r"no whole stage backbone\.backbone\.dark2"):
        build_yolox(tensors)


def random_pictures(rows: int, height: int, width: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(0, 255, (rows, 3, height, width)).astype(np.float32)


def run(network: torch.nn.Module, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.inference_mode():
        return np.asarray(network(torch.from_numpy(pictures)).numpy())


def fixed_tensor(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The reference's weights for a key, by the rule of its README."""
    if key.endswith("num_batches_tracked"):
        return torch.tensor(0)
    z = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape).astype(np.float32)
    if key.endswith("running_var"):
        z = 1 + 0.1 * np.abs(z)
    elif z.ndim > 1:
        z = z * np.float32(np.sqrt(1 / np.prod(shape[1:])))
    elif key.endswith(".weight"):
        z = 0.5 * (1 + 0.1 * z)
    else:
        z = 0.1 * z
    return torch.from_numpy(z)
