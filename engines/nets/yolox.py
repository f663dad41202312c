"""YOLOX, nano to x, as a torch module whose state dict is that of the official checkpoints.

The attributes bear the reference code's names, in its order, for these are the keys. Source: Ge et al., YOLOX:
Exceeding YOLO Series in 2021, and its reference code (Megvii-BaseDetection/YOLOX, Apache-2.0).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from engines.backends.base import EngineError
from engines.nets.checkpoint import load_strict

STEM_CHANNELS = 64
"""Of the stem at width 1; each stage after it has twice as many."""
BN_EPS, BN_MOMENTUM = 1e-3, 0.03
"""Of the reference code's training; torch's own are 1e-5 and 0.1."""
SPP_KERNELS = (5, 9, 13)
SMALL_SIZE, USUAL_SIZE = (416, 416), (640, 640)
"""What the official nano and tiny, and the official s to x are run on, (height, width)."""
TINY_WIDTH = 0.375
"""Networks up to this width are small."""

_BLOCK = re.compile(r"backbone\.backbone\.dark2\.1\.m\.(\d+)\.conv1\.conv\.weight")


class Yolox(nn.Module):
    """Pictures (N, 3, H, W) BGR 0 to 255, H and W multiples of 32, to rows (N, A, 5 + classes) as CONTRACTS.md part 3.

    A row is cx, cy in cells from its own, log w, h in cells, objectness, a score per class; the cells of the strides
    8, 16 and 32 follow one another, rows first. In training mode objectness and scores are logits, as the losses want
    them. `depth` and `width` are the reference code's multiples of YOLOX-l:
    nano 0.33, 0.25 (depthwise), tiny 0.33, 0.375, s 0.33, 0.5, m 0.67, 0.75, l 1, 1, x 1.33, 1.25.
    """

    def __init__(self, depth: float, width: float, depthwise: bool = False, classes: int = 80) -> None:
        super().__init__()
        self.size = SMALL_SIZE if width <= TINY_WIDTH else USUAL_SIZE
        self.backbone = _Pafpn(depth, width, depthwise)
        self.head = _Head(width, depthwise, classes)

    def forward(self, images: Tensor) -> Tensor:
        rows: Tensor = self.head(self.backbone(images))
        return rows

    def keep_person(self) -> None:
        """Forget all classes but the first, the person: the output is (N, A, 6) from now on."""
        self.head.keep_person()


def build_yolox(tensors: Mapping[str, Tensor], *, person_only: bool = True) -> Yolox:
    """The YOLOX of an official checkpoint's tensors, in eval mode; depth, width and classes are read from their shapes.

    With `person_only` its output is (N, A, 6). Raises EngineError where a tensor is missing, too much or of another
    shape.
    """
    stem = _shape(tensors, "backbone.backbone.stem.conv.conv.weight")
    classes = _shape(tensors, "head.cls_preds.0.weight")
    blocks = {int(found[1]) for key in tensors if (found := _BLOCK.fullmatch(key))}
    depthwise = "backbone.backbone.dark2.0.dconv.conv.weight" in tensors
    if not blocks or max(blocks) >= len(tensors):
        raise EngineError("YOLOX: the checkpoint has no whole stage backbone.backbone.dark2; name one of YOLOX")
    network = Yolox((max(blocks) + 1) / 3, stem[0] / STEM_CHANNELS, depthwise, classes[0])
    load_strict(network, tensors, "YOLOX")
    if person_only:
        network.keep_person()
    return network.eval()


def _shape(tensors: Mapping[str, Tensor], key: str) -> tuple[int, ...]:
    """The shape of a convolution's weights."""
    if key not in tensors or tensors[key].ndim != 4:
        got = "it is missing" if key not in tensors else f"got the shape {tuple(tensors[key].shape)}"
        raise EngineError(f"YOLOX: {key} must be (out, in, k, k), {got}; name a checkpoint of the YOLOX code")
    return tuple(tensors[key].shape)


class _Conv(nn.Module):
    """Convolution without bias, batch normalisation, SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs, BN_EPS, BN_MOMENTUM)
        self.act = nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.bn(self.conv(x)))
        return y


class _DepthwiseConv(nn.Module):
    """The same in two: each channel for itself, then across the channels."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.dconv = _Conv(inputs, inputs, kernel, stride, groups=inputs)
        self.pconv = _Conv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.pconv(self.dconv(x))
        return y


