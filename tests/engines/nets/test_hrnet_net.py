"""HRNet: names, shapes and outputs of the reference code; layouts from experiments and from tensors."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from engines.backends.base import EngineError  # noqa: E402
from engines.nets.checkpoint import read_tensors  # noqa: E402
from engines.nets.hrnet import (  # noqa: E402
    HRNet,
    HrnetLayout,
    StageLayout,
    build_hrnet,
    layout_of_experiment,
    layout_of_tensors,
    layout_w,
)

TINY = HrnetLayout((StageLayout(1, (1, 1), (4, 8)), StageLayout(2, (1, 2, 1), (4, 8, 12))), 5, stem=8, stem_blocks=1)
REFERENCES = [
    ("hrnet_w32_coco_256x192", layout_w(32, 17, (256, 192))),
    ("hrnet_w48_mpii_256x256", layout_w(48, 16, (256, 256))),
]
LAYOUTS = [
    *(layout_w(width, 17) for width in (8, 18, 32, 48, 64)),
    TINY,
    HrnetLayout(TINY.stages, 16, final_kernel=3),
    HrnetLayout((StageLayout(2, (1, 2), (4, 8), "bottleneck"), StageLayout(1, (1, 1, 3), (8, 8, 8))), 17),
    HrnetLayout((StageLayout(1, (2, 2, 2), (6, 10, 18)),), 17),
    HrnetLayout((StageLayout(1, (2,), (6,)), StageLayout(3, (1, 1, 1, 1), (6, 7, 8, 9))), 26),
]


def reference_weight(key: str, shape: list[int]) -> NDArray[Any]:
    """The fixed weights of gt/reference_nets, as its README.md makes them."""
    z = np.asarray(np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape), np.float32)
    if key.endswith("num_batches_tracked"):
        return np.zeros((), np.int64)
    if key.endswith("running_var"):
        return 1 + 0.1 * np.abs(z)
    if len(shape) > 1:
        return (z * np.sqrt(1 / np.prod(shape[1:]))).astype(np.float32)
    return 0.5 * (1 + 0.1 * z) if key.endswith(".weight") else 0.1 * z


def shapes_of(layout: HrnetLayout) -> dict[str, Any]:
    with torch.device("meta"):
        return HRNet(layout).state_dict()


def random_hrnet(layout: HrnetLayout, seed: int = 0) -> HRNet:
    torch.manual_seed(seed)
    return HRNet(layout).eval()


@pytest.fixture
def experiment() -> dict[str, Any]:
    """The MODEL block of the authors' HRNet-W32 for MPII."""
    extra: dict[str, Any] = {"FINAL_CONV_KERNEL": 1, "PRETRAINED_LAYERS": ["conv1", "bn1"]}
    for stage, modules in ((2, 1), (3, 4), (4, 3)):
        extra[f"STAGE{stage}"] = {
            "NUM_MODULES": modules,
            "NUM_BRANCHES": stage,
            "BLOCK": "BASIC",
            "NUM_BLOCKS": [4] * stage,
            "NUM_CHANNELS": [32 << branch for branch in range(stage)],
            "FUSE_METHOD": "SUM",
        }
    sizes = {"IMAGE_SIZE": [256, 256], "HEATMAP_SIZE": [64, 64], "SIGMA": 2}
    return {"NAME": "pose_hrnet", "NUM_JOINTS": 16, "TARGET_TYPE": "gaussian", **sizes, "EXTRA": extra}


@pytest.mark.assets
@pytest.mark.parametrize(("name", "layout"), REFERENCES)
def test_keys_shapes_and_outputs_are_the_references(assets: Path, name: str, layout: HrnetLayout) -> None:
    folder = assets / "gt" / "reference_nets"
    shapes = json.loads((folder / f"{name}.keys.json").read_text())
    tensors = {key: torch.from_numpy(reference_weight(key, shape)) for key, shape in shapes.items()}
    assert layout_of_tensors(tensors, layout.size) == layout
    network = build_hrnet(tensors, layout)
    assert [(key, list(value.shape)) for key, value in network.state_dict().items()] == list(shapes.items())
    crops = np.random.RandomState(0).standard_normal((1, 3, *layout.size)).astype("f4")
    with torch.inference_mode():
        heatmaps = network(torch.from_numpy(crops)).numpy()
    wanted = np.load(folder / f"{name}.npz")["output"]
    assert heatmaps.shape == wanted.shape
    assert np.linalg.norm(heatmaps - wanted) < 1e-4 * np.linalg.norm(wanted)
    assert not network.training


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_read_back_from_its_tensors(layout: HrnetLayout) -> None:
    assert layout_of_tensors(shapes_of(layout)) == layout


