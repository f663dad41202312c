"""Pictures to a network's numbers in torch, against numpy."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from engines.normalize import Triple, to_batch  # noqa: E402
from engines.normalize_torch import normalize  # noqa: E402

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 3), np.uint8)


@pytest.mark.parametrize("rgb", [False, True])
@pytest.mark.parametrize(
    ("scale", "mean", "std"),
    [
        (1.0, None, None),
        (1 / 255, None, None),
        (1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        (1.0, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
        (1.0, (1.0, 2.0, 3.0), None),
    ],
)
def test_torch_and_numpy_normalise_alike(rgb: bool, scale: float, mean: Triple | None, std: Triple | None) -> None:
    pictures = torch.from_numpy(IMAGES).permute(0, 3, 1, 2).float()
    kept = pictures.clone()
    batch = normalize(pictures, rgb, scale, mean, std)
    assert batch.dtype == torch.float32
    assert batch.is_contiguous()
    np.testing.assert_allclose(batch.numpy(), to_batch(list(IMAGES), rgb, scale, mean, std), rtol=1e-6, atol=1e-6)
    assert torch.equal(pictures, kept)


def test_channels_are_turned_round_for_rgb() -> None:
    pictures = torch.tensor([10.0, 20, 30]).reshape(1, 3, 1, 1)  # blue, green, red
    assert normalize(pictures, True).flatten().tolist() == [30, 20, 10]
    scaled = normalize(pictures, True, 0.1, (1, 2, 3), (1, 2, 4))
    np.testing.assert_allclose(scaled.flatten(), [2, 0, -0.5], atol=1e-6)
