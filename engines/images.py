"""The pictures of one step where the networks run: on the device once, for the detector and for the pose estimator.

torch is imported only once a picture goes up: machines without it run on the host's arrays as before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from engines.backends.base import Backend
from engines.results import Image

if TYPE_CHECKING:
    from torch import Tensor

    from engines.backends.base import DeviceBackend


def on_device(backend: Backend) -> DeviceBackend | None:
    """The same backend where it also takes and gives tensors, else None.

    To be asked at every call: a backend may be exchanged for a faster one while it serves.
    """
    return cast("DeviceBackend", backend) if hasattr(backend, "device") else None


@dataclass(slots=True)
class Copies:
    """What has gone between the host and the device: how often, and bytes.

    On a GPU both ways lead through pinned memory, and only `fetch` waits. Tensors on the CPU are counted alike, so
    that a machine without a GPU tells how many copies one would make.
    """

    uploads: int = 0
    uploaded_bytes: int = 0
    fetches: int = 0
    fetched_bytes: int = 0

    def send(self, array: NDArray[Any], device: str) -> Tensor:
        """A copy of `array` on the device, under way when this returns."""
        import torch

        dtype = torch.from_numpy(np.empty(0, array.dtype)).dtype
        staging = torch.empty(array.shape, dtype=dtype, pin_memory=torch.device(device).type == "cuda")
        np.copyto(staging.numpy(), array)
        self.uploads += 1
        self.uploaded_bytes += array.nbytes
        return staging.to(device, non_blocking=True)

    def fetch(self, tensors: Sequence[Tensor]) -> list[NDArray[np.float32]]:
        """Wait for one or more float32 tensors of one device, and bring them all over in a single transfer."""
        import torch

        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        if flat.is_cuda:
            staging = torch.empty(flat.shape, dtype=flat.dtype, pin_memory=True)
            staging.copy_(flat, non_blocking=True)
            torch.cuda.current_stream(flat.device).record_event().synchronize()
            flat = staging.clone()  # pinned memory is for the next transfer
        values = flat.numpy()
        self.fetches += 1
        self.fetched_bytes += values.nbytes
        parts = np.split(values, np.cumsum([tensor.numel() for tensor in tensors])[:-1])
        return [part.reshape(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def words(self, frames: int) -> str:
        """The copies of a run in a line, per frame; empty where there were none."""
        if not (self.uploads and frames):
            return ""
        up, back = self.uploads / frames, self.fetches / frames
        return (
            f"copies a frame: {up:.2f} to the device ({self.uploaded_bytes / frames / 1e6:.2f} MB), "
            f"{back:.2f} from it ({self.fetched_bytes / frames / 1e3:.1f} kB)"
        )


class ImageBatch:
    """Pictures that went up for the detector and wait for the pose estimator of the same step.

    Both are given the same arrays, and by that a picture is known again. It serves once: whoever writes to an array
    between two steps is not shown what was there before. Neither arrays nor tensors are held for longer than a step.
    """

    def __init__(self) -> None:
        self.copies = Copies()
        self._kept: dict[tuple[int, str], tuple[Image, Tensor]] = {}  # the image is held so that its id stays its own

    def put(self, images: Sequence[Image], device: str) -> list[Tensor]:
        """The pictures (H, W, 3) uint8 on the device, and kept there for the next `take`; those kept so far are let go.

        An array that comes twice goes up once.
        """
        self._kept = {}
        return self._up(images, device, self._kept)

    def take(self, images: Sequence[Image], device: str) -> list[Tensor]:
        """The pictures on the device, those kept there and the others newly sent; nothing is kept."""
        kept, self._kept = self._kept, {}
        return self._up(images, device, kept)

    def _up(
        self, images: Sequence[Image], device: str, kept: dict[tuple[int, str], tuple[Image, Tensor]]
    ) -> list[Tensor]:
        pictures = []
        for image in images:
            key = id(image), device
            if key not in kept:
                kept[key] = image, self.copies.send(image, device)
            pictures.append(kept[key][1])
        return pictures
