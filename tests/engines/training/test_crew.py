"""Processes that train together: each on batches of its own, all with the same weights in the end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from engines.training.crew import SEED_STEP, Crew, crew  # noqa: E402

ROOT = Path(__file__).parents[3]
MEMBER = """
import sys, torch
from torch import nn
from engines.training.crew import crew
with crew() as mates:
    network = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1))
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, float(mates.rank + 1))
    with torch.no_grad():
        network[0].weight.fill_(mates.rank - 3.0)
    mates.share_weights(network)
    network[1].running_mean.fill_(4.0 * mates.rank)
    mates.share_gradients(network)
    mates.share_buffers(network)
    mates.wait()
    print(
        mates.rank, mates.size, mates.is_first, mates.seed(10),
        [float(p.grad.mean()) for p in network.parameters()], float(network[1].running_mean),
        float(network[0].weight.mean()), mates.share_figures({"score": mates.rank * 0.5}),
        mates.is_any(mates.rank == 1), mates.is_any(False), sep="|",
        file=open(f"{sys.argv[1]}/{mates.rank}.txt", "w"),
    )
"""


def test_alone_nothing_is_shared() -> None:
    with crew() as alone:
        assert alone == Crew(0, 1)
    assert alone.is_first
    assert alone.seed(3) == 3
    assert alone.share_figures({"score": 0.25}) == {"score": 0.25}
    assert alone.is_any(True)
    assert not alone.is_any(False)


def test_two_processes_share_weights_gradients_statistics_marks_and_the_wish_to_stop(tmp_path: Path) -> None:
    program = tmp_path / "member.py"
    program.write_text(MEMBER, "utf-8")
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*words, str(program), str(tmp_path)], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    told = [(tmp_path / f"{rank}.txt").read_text("utf-8").strip().split("|") for rank in (0, 1)]
    assert [line[:4] for line in told] == [["0", "2", "True", "10"], ["1", "2", "False", str(10 + SEED_STEP)]]
    assert told[0][4:] == told[1][4:] == ["[1.5, 1.5, 1.5, 1.5]", "2.0", "-3.0", "{'score': 0.25}", "True", "False"]
