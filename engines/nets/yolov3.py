"""YOLOv3, full, tiny or any other that a darknet `.cfg` describes, as a torch module.

Source: Redmon and Farhadi, YOLOv3: An Incremental Improvement, 2018, and darknet. The keys of its state dict are those
of the PyTorch-YOLOv3 project, whose checkpoints load too.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import pad

from engines.nets.checkpoint import load_strict, read_tensors
from engines.nets.darknet import (
    Convolution,
    Detection,
    Layer,
    MaxPool,
    Network,
    Route,
    Shortcut,
    Upsample,
    read_cfg,
    read_weights,
)

LEAK = 0.1
"""Of darknet's leaky activation below 0."""
BOX_COLUMNS = 5
"""Of a row, before its classes: cx, cy, w, h, objectness."""
NORM_ORDER = ("bias", "weight", "running_mean", "running_var")
"""Of a normalised layer's numbers in a `.weights` file, before its weights."""
CHECKPOINT_SUFFIXES = (".pt", ".pth")


class YoloV3(nn.Module):
    """Pictures (N, 3, H, W) RGB 0 to 1, H and W multiples of its coarsest stride, to rows (N, A, 5 + classes).

    A row is cx, cy, w, h in pixels of the input, objectness, a score per class, all scores in [0, 1]; the detection
    layers follow one another as in the `.cfg`, each cell by cell, rows first, and in a cell anchor by anchor. `size`
    is the (height, width) of the `.cfg`.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.size = network.size
        self.module_list = nn.ModuleList(_module(index, layer) for index, layer in enumerate(network.layers))
        self._layers = network.layers
        routed = [source for layer in network.layers if isinstance(layer, Route) for source in layer.sources]
        added = [layer.source for layer in network.layers if isinstance(layer, Shortcut)]
        self._kept = frozenset(routed + added)

    def forward(self, images: Tensor) -> Tensor:
        x, rows = images, []
        kept: dict[int, Tensor] = {}
        for index, (layer, module) in enumerate(zip(self._layers, self.module_list, strict=True)):
            if isinstance(layer, Route):
                x = torch.cat([kept[source] for source in layer.sources], dim=1)
            elif isinstance(layer, Shortcut):
                x = x + kept[layer.source]
            elif isinstance(layer, Detection):
                rows.append(module(x))
            else:
                x = module(x)
            if index in self._kept:
                kept[index] = x
        return torch.cat(rows, dim=1)

    def keep_person(self) -> None:
        """Forget all classes but the first, the person: the output is (N, A, 6) from now on."""
        for module in self.module_list:
            if isinstance(module, _Rows):
                module.columns = BOX_COLUMNS + 1


def build_yolov3(cfg: Path, weights: Path, *, person_only: bool = True) -> YoloV3:
    """The YOLOv3 that `cfg` describes with the numbers of `weights`, in eval mode.

    `weights` is darknet's file, or a torch checkpoint (`.pt`, `.pth`) of PyTorch-YOLOv3. With `person_only` the output
    is (N, A, 6). Raises OSError where a file cannot be read, EngineError where one is damaged or the two do not belong
    together.
    """
    network = read_cfg(cfg)
    if weights.suffix.lower() in CHECKPOINT_SUFFIXES:
        # Newer versions of that project keep the anchors in the checkpoint too; ours are the cfg's.
        tensors = {key: value for key, value in read_tensors(weights).items() if ".yolo_" not in key}
    else:
        tensors = _named(network, read_weights(weights, network))
    module = YoloV3(network)
    load_strict(module, tensors, f"{weights} with {cfg.name}")
    if person_only:
        module.keep_person()
    return module.eval()


class _MaxPool(nn.Module):
    """Darknet's: a window begins half of `size` before its cell, rounded down, and the edge goes on outside."""

    def __init__(self, size: int, stride: int) -> None:
        super().__init__()
        before = (size - 1) // 2
        self._around = (before, size - stride - before) * 2
        self._pool = nn.MaxPool2d(size, stride)

    def forward(self, x: Tensor) -> Tensor:
        # Each window reaches the edge itself, so that to repeat it changes no maximum.
        y: Tensor = self._pool(pad(x, self._around, mode="replicate") if any(self._around) else x)
        return y


