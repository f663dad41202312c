"""Normalisations that were folded into the convolutions of an ONNX file, put back, so that the network can be trained.

Unfolded, a network gives the same in eval mode; once calibrated its normalisations hold the statistics that training
mode meets, and once balanced all its filters are of one size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from engines.backends.base import EngineError

if TYPE_CHECKING:
    import onnx

TINY = 1e-6
"""Filters that are no larger do nothing, and are left so."""


@dataclass(frozen=True, slots=True, eq=False)
class Folded:
    """A convolution of an ONNX graph; `weight` is (out, in, k, k), `bias` (out,)."""

    weight: Tensor
    bias: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight."""
        return tuple(self.weight.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A convolution of a network and the normalisation that takes what it gives, None where none does."""

    convolution: nn.Conv2d
    norm: nn.BatchNorm2d | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight."""
        return tuple(self.convolution.weight.shape)


def read_convolutions(path: Path) -> list[Folded]:
    """The convolutions of an ONNX file in the order of its graph, their weights in fp32 or stored in fp16.

    Raises OSError where it cannot be read, EngineError where it is no float ONNX or onnx is missing.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
        from onnx import numpy_helper
    except ImportError as error:
        raise EngineError(f"{path}: to read its weights takes onnx; pip install 'posestream[train]'") from error
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        graph = onnx.load(str(path)).graph
    except DecodeError as error:
        raise EngineError(f"{path}: cannot be read as ONNX; fetch or export it again") from error
    held = _weights(graph)
    folded = []
    for node in graph.node:
        if node.op_type == "Conv":
            if len(node.input) != 3 or not all(name in held for name in node.input[1:]):
                raise EngineError(f"{path}: a convolution has no weights or no bias of its own; name a float ONNX")
            weight, bias = (torch.from_numpy(numpy_helper.to_array(held[name]).copy()) for name in node.input[1:])
            folded.append(Folded(weight.float(), bias.float()))
    return folded


def layers(network: nn.Module, sample: Tensor) -> dict[str, Layer]:
    """The convolutions of a network in eval mode by name, in the order in which they run on `sample`.

    Which normalisation follows which is seen in the run: it takes the very tensor that the convolution gave.
    """
    found: dict[str, Layer] = {}
    given: list[tuple[str, Tensor]] = []  # holds the tensors, so that no identity is used again

    def see(name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            found[name] = Layer(module, None)
            given.append((name, output))
        elif isinstance(module, nn.BatchNorm2d):
            maker = next((name for name, tensor in given if tensor is inputs[0]), None)
            if maker is not None:
                found[maker] = Layer(found[maker].convolution, module)

    with ExitStack() as hooks, torch.no_grad():
        for name, module in network.named_modules():
            if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
                hook = module.register_forward_hook(lambda *told, name=name: see(name, *told))
                hooks.callback(hook.remove)
        network(sample)
    return found


def fill(layers: Sequence[Layer], folded: Sequence[Folded]) -> None:
    """Put the weights into the convolutions, and the biases into the normalisations that follow, else there too.

    Raises TypeError where there is neither.
    """
    with torch.no_grad():
        for layer, one in zip(layers, folded, strict=True):
            layer.convolution.weight.copy_(one.weight)
            if layer.convolution.bias is not None:
                layer.convolution.bias.copy_(one.bias)
                continue
            norm = layer.norm
            if norm is None or norm.running_mean is None or norm.running_var is None:
                raise TypeError(f"a convolution without bias must be followed by a BatchNorm2d with statistics: {norm}")
            norm.running_mean.zero_()
            norm.running_var.fill_(1 - norm.eps)
            norm.weight.fill_(1)
            norm.bias.copy_(one.bias)


def calibrate(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Give each normalisation the mean and variance of what it gets on `batches`, without changing the eval function.

    A normalisation gives w * (x - mean) / sqrt(var + eps) + b; what new statistics change is taken back by w and b.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    moments = {norm: torch.zeros(3, norm.num_features, dtype=torch.float64) for norm in norms}

    def see(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0]
        count = x.numel() // x.shape[1]
        variance, mean = (moment.double() for moment in torch.var_mean(x, (0, 2, 3), correction=0))
        found = count * torch.stack([torch.ones_like(mean), mean, variance + mean.square()])
        moments[cast("nn.BatchNorm2d", norm)] += found.cpu()

    was_training = network.training
    network.eval()
    with ExitStack() as hooks, torch.no_grad():
        for norm in norms:
            hooks.callback(norm.register_forward_pre_hook(see).remove)
        for batch in batches:
            network(batch)
    for norm, (count, total, squares) in moments.items():
        if not count.all():
            raise ValueError("batches must be one or more, got none")
        mean = total / count
        _move_statistics(norm, mean, (squares / count - mean.square()).clamp(min=0))
    network.train(was_training)


def balance(layers: Iterable[Layer]) -> None:
    """Give the filters before normalisations the size of freshly made ones, without changing the eval function.

    To a normalisation their size is all one, but not to an optimiser whose steps are of one size: those of a stem that
    eats pixels up to 255 are a hundred times smaller than others, and would be lost in a few steps of Adam.
    """
    with torch.no_grad():
        for layer in layers:
            norm = layer.norm
            if norm is None or norm.running_mean is None or norm.running_var is None:
                continue
            sizes = layer.convolution.weight.flatten(1).norm(dim=1)  # 1 of a fresh one, about: a variance of one
            sizes = torch.where(sizes > TINY, sizes, 1)
            layer.convolution.weight.div_(sizes[:, None, None, None])
            old = (norm.running_var + norm.eps).sqrt()
            norm.running_mean.div_(sizes)
            norm.running_var.div_(sizes.square())
            norm.weight.mul_(sizes * (norm.running_var + norm.eps).sqrt() / old)


def _weights(graph: onnx.GraphProto) -> Mapping[str, onnx.TensorProto]:
    """The stored tensors of a graph by the names under which nodes read them, cast or as they are."""
    held = {one.name: one for one in graph.initializer}
    casts = {
        node.output[0]: held[node.input[0]] for node in graph.node if node.op_type == "Cast" and node.input[0] in held
    }
    return {**held, **casts}


def _move_statistics(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """Put in new statistics (C,), float64, and take back by weight and bias what they change."""
    old_mean, old_variance = norm.running_mean, norm.running_var
    if old_mean is None or old_variance is None:
        raise ValueError("a normalisation must keep statistics to be calibrated, got one that does not")
    mean, variance = mean.to(old_mean.device), variance.to(old_mean.device)
    with torch.no_grad():
        slope = norm.weight / (old_variance + norm.eps).double().sqrt()
        norm.bias.copy_(norm.bias + slope * (mean - old_mean))
        norm.weight.copy_(slope * (variance + norm.eps).sqrt())
        old_mean.copy_(mean)
        old_variance.copy_(variance)
