"""Engines on a GPU: every batch size against ONNX Runtime on the CPU, replays again and again, nobody waiting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engines.backends.base import open_backend
from engines.backends.tensorrt_backend import TensorRtBackend
from engines.backends.tensorrt_opening import open_tensorrt
from engines.buckets import BUCKETS
from engines.engine_cache import FOLDER

pytestmark = pytest.mark.gpu

ODD = (3, 37, 64)
"""Batches between the buckets, and beyond the largest."""
BOUNDS = {"fp32": 2e-3, "fp16": 0.02}
"""Relative L2 of heat maps against fp32 by the CPU, the second as the guard has it."""


@pytest.fixture(scope="module")
def tinypose(assets: Path) -> Path:
    return assets / "models/tinypose_256x192_dyn.onnx"


@pytest.fixture(params=list(BOUNDS))
def backend(
    request: pytest.FixtureRequest, tinypose: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TensorRtBackend]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        patch.setenv("LOCALAPPDATA", str(tmp_path_factory.getbasetemp() / "cache"))
        try:
            opened = open_tensorrt(tinypose, None, request.param, "cuda:0")
        except ImportError as error:
            pytest.skip(str(error))
        with closing(opened):
            yield opened


def pictures(rows: int) -> NDArray[np.float32]:
    return np.random.default_rng(rows).normal(0, 1, (rows, 3, 256, 192)).astype(np.float32)


def relative(got: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))


def test_every_batch_size_gives_what_the_cpu_gives(backend: TensorRtBackend, tinypose: Path) -> None:
    bound = BOUNDS[backend.name.split()[-1]]
    with closing(open_backend(tinypose, backend="onnxruntime", device="cpu", precision="fp32")) as reference:
        for rows in (*BUCKETS, *ODD):
            (got,), (wanted,) = backend.infer(pictures(rows)), reference.infer(pictures(rows))
            assert got.shape == wanted.shape
            assert relative(got, wanted) <= bound


def test_replays_give_the_same_again_and_leave_outputs_alone(backend: TensorRtBackend) -> None:
    batch = torch.from_numpy(pictures(32)).cuda()
    (first,) = backend.infer_tensors(batch)
    kept = first.clone()
    for _ in range(20):
        (again,) = backend.infer_tensors(batch)
    backend.infer_tensors(batch + 1)
    torch.testing.assert_close(again, kept, rtol=0, atol=0)
    torch.testing.assert_close(first, kept, rtol=0, atol=0)


def test_a_batch_on_another_stream_follows_the_one_before(backend: TensorRtBackend) -> None:
    batch = torch.from_numpy(pictures(32)).cuda()
    (wanted,) = backend.infer_tensors(batch)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    backend.infer_tensors(batch * 3)
    with torch.cuda.stream(stream):
        (got,) = backend.infer_tensors(batch)
    torch.cuda.synchronize()
    torch.testing.assert_close(got, wanted, rtol=0, atol=0)


def test_nobody_waits_for_the_device(backend: TensorRtBackend) -> None:
    batch = torch.from_numpy(pictures(8)).cuda()
    backend.infer_tensors(batch)
    torch.cuda.set_sync_debug_mode("error")
    try:
        backend.infer_tensors(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_the_second_start_builds_nothing(
    backend: TensorRtBackend, tinypose: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines: list[str] = []
    precision = backend.name.split()[-1]
    with closing(open_tensorrt(tinypose, None, precision, "cuda:0", lines.append)) as again:
        assert lines == []
        assert again.name == backend.name
    engines = (tmp_path_factory.getbasetemp() / "cache" / "posestream" / FOLDER).glob(f"*-{precision}-*.engine")
    assert len(list(engines)) == 1
