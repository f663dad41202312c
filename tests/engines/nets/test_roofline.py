from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from engines.nets.hrnet import HRNet, layout_w
from engines.nets.roofline import Ceilings, Layer, layers_of, least_ms
from engines.nets.yolox import Yolox


class Small(nn.Module):
    """A convolution with stride and bias, a depthwise one, and a matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.each = nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False)
        self.last = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        maps = torch.relu(self.norm(self.first(x)))
        y: Tensor = self.last((maps + self.each(maps)).mean(dim=(2, 3)))
        return y


def test_operations_and_bytes_are_those_counted_by_hand() -> None:
    # first: 2 x 4 x 3 x 4 outputs of 27 products; each: as many outputs of 9; last: 2 x 5 outputs of 4.
    assert layers_of(Small(), (6, 8), 2) == (
        Layer("first", 2 * 96 * 27, 2 * (2 * 3 * 6 * 8 + 4 * 27 + 96)),
        Layer("each", 2 * 96 * 9, 2 * (96 + 4 * 9 + 96)),
        Layer("last", 2 * 10 * 4, 2 * (8 + 20 + 10)),
    )


def test_bytes_grow_with_the_element_operations_do_not() -> None:
    half, single = layers_of(Small(), (6, 8), 1), layers_of(Small(), (6, 8), 1, element_bytes=4)
    assert [2 * layer.bytes for layer in half] == [layer.bytes for layer in single]
    assert [layer.operations for layer in half] == [layer.operations for layer in single]


def test_each_layer_takes_the_larger_of_its_two_times() -> None:
    ceilings = Ceilings(rate=1000.0, bandwidth=10.0)
    busy, heavy = Layer("busy", 4000, 20), Layer("heavy", 1000, 30)
    assert ceilings.least_s(busy) == 4.0  # its bytes would take 2
    assert ceilings.least_s(heavy) == 3.0  # its operations would take 1
    assert least_ms([busy, heavy], ceilings) == 7000.0
    assert least_ms([], ceilings) == 0.0


@pytest.mark.parametrize(("rate", "bandwidth"), [(0.0, 1.0), (1.0, -1.0), (float("nan"), 1.0)])
def test_a_ceiling_that_is_none_is_an_error(rate: float, bandwidth: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        Ceilings(rate, bandwidth)


def test_the_network_is_left_as_it_was() -> None:
    network = Small()
    network.train()
    layers_of(network, (6, 8), 1)
    assert network.first.weight.device.type == "cpu"
    assert network.training
    assert not network.first._forward_hooks


@pytest.mark.parametrize(
    ("network", "size", "giga"),
    [
        (HRNet(layout_w(32, 17)), (256, 192), 7.7),  # published by OpenMMLab, multiplications with their sums
        (Yolox(0.33, 0.5), (640, 640), 13.4),  # published by the authors: 26.8 operations
    ],
    ids=["hrnet-w32", "yolox-s"],
)
def test_published_networks_cost_what_is_published(network: nn.Module, size: tuple[int, int], giga: float) -> None:
    one, four = (sum(layer.operations for layer in layers_of(network, size, rows)) for rows in (1, 4))
    assert one / 2e9 == pytest.approx(giga, rel=0.01)
    assert four == 4 * one
