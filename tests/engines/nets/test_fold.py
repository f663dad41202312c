"""Networks folded: the same numbers in fewer layers, the network itself left as it was."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from engines.nets.fold import fold_norms  # noqa: E402


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
    folded = fold_norms(whole, sample)
    assert [type(layer).__name__ for layer in folded] == ["BatchNorm2d", "Conv2d", "Identity", "ReLU", "BatchNorm2d"]
    with torch.inference_mode():
        torch.testing.assert_close(folded(sample), whole(sample))


def test_the_network_itself_is_left_as_it_was() -> None:
    whole = network()
    before = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    fold_norms(whole, torch.rand(2, 3, 8, 8))
    assert all(torch.equal(tensor, before[name]) for name, tensor in whole.state_dict().items())
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in whole) == 3


def test_nothing_goes_on_watching_either() -> None:
    whole = network()
    folded = fold_norms(whole, torch.rand(2, 3, 8, 8))
    assert not any(layer._forward_hooks for layer in (*whole, *folded))