class _Focus(nn.Module):
    """Each square of 2 x 2 pixels becomes one of four times the channels: of columns left to right, top to bottom."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conv = _Conv(4 * 3, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        corners = [x[..., row::2, column::2] for column in (0, 1) for row in (0, 1)]
        y: Tensor = self.conv(torch.cat(corners, dim=1))
        return y


class _Bottleneck(nn.Module):
    """1 x 1, then 3 x 3, and with a `shortcut` the input added."""

    def __init__(self, channels: int, shortcut: bool, depthwise: bool) -> None:
        super().__init__()
        self.conv1 = _Conv(channels, channels, 1)
        self.conv2 = _spatial(channels, channels, 1, depthwise)
        self._shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(self.conv1(x))
        return x + y if self._shortcut else y


class _Csp(nn.Module):
    """Half of the channels through `blocks` bottlenecks, the other half past them, both joined (C3 of YOLOv5)."""

    def __init__(self, inputs: int, outputs: int, blocks: int, shortcut: bool, depthwise: bool) -> None:
        super().__init__()
        half = outputs // 2
        self.conv1 = _Conv(inputs, half, 1)
        self.conv2 = _Conv(inputs, half, 1)
        self.conv3 = _Conv(2 * half, outputs, 1)
        self.m = nn.Sequential(*(_Bottleneck(half, shortcut, depthwise) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv3(torch.cat([self.m(self.conv1(x)), self.conv2(x)], dim=1))
        return y


class _Spp(nn.Module):
    """The maxima around each cell in windows of several sizes, beside the cell itself."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = _Conv(channels, half, 1)
        self.m = nn.ModuleList(nn.MaxPool2d(kernel, stride=1, padding=kernel // 2) for kernel in SPP_KERNELS)
        self.conv2 = _Conv(half * (len(SPP_KERNELS) + 1), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        y: Tensor = self.conv2(torch.cat([x, *(pool(x) for pool in self.m)], dim=1))
        return y


class _Darknet(nn.Module):
    """The backbone CSPDarknet: a picture to the features of strides 8, 16 and 32."""

    def __init__(self, depth: float, width: float, depthwise: bool) -> None:
        super().__init__()
        first, blocks = int(STEM_CHANNELS * width), _blocks(depth)

        def stage(inputs: int, count: int) -> list[nn.Module]:
            down = _spatial(inputs, 2 * inputs, 2, depthwise)
            return [down, _Csp(2 * inputs, 2 * inputs, count, True, depthwise)]

        self.stem = _Focus(first)
        self.dark2 = nn.Sequential(*stage(first, blocks))
        self.dark3 = nn.Sequential(*stage(2 * first, 3 * blocks))
        self.dark4 = nn.Sequential(*stage(4 * first, 3 * blocks))
        last = 16 * first
        self.dark5 = nn.Sequential(
            _spatial(8 * first, last, 2, depthwise), _Spp(last), _Csp(last, last, blocks, False, depthwise)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fine: Tensor = self.dark3(self.dark2(self.stem(x)))
        middle: Tensor = self.dark4(fine)
        return fine, middle, self.dark5(middle)


class _Pafpn(nn.Module):
    """The backbone and the path down and up again by which its three strides learn of each other."""

    def __init__(self, depth: float, width: float, depthwise: bool) -> None:
        super().__init__()
        c3, c4, c5 = _stride_channels(width)

        def join(inputs: int, outputs: int) -> _Csp:
            return _Csp(inputs, outputs, _blocks(depth), False, depthwise)

        self.backbone = _Darknet(depth, width, depthwise)
        self.lateral_conv0 = _Conv(c5, c4, 1)
        self.C3_p4 = join(2 * c4, c4)
        self.reduce_conv1 = _Conv(c4, c3, 1)
        self.C3_p3 = join(2 * c3, c3)
        self.bu_conv2 = _spatial(c3, c3, 2, depthwise)
        self.C3_n3 = join(2 * c3, c4)
        self.bu_conv1 = _spatial(c4, c4, 2, depthwise)
        self.C3_n4 = join(2 * c4, c5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fine, middle, coarse = self.backbone(x)
        coarse = self.lateral_conv0(coarse)
        middle = self.reduce_conv1(self.C3_p4(torch.cat([_doubled(coarse), middle], dim=1)))
        fine = self.C3_p3(torch.cat([_doubled(middle), fine], dim=1))
        middle = self.C3_n3(torch.cat([self.bu_conv2(fine), middle], dim=1))
        coarse = self.C3_n4(torch.cat([self.bu_conv1(middle), coarse], dim=1))
        return fine, middle, coarse


class _Head(nn.Module):
    """Per stride, boxes and objectness by one branch and classes by the other."""

    def __init__(self, width: float, depthwise: bool, classes: int) -> None:
        super().__init__()
        strides = _stride_channels(width)
        self._hidden = hidden = strides[0]

        def branches() -> nn.ModuleList:
            pairs = ([_spatial(hidden, hidden, 1, depthwise) for _ in range(2)] for _ in strides)
            return nn.ModuleList(nn.Sequential(*pair) for pair in pairs)

        self.cls_convs = branches()
        self.reg_convs = branches()
        self.cls_preds = _predictions(hidden, classes)
        self.reg_preds = _predictions(hidden, 4)
        self.obj_preds = _predictions(hidden, 1)
        self.stems = nn.ModuleList(_Conv(channels, hidden, 1) for channels in strides)

    def forward(self, features: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        rows = [self._level(level, x).flatten(2) for level, x in enumerate(features)]  # (N, 5 + classes, h * w) each
        return torch.cat(rows, dim=2).transpose(1, 2)

    def _level(self, level: int, x: Tensor) -> Tensor:
        x = self.stems[level](x)
        boxes = self.reg_convs[level](x)
        scores = [self.obj_preds[level](boxes), self.cls_preds[level](self.cls_convs[level](x))]
        logits = torch.cat(scores, dim=1)
        return torch.cat([self.reg_preds[level](boxes), logits if self.training else logits.sigmoid()], dim=1)

    def keep_person(self) -> None:
        kept = _predictions(self._hidden, 1)
        kept.load_state_dict({key: tensor[:1] for key, tensor in self.cls_preds.state_dict().items()})
        self.cls_preds = kept


def _predictions(inputs: int, outputs: int) -> nn.ModuleList:
    """What ends a branch, for each of the three strides."""
    return nn.ModuleList(nn.Conv2d(inputs, outputs, 1) for _ in range(3))


def _spatial(inputs: int, outputs: int, stride: int, depthwise: bool) -> nn.Module:
    """A 3 x 3 convolution in the manner of the network."""
    return (_DepthwiseConv if depthwise else _Conv)(inputs, outputs, 3, stride)


def _blocks(depth: float) -> int:
    return max(round(3 * depth), 1)


def _stride_channels(width: float) -> tuple[int, int, int]:
    """The channels of the features of strides 8, 16 and 32."""
    return int(256 * width), int(512 * width), int(1024 * width)


def _doubled(x: Tensor) -> Tensor:
    return interpolate(x, scale_factor=2.0, mode="nearest")