@pytest.mark.parametrize("layout", LAYOUTS[5:])
@pytest.mark.parametrize("size", [(64, 96), (32, 32)])
def test_heat_maps_are_a_quarter_of_any_whole_input(layout: HrnetLayout, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        heatmaps = random_hrnet(layout)(torch.zeros(2, 3, *size))
    assert heatmaps.shape == (2, layout.joints, size[0] // 4, size[1] // 4)


def test_crops_of_a_batch_do_not_touch_one_another() -> None:
    network = random_hrnet(TINY)
    crops = torch.randn(3, 3, 64, 48)
    with torch.inference_mode():
        together = network(crops)
        alone = torch.cat([network(crop[None]) for crop in crops])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(together[0], together[1])


def test_every_parameter_takes_part() -> None:
    for layout in LAYOUTS[5:]:
        network = HRNet(layout)
        network(torch.randn(2, 3, 64, 64)).square().mean().backward()
        idle = [name for name, parameter in network.named_parameters() if parameter.grad is None]
        assert idle == []


@pytest.mark.parametrize(
    "rename",
    [
        lambda key: key,
        lambda key: ("keypoint_head." if key.startswith("final_layer") else "backbone.") + key,
        lambda key: ("head." if key.startswith("final_layer") else "backbone.") + key,
        lambda key: (
            "keypoint_head." + key.replace("final_layer.", "final_layer.0.")
            if key.startswith("final_layer")
            else "backbone." + key
        ),
        lambda key: "module." + key,
    ],
    ids=["reference", "mmpose 0", "mmpose 1", "mmpose, listed", "module."],
)
def test_checkpoints_of_every_layout_load(tmp_path: Path, rename: Callable[[str], str]) -> None:
    network = random_hrnet(TINY)
    named = {rename(key): value for key, value in network.state_dict().items()}
    torch.save({"state_dict": named, "meta": {"epoch": 210}}, tmp_path / "a.pth")
    loaded = build_hrnet(read_tensors(tmp_path / "a.pth"))
    crops = torch.randn(1, 3, 64, 48)
    with torch.inference_mode():
        assert torch.equal(loaded(crops), network(crops))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda named: named.pop("bn2.bias"), "1 missing: bn2.bias"),
        (lambda named: named.update({"backbone.more": torch.zeros(1)}), "1 unknown: more"),
        (lambda named: named.update({"bn1.weight": torch.zeros(9)}), r"1 unlike: bn1.weight \(9,\) for \(8,\)"),
        (lambda named: named.pop("final_layer.weight"), "wanted a convolution final_layer.weight, got none"),
        (lambda named: named.update({"conv1.weight": torch.zeros(8)}), r"conv1.weight, got conv1.weight \(8,\)"),
        (lambda named: named.update({"final_layer.weight": torch.zeros(5, 4, 7, 7)}), "final kernel of 1 or 3"),
        (lambda named: named.update({"backbone.bn1.weight": torch.zeros(8)}), "holds tensors twice"),
        (lambda named: named.clear(), "wanted a convolution conv1.weight"),
    ],
)
def test_tensors_that_make_no_hrnet_are_refused(change: Callable[[dict[str, Any]], object], message: str) -> None:
    named = dict(random_hrnet(TINY).state_dict())
    change(named)
    with pytest.raises(EngineError, match=message):
        build_hrnet(named)


def test_another_layout_than_the_checkpoints_is_refused() -> None:
    with pytest.raises(EngineError, match=r"2 unlike: final_layer.weight \(5, 4, 1, 1\) for \(16, 4, 1, 1\)"):
        build_hrnet(random_hrnet(TINY).state_dict(), HrnetLayout(TINY.stages, 16, stem=8, stem_blocks=1))


def test_the_experiment_of_the_authors_is_w32_mpii(experiment: dict[str, Any]) -> None:
    assert layout_of_experiment(experiment) == layout_w(32, 16, (256, 256))


@pytest.mark.assets
def test_the_experiment_of_the_folder_workflow_is_w32_mpii(assets: Path) -> None:
    text = (assets / "workflow" / "w32_256x256_adam_lr1e-3.yaml").read_text()
    assert layout_of_experiment(yaml.safe_load(text)["MODEL"]) == layout_w(32, 16, (256, 256))


