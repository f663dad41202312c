"""Networks folded and made ONNX: the same numbers in fewer layers, the network itself left as it was."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from engines.nets.to_onnx import _fold_norms, to_onnx  # noqa: E402


def network() -> nn.Sequential:
    """A normalisation of the picture, a pair, and one behind an activation: only the pair can be folded."""
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4)
    )
    for layer in made:
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -1, 1)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.uniform_(layer.weight, 0.5, 2)
            nn.init.uniform_(layer.bias, -1, 1)
    return made.eval()


def test_a_normalisation_behind_a_convolution_is_folded_and_no_other() -> None:
    whole, sample = network(), torch.rand(2, 3, 8, 8)
    folded = _fold_norms(whole, sample)
    assert [type(layer).__name__ for layer in folded] == ["BatchNorm2d", "Conv2d", "Identity", "ReLU", "BatchNorm2d"]
    with torch.inference_mode():
        torch.testing.assert_close(folded(sample), whole(sample))


def test_the_network_itself_is_left_as_it_was() -> None:
    whole = network()
    before = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    _fold_norms(whole, torch.rand(2, 3, 8, 8))
    assert all(torch.equal(tensor, before[name]) for name, tensor in whole.state_dict().items())
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in whole) == 3
    assert not any(layer._forward_hooks for layer in whole)


def test_the_onnx_has_a_free_batch_and_no_trace_of_our_code() -> None:
    model = to_onnx(network(), np.zeros((2, 3, 8, 8), np.float32), "maps")
    (image,), (maps,) = model.graph.input, model.graph.output
    assert (image.name, maps.name) == ("image", "maps")
    batch, *size = image.type.tensor_type.shape.dim
    assert (batch.HasField("dim_value"), [side.dim_value for side in size]) == (False, [3, 8, 8])
    assert Counter(node.op_type for node in model.graph.node)["Conv"] == 1
    assert __file__.encode() not in model.SerializeToString()
