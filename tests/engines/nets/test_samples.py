from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engines.nets.read import read_network
from engines.nets.samples import HRNETS, YOLOXES, Sample, save_checkpoint


@pytest.mark.parametrize("sample", [HRNETS[0], YOLOXES[0]], ids=lambda sample: sample.name)
def test_a_sample_saved_is_read_as_the_network_it_is(sample: Sample, tmp_path: Path) -> None:
    network = sample.network()
    save_checkpoint(network, tmp_path / "sample.pth")
    read = read_network(tmp_path / "sample.pth", None)
    assert read.family == ("heatmap" if sample in HRNETS else "yolox")
    picture = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        wanted = network(picture)
        assert torch.equal(read.module(picture), wanted)
    assert torch.isfinite(wanted).all()
    assert wanted.std() > 0.01  # a network that gives nothing would agree with any other


def test_weights_are_always_the_same_and_leave_the_random_numbers_of_others_alone() -> None:
    torch.manual_seed(5)
    first = HRNETS[0].network().state_dict()
    after = torch.rand(3)
    second = HRNETS[0].network().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), after)