def test_sizes_of_an_experiment_are_width_first(experiment: dict[str, Any]) -> None:
    experiment.update(IMAGE_SIZE=[288, 384], HEATMAP_SIZE=[72, 96])
    experiment["EXTRA"]["FINAL_CONV_KERNEL"] = 3
    layout = layout_of_experiment(experiment)
    assert layout.size == (384, 288)
    assert layout.final_kernel == 3


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (["NAME"], "pose_resnet", r"MODEL\.NAME must be pose_hrnet, got 'pose_resnet'"),
        (["NUM_JOINTS"], 0, r"MODEL\.NUM_JOINTS must be a whole number above 0, got 0"),
        (["NUM_JOINTS"], "16", r"MODEL\.NUM_JOINTS must be a whole number above 0, got '16'"),
        (["NUM_JOINTS"], True, r"MODEL\.NUM_JOINTS must be a whole number above 0, got True"),
        (["IMAGE_SIZE"], [256], r"MODEL\.IMAGE_SIZE must be 2 whole numbers above 0, got \[256\]"),
        (["IMAGE_SIZE"], None, r"MODEL\.IMAGE_SIZE must be 2 whole numbers"),
        (["IMAGE_SIZE"], [256, 250], r"MODEL\.HEATMAP_SIZE must be a quarter of IMAGE_SIZE, \[64, 62\]"),
        (["HEATMAP_SIZE"], [64, 48], r"MODEL\.HEATMAP_SIZE must be a quarter of IMAGE_SIZE, \[64, 64\]"),
        (["EXTRA"], None, r"MODEL\.EXTRA must be a block of keys, got None"),
        (["EXTRA", "FINAL_CONV_KERNEL"], 2, r"MODEL\.EXTRA\.FINAL_CONV_KERNEL must be 1 or 3, got 2"),
        (["EXTRA", "STAGE3"], [], r"MODEL\.EXTRA\.STAGE3 must be a block of keys, got \[\]"),
        (["EXTRA", "STAGE2", "BLOCK"], "SLIM", r"STAGE2\.BLOCK must be BASIC or BOTTLENECK, got 'SLIM'"),
        (["EXTRA", "STAGE2", "BLOCK"], [], r"STAGE2\.BLOCK must be BASIC or BOTTLENECK, got \[\]"),
        (["EXTRA", "STAGE2", "FUSE_METHOD"], "CAT", r"STAGE2\.FUSE_METHOD must be SUM, got 'CAT'"),
        (["EXTRA", "STAGE4", "NUM_MODULES"], 1.5, r"STAGE4\.NUM_MODULES must be a whole number above 0, got 1\.5"),
        (["EXTRA", "STAGE4", "NUM_BLOCKS"], [4, 4], r"STAGE4\.NUM_BLOCKS must be 4 whole numbers above 0"),
        (["EXTRA", "STAGE4", "NUM_CHANNELS"], [8, 8, 8, 0], r"STAGE4\.NUM_CHANNELS must be 4 whole numbers above 0"),
    ],
)
def test_wrong_values_of_an_experiment_are_named(
    experiment: dict[str, Any], keys: list[str], value: object, message: str
) -> None:
    block = experiment
    for key in keys[:-1]:
        block = block[key]
    block[keys[-1]] = value
    with pytest.raises(ValueError, match=message):
        layout_of_experiment(experiment)


def test_an_experiment_whose_coarsest_branch_is_not_whole_is_refused(experiment: dict[str, Any]) -> None:
    experiment.update(IMAGE_SIZE=[240, 240], HEATMAP_SIZE=[60, 60])
    with pytest.raises(ValueError, match=r"MODEL: the input must be a multiple of 32 high and wide, got \(240, 240\)"):
        layout_of_experiment(experiment)


@pytest.mark.parametrize(
    "make",
    [
        lambda: HrnetLayout((), 17),
        lambda: HrnetLayout(TINY.stages[::-1], 17),
        lambda: HrnetLayout(TINY.stages, 0),
        lambda: HrnetLayout(TINY.stages, 17, final_kernel=5),
        lambda: HrnetLayout(TINY.stages, 17, stem=0),
        lambda: HrnetLayout(TINY.stages, 17, (0, 32)),
        lambda: StageLayout(0, (1,), (4,)),
        lambda: StageLayout(1, (), ()),
        lambda: StageLayout(1, (1, 1), (4,)),
        lambda: layout_w(0, 17),
    ],
)
def test_impossible_layouts_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"must be|needs"):
        make()
