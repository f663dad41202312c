"""What a network must cost: the arithmetic and the bytes of its layers, and the least time two ceilings leave them.

The roofline model (Williams et al., 2009), layer by layer. A layer is a convolution or a matrix product together with
the normalisation, the activation and the sum behind it, which a fused kernel does at no cost of its own; reordering and
resizing are taken to be free as well. So the time is a floor for any way to run the layers one after another from the
device's memory. Small maps that stay in its cache can undercut the bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

HALF_BYTES = 2
"""Of an element in fp16 or bf16."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Operations of one layer for a batch, a multiplication and its sum counted as two, and the bytes it moves.

    Bytes are those of input, weights and output, each once.
    """

    name: str
    operations: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What a device can do at most: `rate` operations of matrix products a second, `bandwidth` bytes a second."""

    rate: float
    bandwidth: float

    def __post_init__(self) -> None:
        if not (self.rate > 0 and self.bandwidth > 0):
            raise ValueError(f"rate and bandwidth must be above 0, got {self.rate} and {self.bandwidth}")

    def least_s(self, layer: Layer) -> float:
        """The larger of the time for its arithmetic and the time for its bytes, in seconds."""
        return max(layer.operations / self.rate, layer.bytes / self.bandwidth)


def least_ms(layers: Iterable[Layer], ceilings: Ceilings) -> float:
    """The least time of layers that run one after another, in milliseconds."""
    return 1e3 * sum(ceilings.least_s(layer) for layer in layers)


def layers_of(
    network: nn.Module, size: tuple[int, int], rows: int, element_bytes: int = HALF_BYTES
) -> tuple[Layer, ...]:
    """The layers of `network` in the order in which they run, for `rows` pictures of `size` (height, width).

    Nothing is computed: a copy runs on tensors without content, torch's device meta.
    """
    copy = deepcopy(network).to("meta").eval()
    layers: list[Layer] = []
    names = {module: name for name, module in copy.named_modules()}

    def see(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight = module.weight
        if not isinstance(weight, Tensor):
            return
        # Each output element is a sum over one filter: `weight[0]` of a convolution, a row of a matrix.
        operations = 2 * output.numel() * weight[0].numel()
        elements = inputs[0].numel() + weight.numel() + output.numel()
        layers.append(Layer(names[module], operations, element_bytes * elements))

    for module in names:
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(see)
    with torch.inference_mode():
        copy(torch.empty(rows, 3, *size, device="meta"))
    return tuple(layers)
