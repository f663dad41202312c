"""The torch backend on the device: replayed graphs against the network itself, in every batch size there is a graph of.

The cases on "cpu", where there are no graphs, check the test itself where there is no GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engines.backends.base import Backend, EngineError, open_backend
from engines.backends.swapped import BackgroundBuild, SwappedBackend
from engines.buckets import BUCKETS
from engines.nets.hrnet import HRNet
from engines.nets.hrnet_layout import HrnetLayout, StageLayout
from engines.nets.samples import HRNETS, save_checkpoint

SIZE = (64, 48)
ODD = (3, 37, 64)
"""Batches between the buckets, and beyond the largest."""
WAYS = ["cpu fp32", *(pytest.param(f"cuda:0 {name}", marks=pytest.mark.gpu) for name in ("fp32", "fp16", "bf16"))]
BOUNDS = {"fp32": 2e-3, "fp16": 0.02, "bf16": 0.05}
"""Relative L2 of heat maps against fp32 by the CPU; convolutions in fp32 may be done in TF32 on a GPU."""


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """An HRNet of two branches, small enough for a CPU."""
    torch.manual_seed(0)
    return HRNet(HrnetLayout((StageLayout(1, (1, 1), (8, 16)),), joints=17, stem=16, stem_blocks=1)).eval()


@pytest.fixture(scope="module")
def checkpoint(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "small.pth"
    save_checkpoint(network, path)
    return path


def opened(checkpoint: Path, device: str, precision: str, size: tuple[int, int] = SIZE) -> Any:
    return open_backend(checkpoint, input_size=size, backend="torch", device=device, precision=precision)


@pytest.fixture(params=WAYS)
def backend(request: pytest.FixtureRequest, checkpoint: Path) -> Iterator[Any]:
    device, precision = request.param.split()
    with closing(opened(checkpoint, device, precision)) as one:
        yield one


def noise(rows: int, device: str, seed: int = 0) -> Tensor:
    return torch.randn((rows, 3, *SIZE), generator=torch.Generator().manual_seed(seed)).to(device)


def by_cpu(network: nn.Module, batch: Tensor) -> Tensor:
    with torch.inference_mode():
        given: Tensor = network(batch.cpu().float())
    return given


def distance(got: Tensor, wanted: Tensor) -> float:
    return float((got.cpu() - wanted).norm() / wanted.norm())


def bound(backend: Backend) -> float:
    return next(value for precision, value in BOUNDS.items() if precision in backend.name)


@pytest.mark.parametrize("rows", [*BUCKETS, *ODD])
def test_every_batch_is_computed_as_by_the_network_itself(backend: Any, network: nn.Module, rows: int) -> None:
    for seed in range(2):  # a graph that kept its first input would give it again
        batch = noise(rows, backend.device, seed)
        (got,) = backend.infer_tensors(batch)
        assert (tuple(got.shape), got.dtype, got.device) == ((rows, 17, 16, 12), torch.float32, batch.device)
        assert distance(got, by_cpu(network, batch)) <= bound(backend)


def test_no_later_call_overwrites_what_was_given(backend: Any) -> None:
    (first,) = backend.infer_tensors(noise(4, backend.device, 1))
    kept = first.clone()
    backend.infer_tensors(noise(4, backend.device, 2))
    assert torch.equal(first, kept)


def test_arrays_and_tensors_give_the_same(backend: Any) -> None:
    batch = noise(5, backend.device)
    (of_tensors,) = backend.infer_tensors(batch)
    (of_arrays,) = backend.infer(batch.cpu().numpy())
    np.testing.assert_allclose(of_arrays, of_tensors.cpu().numpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("device", "second"), [("cpu", "bf16"), pytest.param("cuda:0", "fp16", marks=pytest.mark.gpu)])
def test_it_is_built_on_a_thread_while_another_serves(
    checkpoint: Path, network: nn.Module, device: str, second: str
) -> None:
    batch = noise(2, device)
    wanted = by_cpu(network, batch)

    def build(say: Any) -> SimpleNamespace:
        return SimpleNamespace(backend=opened(checkpoint, device, second))

    first = opened(checkpoint, device, "fp32")
    said: list[str] = []
    with closing(SwappedBackend(first, BackgroundBuild(build, said.append), said.append, "pose")) as backend:
        served = 0
        while second not in backend.name:
            (got,) = backend.infer_tensors(batch)
            assert distance(got, wanted) <= BOUNDS[second]
            served += 1
            assert served < 100_000
    assert len(said) == 1
    assert "from now on" in said[0]


@pytest.mark.gpu
@pytest.mark.parametrize("rows", [*BUCKETS, *ODD])
def test_the_host_never_waits(checkpoint: Path, rows: int) -> None:
    with closing(opened(checkpoint, "cuda:0", "fp16")) as backend:
        batch = noise(rows, "cuda:0")
        backend.infer_tensors(batch)
        torch.cuda.set_sync_debug_mode("error")
        try:
            backend.infer_tensors(batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
def test_it_runs_on_the_current_stream(checkpoint: Path, network: nn.Module) -> None:
    with closing(opened(checkpoint, "cuda:0", "fp32")) as backend:
        plain = noise(8, "cuda:0")
        wanted = by_cpu(network, plain)
        torch.cuda.synchronize()
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            torch.cuda._sleep(50_000_000)  # some 30 ms, after which the batch is first there
            batch = torch.zeros_like(plain)
            batch.copy_(plain)
            (got,) = backend.infer_tensors(batch)
            got = got + 0
        stream.synchronize()
        assert distance(got, wanted) <= BOUNDS["fp32"]


@pytest.mark.gpu
@pytest.mark.parametrize("sample", HRNETS, ids=lambda sample: sample.name)
def test_the_published_networks_in_fp16_are_within_the_guards_bar(sample: Any, tmp_path: Path) -> None:
    network = sample.network()
    path = tmp_path / "network.pth"
    save_checkpoint(network, path)
    batch = torch.randn((2, 3, *sample.size), generator=torch.Generator().manual_seed(0))
    with closing(opened(path, "cuda:0", "fp16", sample.size)) as backend:
        (got,) = backend.infer_tensors(batch.cuda())
    assert distance(got, by_cpu(network, batch)) <= BOUNDS["fp16"]


@pytest.mark.gpu
def test_a_gpu_that_is_not_there_is_an_error(checkpoint: Path) -> None:
    with pytest.raises(EngineError, match="cuda:77"):
        opened(checkpoint, "cuda:77", "fp16")
