"""SimCC outputs, one vector an axis, to key points (arXiv 2107.03332)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.heatmap import mirrored_order

Floats = NDArray[np.float32]

BINS_PER_PIXEL = 2
"""Places of a SimCC vector to one pixel of the crop: place i stands for pixel i / 2."""


def decode_simcc(simcc_x: Floats, simcc_y: Floats) -> tuple[Floats, Floats]:
    """The key points (N, K, 2) xy in pixels of the crop and their scores (N, K) of SimCC vectors, all float32.

    `simcc_x` is (N, K, 2 * width), `simcc_y` (N, K, 2 * height). The score is the smaller of the two highest values.
    """
    places = np.stack([simcc_x.argmax(axis=-1), simcc_y.argmax(axis=-1)], axis=-1)
    scores = np.minimum(simcc_x.max(axis=-1), simcc_y.max(axis=-1))
    return places.astype(np.float32) / np.float32(BINS_PER_PIXEL), scores


def flip_back_simcc(simcc_x: Floats, simcc_y: Floats, pairs: tuple[tuple[int, int], ...]) -> tuple[Floats, Floats]:
    """The SimCC vectors of mirrored crops, as those of the crops: x mirrored, left and right joints swapped.

    Pixel x of a crop is pixel width - 1 - x of its mirror, so that x comes back one place too far right; it is moved
    left, and the last place stays as it is.
    """
    order = mirrored_order(simcc_x.shape[1], pairs)
    back = simcc_x[:, order, ::-1]
    back[..., :-1] = back[..., 1:].copy()
    return np.ascontiguousarray(back), simcc_y[:, order]
