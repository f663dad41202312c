"""Pictures to the numbers a network eats."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.results import Image

Triple = tuple[float, float, float]


def to_batch(
    images: Sequence[Image], out_rgb: bool, scale: float = 1.0, mean: Triple | None = None, std: Triple | None = None
) -> NDArray[np.float32]:
    """The network input (N, 3, h, w) float32 of N pictures (h, w, 3) uint8 BGR: (x * scale - mean) / std.

    Channels come out as RGB where `out_rgb`, else BGR; `mean` and `std` are in that order. The array is new and
    C-contiguous. Raises ValueError where there is no picture or the pictures differ in size.
    """
    if not images:
        raise ValueError("images must be one or more, got none")
    shape = images[0].shape
    batch = np.empty((len(images), 3, *shape[:2]), np.float32)
    gains = [scale / s for s in std or (1.0, 1.0, 1.0)]
    offsets = [-m / s for m, s in zip(mean or (0.0, 0.0, 0.0), std or (1.0, 1.0, 1.0), strict=True)]
    for image, planes in zip(images, batch, strict=True):
        if image.shape != shape:
            raise ValueError(f"images must be of one size, got {image.shape} beside {shape}")
        channels = cv2.split(image)
        for plane, channel, gain, offset in zip(
            planes, channels[::-1] if out_rgb else channels, gains, offsets, strict=True
        ):
            if gain == 1.0 and offset == 0.0:
                np.copyto(plane, channel)
            else:  # one pass from uint8 to scaled float; the second picture has no weight
                cv2.addWeighted(channel, gain, channel, 0.0, offset, dst=plane, dtype=cv2.CV_32F)
    return batch
