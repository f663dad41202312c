"""The published networks with random weights, for timing them where no checkpoint of theirs is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from engines.nets.hrnet import HRNet, layout_w
from engines.nets.yolox import Yolox

SEED = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """A network by name, and the input (height, width) that it is usually run on."""

    name: str
    size: tuple[int, int]
    make: Callable[[], nn.Module]

    def network(self) -> nn.Module:
        """It in eval mode, of weights that are always the same."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            return self.make().eval()


HRNETS = (
    Sample("HRNet-W32", (256, 192), lambda: HRNet(layout_w(32, joints=17))),
    Sample("HRNet-W48", (256, 192), lambda: HRNet(layout_w(48, joints=17))),
)
YOLOXES = (
    Sample("YOLOX-s", (640, 640), lambda: Yolox(0.33, 0.5, classes=1)),
    Sample("YOLOX-m", (640, 640), lambda: Yolox(0.67, 0.75, classes=1)),
)


def save_checkpoint(network: nn.Module, path: Path) -> None:
    """Write the weights as a checkpoint that every part of this program reads."""
    torch.save(network.state_dict(), path)
