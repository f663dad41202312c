"""The GPU's bench as far as a CPU can run it: its arithmetic, its lines, and what it says where there is no GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines.backends.base import TensorSpec
from engines.nets.roofline import Ceilings
from engines.nets.samples import Sample
from stream.bench_gpu import Speed, Subject, speeds, subjects
from stream.cli.bench_gpu import HEADER, ceilings_text, speed_text
from stream.cli.main import main

ROOT = Path(__file__).parents[2]


class OnCpu:
    """A sample as a backend on tensors of the CPU."""

    name = "sample on the CPU"
    device = "cpu"
    outputs = (TensorSpec("maps", (None, 4, None, None), "float32"),)

    def __init__(self, sample: Sample, log: list[str]) -> None:
        self.inputs = (TensorSpec("image", (None, 3, *sample.size), "float32"),)
        self._network = sample.network()
        self._log = log
        log.append(f"open {sample.name}")

    def infer_tensors(self, batch: Tensor) -> tuple[Tensor, ...]:
        with torch.inference_mode():
            return (self._network(batch),)

    def infer(self, batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        raise AssertionError("tensors only")

    def close(self) -> None:
        self._log.append("close")


def test_each_batch_of_each_network_is_timed_against_its_own_floor() -> None:
    def one_layer() -> nn.Module:
        return nn.Conv2d(3, 4, 1, bias=False)

    log: list[str] = []
    two = [Subject(Sample("a", (8, 8), one_layer), (1, 4)), Subject(Sample("b", (8, 16), one_layer), (2,))]
    found = list(speeds(two, Ceilings(rate=1e9, bandwidth=1e6), lambda sample: OnCpu(sample, log)))
    assert [(speed.network, speed.rows) for speed in found] == [("a", 1), ("a", 4), ("b", 2)]
    # 64 pixels: 2 x 4 x 3 operations each; 7 elements each and 12 weights, of 2 bytes, at 1 MB a second.
    assert [speed.operations for speed in found] == [1536, 6144, 6144]
    assert [speed.least_ms for speed in found] == pytest.approx([0.920, 3.608, 3.608])
    assert all(0 < speed.median_ms <= speed.p95_ms * 1.5 for speed in found)
    assert all(speed.waited_ms > 0 for speed in found)
    assert log == ["open a", "close", "open b", "close"]


def test_shares_and_rates_follow_from_the_median() -> None:
    speed = Speed("net", rows=32, median_ms=2.0, p95_ms=2.5, waited_ms=2.2, least_ms=1.2, operations=490_000_000_000)
    assert speed.per_second == 16000
    assert speed.share == pytest.approx(0.6)
    assert speed.rate == pytest.approx(245e12)
    line = speed_text(speed)
    assert line.split() == ["net", "32", "2.000", "2.500", "2.200", "16000", "245.0", "1.200", "60%"]
    assert len(line) == len(HEADER)


def test_ceilings_are_told_in_the_units_of_data_sheets() -> None:
    text = ceilings_text(Ceilings(rate=798e12, bandwidth=3.04e12))
    assert text == "ceilings, measured now: 798 TFLOP/s (matrices in fp16), 3.04 TB/s (a copy, both ways)"


def test_the_networks_and_batches_are_those_of_the_table() -> None:
    assert [(each.sample.name, each.sample.size, each.batches) for each in subjects()] == [
        ("HRNet-W32", (256, 192), (1, 2, 4, 8, 16, 32, 64)),
        ("HRNet-W48", (256, 192), (1, 2, 4, 8, 16, 32, 64)),
        ("YOLOX-s", (640, 640), (1, 2, 4, 8)),
        ("YOLOX-m", (640, 640), (1, 2, 4, 8)),
    ]


def test_neither_a_clip_nor_a_gpu_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench"]) == 2
    assert "nothing to time: name a clip, or --device cuda:0 for the networks, got auto" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_machine_without_a_gpu_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--device", "cuda:0"]) == 1
    assert "device cuda:0: torch" in capsys.readouterr().err


def test_alone_it_needs_what_a_lent_gpu_machine_has() -> None:
    """There are torch, torchvision, OpenCV, numpy, scipy and rich; the rest is made not to be there."""
    program = (
        "import sys, runpy\n"
        "for name in ('av', 'pydantic', 'openvino', 'onnxruntime', 'onnx', 'tensorrt', 'yaml'):\n"
        "    sys.modules[name] = None\n"
        "sys.argv = ['bench_gpu', '--device', 'cuda:99']\n"
        "runpy.run_module('stream.cli.bench_gpu', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr.startswith("error: device cuda:99: torch")
    assert done.returncode == 1


def test_the_ceilings_have_sixteen_bits_and_so_must_the_networks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--device", "cuda:0", "--precision", "fp32"]) == 2
    assert "precision must be fp16 or bf16 on a GPU's bench, got fp32" in capsys.readouterr().err
