"""A network in torch to the same in ONNX."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from engines.backends.base import EngineError

if TYPE_CHECKING:
    import onnx

OPSET = 18
"""Of ONNX: torch's exporter is at home there, and TensorRT 10, OpenVINO and ONNX Runtime read it."""


def run_network(network: nn.Module, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the network gives for a batch, by torch."""
    with torch.inference_mode():
        given: NDArray[np.float32] = network(torch.from_numpy(pictures)).numpy()
    return given


def to_onnx(network: nn.Module, pictures: NDArray[np.float32], output: str) -> onnx.ModelProto:
    """The network in eval mode as ONNX from `image`, of the size of `pictures` and any batch, to `output`.

    Normalisations are folded into convolutions, and no names of our files are left in it.
    """
    sample = torch.from_numpy(pictures)
    program = torch.onnx.export(
        _fold_norms(network, sample),
        (sample,),
        input_names=["image"],
        output_names=[output],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        opset_version=OPSET,
        verbose=False,
    )
    if program is None:
        raise EngineError("torch.onnx.export gave nothing; update torch and onnxscript")
    model: onnx.ModelProto = program.model_proto
    for node in model.graph.node:
        del node.metadata_props[:]
    del model.graph.value_info[:]
    return model


def _fold_norms(network: nn.Module, sample: Tensor) -> nn.Module:
    """A copy that gives the same with fewer layers, which halves the time of the export.

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

    for module in names:
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            module.register_forward_hook(see)
    with torch.inference_mode():
        copy(sample)
    for convolution, norm in pairs:
        copy.set_submodule(names[convolution], fuse_conv_bn_eval(convolution, norm))
        copy.set_submodule(names[norm], nn.Identity())
    return copy
