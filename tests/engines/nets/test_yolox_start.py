"""A trained YOLOX as the start of another training: unfolded out of an ONNX, and calibrated."""

from __future__ import annotations

from contextlib import closing
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

from engines.backends.base import EngineError, open_backend  # noqa: E402
from engines.nets.samples import save_checkpoint  # noqa: E402
from engines.nets.to_onnx import to_onnx  # noqa: E402
from engines.nets.unfold import balance, calibrate, layers  # noqa: E402
from engines.nets.yolox import Yolox  # noqa: E402
from engines.nets.yolox_start import init_yolox, traced, unfold_yolox  # noqa: E402


def trained(depth: float, width: float, depthwise: bool, classes: int) -> Yolox:
    """A network whose normalisations do something."""
    torch.manual_seed(3)
    network = Yolox(depth, width, depthwise, classes).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                for numbers in (module.weight, module.running_var):
                    numbers.uniform_(0.5, 1.5)
                for numbers in (module.bias, module.running_mean):
                    numbers.normal_(0, 0.2)
    return network


def pictures(rows: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(rows, 3, height, width, generator=torch.Generator().manual_seed(4)) * 255


def run(network: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        given: torch.Tensor = network(batch)
    return given


@pytest.mark.parametrize("variant", [(1.0, 0.0625, False, 3), (0.33, 0.125, True, 1)])
def test_what_we_export_comes_back(tmp_path: Path, variant: tuple[float, float, bool, int]) -> None:
    network = trained(*variant)
    file = tmp_path / "net.onnx"
    batch = pictures(2, 64, 64)
    file.write_bytes(to_onnx(network, batch.numpy(), "output").SerializeToString())
    torch.testing.assert_close(run(unfold_yolox(file), batch), run(network, batch), rtol=1e-4, atol=1e-4)


@pytest.mark.assets
def test_the_published_onnx_gives_the_same_unfolded(assets: Path) -> None:
    file = assets / "models" / "yolox_nano_dynhw.onnx"
    batch = pictures(2, 128, 96).numpy()
    with closing(open_backend(file, input_size=(128, 96), precision="fp32")) as backend:
        (wanted,) = backend.infer(batch)
    got = run(unfold_yolox(file), torch.from_numpy(batch)).numpy()
    assert got.shape == (2, 16 * 12 + 8 * 6 + 4 * 3, 85)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)
    person = run(init_yolox(file), torch.from_numpy(batch)).numpy()
    np.testing.assert_allclose(person, wanted[..., :6], rtol=1e-4, atol=1e-4)


def test_a_checkpoint_is_a_start_too(tmp_path: Path) -> None:
    network = trained(0.33, 0.0625, False, 3)
    save_checkpoint(network, tmp_path / "net.pth")
    batch = pictures(1, 64, 64)
    torch.testing.assert_close(run(init_yolox(tmp_path / "net.pth"), batch), run(network, batch)[..., :6])


def test_calibration_changes_the_statistics_and_not_what_is_given() -> None:
    network = trained(0.33, 0.0625, True, 1)
    other, batches = deepcopy(network), [pictures(2, 64, 64), pictures(1, 64, 64) / 2]
    calibrate(network, batches)
    assert not network.training
    torch.testing.assert_close(run(network, batches[0]), run(other, batches[0]), rtol=1e-4, atol=1e-4)
    convolution, norm = network.backbone.backbone.stem.conv.conv, network.backbone.backbone.stem.conv.bn
    seen = []
    hook = convolution.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    for batch in batches:
        run(network, batch)
    hook.remove()
    flat = torch.cat([output.transpose(0, 1).flatten(1) for output in seen], dim=1)
    torch.testing.assert_close(norm.running_mean, flat.mean(dim=1), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(norm.running_var, flat.var(dim=1, correction=0), rtol=1e-3, atol=1e-3)


def test_balance_makes_all_filters_alike_and_changes_nothing_that_is_given() -> None:
    network = trained(0.33, 0.0625, True, 1)
    with torch.no_grad():
        network.backbone.backbone.stem.conv.conv.weight.div_(100)
        network.head.stems[0].conv.weight[1].zero_()
    other = deepcopy(network)
    balance(layers(network, traced()).values())
    batch = pictures(2, 64, 64)
    torch.testing.assert_close(run(network, batch), run(other, batch), rtol=1e-4, atol=1e-4)
    sizes = network.backbone.backbone.stem.conv.conv.weight.flatten(1).norm(dim=1)
    torch.testing.assert_close(sizes, torch.ones(4))
    assert network.head.stems[0].conv.weight[1].abs().max() == 0


def test_calibrated_on_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="batches must be one or more"):
        calibrate(trained(0.33, 0.0625, True, 1), [])


def test_what_is_no_yolox_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).eval()
    file.write_bytes(to_onnx(network, pictures(2, 8, 8).numpy(), "output").SerializeToString())
    with pytest.raises(EngineError, match=r"net\.onnx: its 1 convolutions are not those of a YOLOX"):
        unfold_yolox(file)
    file.write_bytes(b"no model")
    with pytest.raises(EngineError, match=r"net\.onnx: cannot be read as ONNX"):
        unfold_yolox(file)
    with pytest.raises(FileNotFoundError, match=r"missing\.onnx: no such file"):
        unfold_yolox(tmp_path / "missing.onnx")
