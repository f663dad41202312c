"""Checkpoints by torch, on the CPU: in every batch size, in every precision, against ONNX Runtime and the network."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from engines.backends.base import EngineError, TensorSpec, open_backend  # noqa: E402
from engines.backends.torch_backend import TorchBackend  # noqa: E402
from engines.guard import compare  # noqa: E402
from engines.images import on_device  # noqa: E402
from engines.nets.hrnet import HRNet  # noqa: E402
from engines.nets.hrnet_layout import HrnetLayout, StageLayout  # noqa: E402
from engines.nets.samples import save_checkpoint  # noqa: E402
from engines.nets.to_onnx import run_network, to_onnx  # noqa: E402
from engines.nets.yolox import Yolox  # noqa: E402

SIZE = (32, 64)
LAYOUT = HrnetLayout(
    (StageLayout(1, (2, 1), (8, 16)), StageLayout(1, (1, 1, 1), (8, 16, 32))), 17, stem=16, stem_blocks=1
)
SIXTEEN_BITS = 0.02
"""The guard's bar."""


def hrnet() -> nn.Module:
    torch.manual_seed(0)
    return settled(HRNet(LAYOUT))


def yolox_nano() -> nn.Module:
    torch.manual_seed(0)
    return settled(Yolox(0.33, 0.25, depthwise=True, classes=1))


