"""Batch normalisations folded into the convolutions before them."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_norms(network: nn.Module, sample: Tensor) -> nn.Module:
    """A copy of a network in eval mode that gives the same with fewer layers.

    Which normalisation follows which convolution is seen in one run on `sample`: it takes the very tensor that the
    convolution gave. Nothing else may read that tensor, as is so wherever the two are one layer.
    """
    copy = deepcopy(network)
    names = {module: name for name, module in copy.named_modules()}
    given: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # holds the tensors, so that no identity is used again
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def see(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            given[id(output)] = module, output
        elif isinstance(module, nn.BatchNorm2d) and id(inputs[0]) in given:
            pairs.append((given[id(inputs[0])][0], module))

    hooks = [module.register_forward_hook(see) for module in names if isinstance(module, nn.Conv2d | nn.BatchNorm2d)]
    with torch.inference_mode():
        copy(sample)
    for hook in hooks:
        hook.remove()
    for convolution, norm in pairs:
        copy.set_submodule(names[convolution], fuse_conv_bn_eval(convolution, norm))
        copy.set_submodule(names[norm], nn.Identity())
    return copy
