"""What an HRNet begins its training with: nothing, or a checkpoint, whatever joints that has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from engines.backends.base import EngineError
from engines.nets.checkpoint import load_strict, read_tensors
from engines.nets.hrnet import HRNet
from engines.nets.hrnet_layout import HrnetLayout, layout_of_tensors, layout_w, reference_names, slim_layout
from engines.nets.unfold import balance, fill, layers, read_convolutions

FINAL = "final_layer."
STEM_LAYERS = ("conv1", "bn1", "conv2", "bn2", "layer1")
"""The modules before there are two resolutions."""
CLASSIFIER = ("incre_modules.", "downsamp_modules.", "final_layer.", "classifier.")
"""How the names begin that only an HRNet for classification has, in its reference code."""
FrozenPart = Literal["stem", "backbone"]
FEWEST = 20
"""Convolutions: no HRNet has fewer."""
TRACED_SIDE = 64
"""Pixels of the picture by which the order of a module's convolutions is seen."""


def begin(layout: HrnetLayout | None, joints: int, start: Path | None, seed: int) -> HRNet:
    """An HRNet of `joints` to train: of `layout`, else that of `start`, else slim; its weights those of `start` or new.

    `start` is a checkpoint, also one for classification (ImageNet), or an ONNX that this program exported (of a slim, a
    W32 or another of their plan, unless `layout` says which). Where it has no last layer, or one of other joints, that
    is new. Raises OSError where it cannot be read, EngineError where it is no HRNet or not of this layout.
    """
    tensors: dict[str, Tensor] = {}
    if start is not None:
        own = unfold_hrnet(start, layout) if start.suffix == ".onnx" else None
        tensors = reference_names(own.state_dict() if own is not None else read_tensors(start))
        if f"{FINAL}weight" not in tensors or any(name.startswith(CLASSIFIER[0]) for name in tensors):
            tensors = _backbone(tensors)
        found = own.layout if own is not None else _layout_of_start(tensors, joints)
        if found.joints != joints:
            tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(FINAL)}
        layout = layout or found
    layout = layout or slim_layout(joints)
    if layout.joints != joints:
        layout = replace(layout, joints=joints)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = HRNet(layout)
    if tensors:
        fresh = {name: tensor for name, tensor in network.state_dict().items() if name.startswith(FINAL)}
        load_strict(network, {**fresh, **tensors}, f"{start}")
    return network


def _backbone(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of an HRNet that tells pictures apart (ImageNet), or of a backbone alone, that one for poses has too."""
    rest = {name: tensor for name, tensor in tensors.items() if not name.startswith(CLASSIFIER)}
    last = max((name.split(".")[0] for name in rest if name.startswith("stage")), default="")
    modules = {int(part) for name in rest if name.startswith(f"{last}.") and (part := name.split(".")[1]).isdigit()}
    coarser = f"{last}.{max(modules, default=0)}.fuse_layers."  # of which a network for poses has the finest
    return {n: t for n, t in rest.items() if not n.startswith(coarser) or n.startswith(f"{coarser}0.")}


def _layout_of_start(tensors: Mapping[str, Tensor], joints: int) -> HrnetLayout:
    """The layout of a checkpoint; where it has no last layer, of one for so many joints."""
    return layout_of_tensors({**tensors, f"{FINAL}weight": tensors.get(f"{FINAL}weight", torch.zeros(joints, 1, 1, 1))})


def unfold_hrnet(path: Path, layout: HrnetLayout | None = None) -> HRNet:
    """The HRNet of an ONNX file that this program exported, in eval mode; see `engines.nets.unfold`.

    Without a `layout` it is a slim one, or of the published plan, of whatever width. Raises EngineError where it is
    neither.
    """
    folded = read_convolutions(path)
    shapes = [one.shape for one in folded]
    if len(shapes) >= FEWEST:
        joints, width = shapes[-1][:2]
        plans = [layout] if layout is not None else [slim_layout(joints, width=width), layout_w(width, joints)]
        for plan in plans:
            own = replace(plan, joints=joints, size=None)
            with torch.device("meta"):  # takes no memory, whatever width a file of another network suggests
                planned = layers(HRNet(own).eval(), torch.zeros(1, 3, TRACED_SIDE, TRACED_SIDE))
            if [layer.shape for layer in planned.values()] == shapes:
                network = HRNet(own).eval()
                made = list(layers(network, torch.zeros(1, 3, TRACED_SIDE, TRACED_SIDE)).values())
                fill(made, folded)
                balance(made)
                return network
    raise EngineError(f"{path}: its {len(folded)} convolutions are no HRNet's; name an ONNX that was exported here")


def freeze(network: HRNet, part: FrozenPart) -> list[nn.Module]:
    """Keep the `stem`, which is all of one resolution, or the `backbone`, which is all before the last stage.

    Gives the frozen modules, which stay in eval mode while the others learn.
    """
    learning = {f"stage{len(network.layout.stages) + 1}", FINAL[:-1]}
    names = STEM_LAYERS if part == "stem" else {name for name, _ in network.named_children()} - learning
    frozen = [module for name, module in network.named_children() if name in names]
    if len(frozen) == len(list(network.children())):
        raise EngineError("the network has no stage to learn with")
    for module in frozen:
        module.requires_grad_(False)
    return frozen
