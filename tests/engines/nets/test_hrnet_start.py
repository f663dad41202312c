"""What an HRNet begins with: a checkpoint's weights but for other joints, and what is frozen stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from drawn_people import JOINTS, lesson_of, pack_of, stick_people, tiny_layout  # noqa: E402

from engines.backends.base import EngineError  # noqa: E402
from engines.nets.hrnet import HRNet  # noqa: E402
from engines.nets.hrnet_layout import HrnetLayout, StageLayout, slim_layout  # noqa: E402
from engines.nets.hrnet_start import FINAL, begin, freeze  # noqa: E402
from engines.nets.samples import save_checkpoint  # noqa: E402
from engines.training.loop import Loop, LoopOptions  # noqa: E402

DEEP = HrnetLayout((StageLayout(1, (1, 1), (4, 8)), StageLayout(1, (1, 1), (4, 8))), JOINTS, (64, 48), 1, 8, 1)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Of a tiny network of 7 joints."""
    torch.manual_seed(9)
    save_checkpoint(HRNet(tiny_layout(7)), tmp_path / "seven.pth")
    return tmp_path / "seven.pth"


def weights(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def differing(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


def test_a_checkpoint_of_the_same_joints_is_taken_whole(checkpoint: Path) -> None:
    network = begin(None, 7, checkpoint, seed=1)
    assert network.layout.joints == 7
    torch.manual_seed(9)
    assert differing(weights(network), weights(HRNet(tiny_layout(7)))) == []


def test_other_joints_make_a_new_last_layer_and_keep_all_else(checkpoint: Path) -> None:
    network = begin(None, JOINTS, checkpoint, seed=1)
    torch.manual_seed(9)
    before = weights(HRNet(tiny_layout(7)))
    now = weights(network)
    assert now[f"{FINAL}weight"].shape == (JOINTS, 4, 1, 1)
    assert [name for name in now if now[name].shape != before[name].shape] == [f"{FINAL}weight", f"{FINAL}bias"]
    assert all(torch.equal(now[name], before[name]) for name in now if not name.startswith(FINAL))
    again = weights(begin(None, JOINTS, checkpoint, seed=1))
    assert differing(now, again) == []
    assert differing(now, weights(begin(None, JOINTS, checkpoint, seed=2))) == [f"{FINAL}weight", f"{FINAL}bias"]


def test_a_layout_takes_the_joints_that_are_wanted_and_must_be_the_checkpoints(checkpoint: Path) -> None:
    network = begin(tiny_layout(7), JOINTS, checkpoint, seed=1)
    assert (network.layout.joints, network.layout.size) == (JOINTS, (64, 48))
    with pytest.raises(EngineError, match=r"seven\.pth: the checkpoint does not fit"):
        begin(DEEP, JOINTS, checkpoint, seed=1)


def test_from_nothing_it_is_slim_and_the_seed_decides_and_nothing_elses_chance_is_taken() -> None:
    state = torch.get_rng_state()
    first, same, other = (weights(begin(tiny_layout(), JOINTS, None, seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert differing(first, same) == []
    assert "conv1.weight" in differing(first, other)
    slim = slim_layout(17)
    assert [(stage.modules, stage.blocks, stage.channels) for stage in slim.stages] == [
        (1, (2, 2), (16, 32)),
        (2, (2, 2, 2), (16, 32, 64)),
        (2, (2, 2, 2, 2), (16, 32, 64, 128)),
    ]
    assert (slim.size, slim.stem, slim.stem_blocks) == (None, 32, 1)


def test_what_is_frozen_stays_as_it_is_with_its_statistics(tmp_path: Path) -> None:
    network = begin(DEEP, JOINTS, None, seed=0)
    frozen = freeze(network, "backbone")
    learning = [name for name, child in network.named_children() if child not in frozen]
    assert learning == ["stage3", "final_layer"]
    before = weights(network)
    lesson = lesson_of(network, pack_of(stick_people(4)), frozen=frozen)
    Loop(lesson, LoopOptions(2, rate=0.01, warm_up=0, precision="fp32"), tmp_path).run(lambda *_: None)
    changed = differing(before, weights(network))
    assert {name.split(".")[0] for name in changed} == {"stage3", "final_layer"}
    means = [name for name in before if name.endswith("running_mean")]
    assert [name for name in means if name in changed] == [name for name in means if name.startswith("stage3.")]


def test_a_frozen_stem_is_all_of_one_resolution() -> None:
    network = begin(DEEP, JOINTS, None, seed=0)
    frozen = freeze(network, "stem")
    learning = [name for name, child in network.named_children() if child not in frozen]
    assert learning == ["relu", "transition1", "stage2", "transition2", "stage3", "final_layer"]
    assert {name.split(".")[0] for name, weight in network.named_parameters() if not weight.requires_grad} == {
        "conv1", "bn1", "conv2", "bn2", "layer1",
    }  # fmt: skip


def test_without_freezing_the_statistics_of_all_move(tmp_path: Path) -> None:
    network = begin(DEEP, JOINTS, None, seed=0)
    before = weights(network)
    lesson = lesson_of(network, pack_of(stick_people(4)))
    Loop(lesson, LoopOptions(1, precision="fp32"), tmp_path).run(lambda *_: None)
    assert {"bn1.running_mean", "conv1.weight"} <= set(differing(before, weights(network)))


def test_a_checkpoint_that_is_none_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.from_numpy(np.zeros(3))}, tmp_path / "other.pth")
    with pytest.raises(EngineError, match="no HRNet"):
        begin(None, JOINTS, tmp_path / "other.pth", seed=0)
    with pytest.raises(FileNotFoundError):
        begin(None, JOINTS, tmp_path / "absent.pth", seed=0)


@pytest.mark.parametrize("is_compact", [False, True], ids=["fp32", "fp16 weights"])
def test_an_onnx_of_ours_is_a_start_that_gives_the_same(tmp_path: Path, is_compact: bool) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    from engines.compact import compact
    from engines.nets.to_onnx import run_network, to_onnx

    torch.manual_seed(5)
    network = HRNet(slim_layout(JOINTS, (64, 64), width=4)).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 1.5)
    crops = np.random.default_rng(0).normal(0, 1, (2, 3, 64, 64)).astype(np.float32)
    model = to_onnx(network, crops, "heatmaps")
    if is_compact:
        assert compact(model) > 0
    onnx.save(model, tmp_path / "own.onnx")
    begun = begin(None, JOINTS, tmp_path / "own.onnx", seed=0).eval()
    assert begun.layout == slim_layout(JOINTS, None, width=4)
    wanted = run_network(network, crops)
    tolerance = 0.01 if is_compact else 1e-4
    np.testing.assert_allclose(run_network(begun, crops), wanted, atol=tolerance * np.abs(wanted).max())
    sizes = begun.layer1[0].conv2.weight.flatten(1).norm(dim=1)
    torch.testing.assert_close(sizes, torch.ones_like(sizes))  # balanced, for Adam


def test_an_onnx_of_something_else_is_no_start(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    from engines.nets.to_onnx import to_onnx

    small = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).eval()
    onnx.save(to_onnx(small, np.zeros((2, 3, 8, 8), np.float32), "output"), tmp_path / "other.onnx")
    with pytest.raises(EngineError, match=r"other\.onnx: its 1 convolutions are no HRNet's"):
        begin(None, JOINTS, tmp_path / "other.onnx", seed=0)


def test_an_onnx_of_other_wide_convolutions_is_refused_without_its_width_being_built(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from onnx import helper, numpy_helper

    shapes = [(4, 4, 1, 1)] * 24 + [(JOINTS, 9999, 1, 1)]
    held = [numpy_helper.from_array(np.zeros(shape, np.float32), f"w{i}") for i, shape in enumerate(shapes)]
    held += [numpy_helper.from_array(np.zeros(shape[0], np.float32), f"b{i}") for i, shape in enumerate(shapes)]
    nodes = [helper.make_node("Conv", [f"x{i}", f"w{i}", f"b{i}"], [f"x{i + 1}"]) for i in range(len(shapes))]
    onnx.save(helper.make_model(helper.make_graph(nodes, "wide", [], [], held)), tmp_path / "wide.onnx")
    with pytest.raises(EngineError, match=r"wide\.onnx: its 25 convolutions are no HRNet's"):
        begin(None, JOINTS, tmp_path / "wide.onnx", seed=0)


@pytest.mark.parametrize("of", ["classification", "backbone"])
def test_a_backbone_trained_for_something_else_is_a_start(tmp_path: Path, of: str) -> None:
    torch.manual_seed(3)
    trained = {name: tensor for name, tensor in HRNet(DEEP).state_dict().items() if not name.startswith(FINAL)}
    others = {"stage3.0.fuse_layers.1.0.0.0.weight": torch.zeros(8, 4, 3, 3)}
    if of == "classification":
        others |= {"incre_modules.0.0.conv1.weight": torch.zeros(4, 4, 1, 1), "classifier.weight": torch.zeros(5, 9)}
        others |= {"final_layer.0.weight": torch.zeros(9, 8, 1, 1), "downsamp_modules.0.0.bias": torch.zeros(8)}
    torch.save({**trained, **others}, tmp_path / "pretrained.pth")
    now = weights(begin(None, JOINTS, tmp_path / "pretrained.pth", seed=1))
    assert differing({**trained, **{name: now[name] for name in now if name not in trained}}, now) == []
    assert [name for name in now if name not in trained] == [f"{FINAL}weight", f"{FINAL}bias"]
    assert now[f"{FINAL}weight"].shape == (JOINTS, 4, 1, 1)