class _Rows(nn.Module):
    """What a detection layer is given, (N, anchors * (5 + classes), h, w), as rows (N, h * w * anchors, columns)."""

    anchors: Tensor

    def __init__(self, layer: Detection) -> None:
        super().__init__()
        self.columns = BOX_COLUMNS + layer.classes
        self._given = (len(layer.anchors), self.columns)
        self.register_buffer("anchors", torch.tensor(layer.anchors), persistent=False)
        self._stride = layer.stride

    def forward(self, raw: Tensor) -> Tensor:
        height, width = raw.shape[2:]
        cells = raw.reshape(-1, *self._given, height, width).permute(0, 3, 4, 1, 2)  # (N, h, w, anchors, 5 + classes)
        x = torch.arange(width, device=raw.device, dtype=raw.dtype).expand(height, width)
        y = torch.arange(height, device=raw.device, dtype=raw.dtype)[:, None].expand(height, width)
        corners = torch.stack([x, y], dim=-1)[:, :, None]  # (h, w, 1, 2)
        centers = (cells[..., :2].sigmoid() + corners) * self._stride
        sizes = cells[..., 2:4].exp() * self.anchors
        scores = cells[..., 4 : self.columns].sigmoid()
        return torch.cat([centers, sizes, scores], dim=-1).flatten(1, 3)


def _module(index: int, layer: Layer) -> nn.Module:
    """A layer as a module; what joins layers, `YoloV3.forward` does itself."""
    match layer:
        case Convolution():
            return _convolution(index, layer)
        case MaxPool(size=size, stride=stride):
            return _MaxPool(size, stride)
        case Upsample(factor=factor):
            return nn.Upsample(scale_factor=factor, mode="nearest")
        case Detection():
            return _Rows(layer)
        case Route() | Shortcut():
            return nn.Identity()


def _convolution(index: int, layer: Convolution) -> nn.Module:
    filters = layer.shape[0]
    conv = nn.Conv2d(layer.inputs, filters, layer.size, layer.stride, layer.padding, bias=not layer.normalized)
    parts: OrderedDict[str, nn.Module] = OrderedDict({f"conv_{index}": conv})
    if layer.normalized:
        # torch's own epsilon, 1e-5, is that of darknet on a GPU, where the networks were trained.
        parts[f"batch_norm_{index}"] = nn.BatchNorm2d(filters)
    if layer.leaky:
        parts[f"leaky_{index}"] = nn.LeakyReLU(LEAK, inplace=True)
    return nn.Sequential(parts)


def _named(network: Network, numbers: NDArray[np.float32]) -> dict[str, Tensor]:
    """The numbers of a `.weights` file, which are just those of `network`, by the keys of `YoloV3`."""
    layers = [(index, layer) for index, layer in enumerate(network.layers) if isinstance(layer, Convolution)]
    pieces = torch.split(torch.from_numpy(numbers), [layer.numbers for _, layer in layers])
    tensors: dict[str, Tensor] = {}
    for (index, layer), piece in zip(layers, pieces, strict=True):
        conv, norm = (f"module_list.{index}.{part}_{index}." for part in ("conv", "batch_norm"))
        names = [norm + name for name in NORM_ORDER] if layer.normalized else [conv + "bias"]
        filters = layer.shape[0]
        ends = len(names) * filters
        tensors.update(zip(names, torch.split(piece[:ends], filters), strict=True))
        tensors[conv + "weight"] = piece[ends:].view(filters, layer.inputs, layer.size, layer.size)
    return tensors