def settled(network: nn.Module) -> nn.Module:
    """In eval mode, with normalisations that do something."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.2, 0.2)
            nn.init.uniform_(layer.running_var, 0.5, 2)
    return network.eval()


def pictures(rows: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 1, (rows, 3, *SIZE)).astype(np.float32)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return hrnet()


@pytest.fixture(scope="module")
def backend(network: nn.Module) -> Iterator[TorchBackend]:
    with closing(TorchBackend(network, "small.pth", SIZE, device="cpu")) as one:
        yield one


@pytest.fixture(scope="module")
def checkpoint(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "small.pth"
    save_checkpoint(network, path)
    return path


@pytest.mark.parametrize("make", [hrnet, yolox_nano])
def test_it_agrees_with_onnx_runtime(make: Callable[[], nn.Module], tmp_path: Path) -> None:
    module, batch = make(), pictures(3)
    path = tmp_path / "net.onnx"
    path.write_bytes(to_onnx(module, pictures(2), "output").SerializeToString())
    with closing(open_backend(path, backend="onnxruntime", precision="fp32")) as reference:
        (wanted,) = reference.infer(batch)
    with closing(TorchBackend(module, "net", SIZE, "fp32", "cpu")) as ours:
        (got,) = ours.infer(batch)
    difference = compare(got, wanted)
    assert difference.relative <= 1e-4
    assert difference.largest <= 1e-4


@pytest.mark.parametrize("rows", [1, 2, 3, 8, 9, 32, 33, 70])
def test_any_number_of_rows_comes_back_in_order(backend: TorchBackend, network: nn.Module, rows: int) -> None:
    batch = pictures(rows)
    (got,) = backend.infer(batch)
    assert (got.shape, got.dtype, got.flags.c_contiguous) == ((rows, 17, 8, 16), np.float32, True)
    np.testing.assert_allclose(got, run_network(network, batch), rtol=0, atol=1e-5)


def test_rows_of_an_earlier_batch_leave_no_trace(backend: TorchBackend, network: nn.Module) -> None:
    backend.infer(np.full((4, 3, *SIZE), np.nan, np.float32))
    (got,) = backend.infer(pictures(3))  # in the place of four
    np.testing.assert_allclose(got, run_network(network, pictures(3)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 3, 33])
def test_later_calls_leave_outputs_alone(backend: TorchBackend, rows: int) -> None:
    (array,), (tensor,) = backend.infer(pictures(rows, 1)), backend.infer_tensors(torch.from_numpy(pictures(rows, 1)))
    kept = array.copy()
    backend.infer(pictures(rows, 2))
    np.testing.assert_array_equal(array, kept)
    np.testing.assert_array_equal(tensor.numpy(), kept)


def test_tensors_in_and_out_are_ordinary_ones(backend: TorchBackend) -> None:
    batch = torch.from_numpy(pictures(3)).contiguous(memory_format=torch.channels_last)
    before = batch.clone()
    (got,) = backend.infer_tensors(batch)
    assert (got.dtype, str(got.device), got.is_contiguous()) == (torch.float32, backend.device, True)
    assert not got.requires_grad
    got += 1  # what was computed in torch's inference mode could not be written to
    assert torch.equal(batch, before)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("make", [hrnet, yolox_nano])
def test_sixteen_bits_are_within_the_guards_bar(make: Callable[[], nn.Module], precision: str) -> None:
    module, batch = make(), pictures(2)
    with closing(TorchBackend(module, "net", SIZE, precision, "cpu")) as backend:
        assert backend.name == f"torch CPU {precision}"
        (got,) = backend.infer(batch)
    difference = compare(got, run_network(module, batch))
    assert 0 < difference.relative <= SIXTEEN_BITS
    assert got.dtype == np.float32


def test_the_network_it_is_given_is_left_as_it_was(network: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with closing(TorchBackend(network, "net", SIZE, "bf16", "cpu")) as backend:
        backend.infer(pictures(1))
    after = network.state_dict()
    assert after.keys() == before.keys()
    assert all(tensor.dtype == before[name].dtype for name, tensor in after.items())
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())


def test_it_is_known_as_one_that_takes_tensors(backend: TorchBackend) -> None:
    assert on_device(backend) is backend
    assert (backend.device, backend.name) == ("cpu", "torch CPU fp32")
    assert backend.inputs == (TensorSpec("image", (None, 3, *SIZE), "float32"),)
    assert backend.outputs == (TensorSpec("output", (None, 17, 8, 16), "float32"),)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (np.zeros((1, 3, 64, 64), np.float32), r"batch must be \(N, 3, 32, 64\), got \(1, 3, 64, 64\)"),
        (np.zeros((1, 3, *SIZE)), "batch must be float32, got float64"),
        (np.zeros((0, 3, *SIZE), np.float32), "batch must be one row or more, got 0"),
    ],
)
def test_an_array_of_another_form_is_refused(backend: TorchBackend, batch: NDArray[np.float32], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        backend.infer(batch)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (torch.zeros(3, *SIZE), r"batch must be \(N, 3, 32, 64\), got \(3, 32, 64\)"),
        (torch.zeros(1, 3, *SIZE).half(), r"batch must be float32 on cpu, got torch\.float16 on cpu"),
        (torch.zeros(1, 3, *SIZE, device="meta"), r"batch must be float32 on cpu, got torch\.float32 on meta"),
        (torch.zeros(0, 3, *SIZE), "batch must be one row or more, got 0"),
    ],
)
def test_a_tensor_of_another_form_is_refused(backend: TorchBackend, batch: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        backend.infer_tensors(batch)


def test_a_closed_model_says_so(checkpoint: Path) -> None:
    backend = open_backend(checkpoint, input_size=SIZE, device="cpu")
    backend.close()
    backend.close()
    with pytest.raises(EngineError, match=r"small\.pth: the model was closed; open it again"):
        backend.infer(pictures(1))


def test_a_checkpoint_is_run_by_torch_whether_it_is_named_or_not(checkpoint: Path, network: nn.Module) -> None:
    for name in ("torch", "auto"):
        with closing(open_backend(checkpoint, input_size=SIZE, backend=name, device="cpu")) as backend:
            assert backend.name == "torch CPU fp32"
            (got,) = backend.infer(pictures(2))
        np.testing.assert_allclose(got, run_network(network, pictures(2)), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_size": None}, r"small\.pth: its input size is free; say which with --imgsz"),
        ({"precision": "int8"}, "precision int8: torch computes in fp32, fp16, bf16 here"),
        ({"device": "cuda:77"}, "device cuda:77: torch .* has . GPUs here"),
        (
            {"input_size": (30, 50)},
            r"small\.pth: torch cannot run it on cpu for 30x50 \(height x width\): .*another size",
        ),
    ],
)
def test_wishes_that_cannot_be_met_are_refused(checkpoint: Path, options: dict[str, object], message: str) -> None:
    wishes = {"input_size": SIZE, "device": "cpu", **options}
    with pytest.raises(EngineError, match=message):
        open_backend(checkpoint, backend="torch", **wishes)  # type: ignore[arg-type]


def test_an_onnx_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"weights")
    with pytest.raises(EngineError, match=r"net\.onnx: torch runs checkpoints, not ONNX; name the checkpoint"):
        open_backend(tmp_path / "net.onnx", input_size=SIZE, backend="torch")


def test_without_torch_it_says_what_is_missing(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(EngineError, match=r"backend torch is not installed \(.*\); pip install torch"):
        open_backend(checkpoint, input_size=SIZE, device="cpu")
