"""HRNet as a torch module whose state dict is that of the official checkpoints.

The attributes bear the reference code's names, in its order, for these are the keys. Source: Sun et al., Deep
High-Resolution Representation Learning for Human Pose Estimation, 2019, and its reference code
(leoxiaobin/deep-high-resolution-net.pytorch, lib/models/pose_hrnet.py, MIT).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce

import torch
from torch import Tensor, nn

from engines.nets.checkpoint import load_strict
from engines.nets.hrnet_layout import (
    EXPANSION,
    BlockKind,
    HrnetLayout,
    StageLayout,
    layout_of_experiment,
    layout_of_tensors,
    layout_w,
    reference_names,
)

__all__ = [
    "HRNet",
    "build_hrnet",
    "HrnetLayout",
    "StageLayout",
    "layout_w",
    "layout_of_experiment",
    "layout_of_tensors",
]


class HRNet(nn.Module):
    """Crops (N, 3, H, W), RGB less mean by std, to heat maps (N, joints, H / 4, W / 4).

    H and W are multiples of 32 where the last stage has four branches. `layout` stays readable.
    """

    def __init__(self, layout: HrnetLayout) -> None:
        super().__init__()
        self.layout = layout
        self.conv1 = nn.Conv2d(3, layout.stem, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(layout.stem)
        self.conv2 = nn.Conv2d(layout.stem, layout.stem, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(layout.stem)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _blocks("bottleneck", layout.stem, layout.stem, layout.stem_blocks)
        widths: tuple[int, ...] = (layout.stem * EXPANSION["bottleneck"],)
        for number, stage in enumerate(layout.stages, 1):
            last = number == len(layout.stages)
            self.add_module(f"transition{number}", _transition(widths, stage.widths))
            self.add_module(f"stage{number + 1}", _stage(stage, only_finest=last))
            widths = stage.widths
        self.final_layer = nn.Conv2d(widths[0], layout.joints, layout.final_kernel, padding=layout.final_kernel // 2)

    def forward(self, crops: Tensor) -> Tensor:
        """The heat maps of the crops."""
        stem = self.relu(self.bn1(self.conv1(crops)))
        stem = self.relu(self.bn2(self.conv2(stem)))
        maps = [self.layer1(stem)]
        for number in range(1, len(self.layout.stages) + 1):
            transition: Iterable[nn.Module] = self.get_submodule(f"transition{number}").children()
            maps = [layer(maps[min(branch, len(maps) - 1)]) for branch, layer in enumerate(transition)]
            maps = self.get_submodule(f"stage{number + 1}")(maps)
        heatmaps: Tensor = self.final_layer(maps[0])
        return heatmaps


def build_hrnet(tensors: Mapping[str, Tensor], layout: HrnetLayout | None = None) -> HRNet:
    """The HRNet of a checkpoint's tensors, in eval mode; without a layout theirs is taken.

    Takes the names of the reference code and of OpenMMLab. Raises EngineError where a tensor is missing, too many or of
    another shape.
    """
    network = HRNet(layout or layout_of_tensors(tensors))
    load_strict(network, reference_names(tensors), "HRNet")
    return network.eval()


class _BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, to `planes` channels."""

    def __init__(self, inputs: int, planes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = _shortcut(inputs, planes * EXPANSION["basic"])

    def forward(self, x: Tensor) -> Tensor:
        inner = self.relu(self.bn1(self.conv1(x)))
        out: Tensor = self.relu(self.bn2(self.conv2(inner)) + self.downsample(x))
        return out


class _Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut, to 4 times `planes` channels."""

    def __init__(self, inputs: int, planes: int) -> None:
        super().__init__()
        outputs = planes * EXPANSION["bottleneck"]
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.relu(self.bn1(self.conv1(x)))
        inner = self.relu(self.bn2(self.conv2(inner)))
        out: Tensor = self.relu(self.bn3(self.conv3(inner)) + self.downsample(x))
        return out


class _Exchange(nn.Module):
    """One module of a stage: each branch by itself, then every branch told of all the others.

    `only_finest`: the coarser branches are dropped at the end, as nothing reads them.
    """

    def __init__(self, stage: StageLayout, only_finest: bool) -> None:
        super().__init__()
        widths = stage.widths
        self.branches = nn.ModuleList(
            _blocks(stage.block, width, channels, blocks)
            for width, channels, blocks in zip(widths, stage.channels, stage.blocks, strict=True)
        )
        targets = range(1 if only_finest else len(widths))
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_bridge(widths, source, target) for source in range(len(widths))) for target in targets
        )
        self.relu = nn.ReLU()  # not in place: a branch by itself is still its last block's output

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        fused = []
        for bridges in self.fuse_layers:
            parts = [bridge(x) for bridge, x in zip(bridges.children(), maps, strict=True)]
            fused.append(self.relu(reduce(torch.add, parts)))
        return fused


def _bridge(widths: tuple[int, ...], source: int, target: int) -> nn.Module:
    """What takes the map of branch `source` to the width and resolution of branch `target`."""
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(
            nn.Conv2d(widths[source], widths[target], 1, bias=False),
            nn.BatchNorm2d(widths[target]),
            nn.Upsample(scale_factor=2 ** (source - target), mode="nearest"),
        )
    steps = [_halving(widths[source], widths[source]) for _ in range(target - source - 1)]
    last = _halving(widths[source], widths[target])
    return nn.Sequential(*steps, last[:2])  # the last is added to the others before its ReLU


def _transition(before: tuple[int, ...], after: tuple[int, ...]) -> nn.ModuleList:
    """What takes the maps of one stage to those of the next: of new widths, and new ones made of the coarsest."""
    layers = nn.ModuleList()
    for branch, width in enumerate(after):
        new = branch - len(before) + 1
        if new > 0:
            layers.append(nn.Sequential(*(_halving(before[-1], w) for w in [before[-1]] * (new - 1) + [width])))
        elif before[branch] == width:
            layers.append(nn.Identity())
        else:
            conv = nn.Conv2d(before[branch], width, 3, padding=1, bias=False)
            layers.append(nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)))
    return layers


def _halving(inputs: int, outputs: int) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def _stage(stage: StageLayout, only_finest: bool) -> nn.Sequential:
    last = stage.modules - 1
    return nn.Sequential(*(_Exchange(stage, only_finest and module == last) for module in range(stage.modules)))


def _blocks(kind: BlockKind, inputs: int, planes: int, count: int) -> nn.Sequential:
    block = _BasicBlock if kind == "basic" else _Bottleneck
    outputs = planes * EXPANSION[kind]
    return nn.Sequential(*(block(inputs if index == 0 else outputs, planes) for index in range(count)))


def _shortcut(inputs: int, outputs: int) -> nn.Module:
    if inputs == outputs:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
