"""What an HRNet begins its training with: nothing, or a checkpoint, whatever joints that has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from engines.backends.base import EngineError
from engines.nets.checkpoint import load_strict, read_tensors
from engines.nets.hrnet import HRNet
from engines.nets.hrnet_layout import HrnetLayout, layout_of_tensors, layout_w, reference_names, slim_layout
from engines.nets.unfold import balance, fill, layers, read_convolutions

FINAL = "final_layer."
FEWEST = 20
"""Convolutions: no HRNet has fewer."""
TRACED_SIDE = 64
"""Pixels of the picture by which the order of a module's convolutions is seen."""


def begin(layout: HrnetLayout | None, joints: int, start: Path | None, seed: int) -> HRNet:
    """An HRNet of `joints` to train: of `layout`, else that of `start`, else slim; its weights those of `start` or new.

    `start` is a checkpoint, or an ONNX that this program exported (of a slim, a W32 or another of their plan, unless
    `layout` says which). Where it has other joints the last layer is new. Raises OSError where it cannot be read,
    EngineError where it is no HRNet or not of this layout.
    """
    tensors: dict[str, Tensor] = {}
    if start is not None:
        own = unfold_hrnet(start, layout) if start.suffix == ".onnx" else None
        tensors = reference_names(own.state_dict() if own is not None else read_tensors(start))
        found = own.layout if own is not None else layout_of_tensors(tensors)
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


def unfold_hrnet(path: Path, layout: HrnetLayout | None = None) -> HRNet:
    """The HRNet of an ONNX file that this program exported, in eval mode; see `engines.nets.unfold`.

    Without a `layout` it is a slim one, or of the published plan, of whatever width. Raises EngineError where it is
    neither.
    """
    folded = read_convolutions(path)
    shapes = [one.shape for one in folded]
    joints, stem = (shapes[-1][0], shapes[0][0]) if shapes else (0, 0)
    widths = {shape[0] for shape in shapes}
    plans = (
        [layout]
        if layout is not None
        else [slim_layout(joints, width=stem // 2), *(layout_w(w, joints) for w in widths)]
    )
    for plan in plans if len(shapes) >= FEWEST else []:
        network = HRNet(replace(plan, joints=joints, size=None)).eval()
        own = list(layers(network, torch.zeros(1, 3, TRACED_SIDE, TRACED_SIDE)).values())
        if [layer.shape for layer in own] == shapes:
            fill(own, folded)
            balance(own)
            return network
    raise EngineError(f"{path}: its {len(folded)} convolutions are no HRNet's; name an ONNX that was exported here")


def freeze_backbone(network: HRNet) -> list[nn.Module]:
    """Keep all before the last stage as it is; the frozen modules, which stay in eval mode while it learns."""
    last = f"stage{len(network.layout.stages) + 1}"
    frozen = [module for name, module in network.named_children() if name not in (last, FINAL[:-1])]
    if len(frozen) == len(list(network.children())):
        raise EngineError("the network has no stage to learn with")
    for module in frozen:
        module.requires_grad_(False)
    return frozen
