"""People's boxes to their poses: HRNet and every top-down network with the same contract."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Final, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from engines.backends.base import Backend, EngineError, TensorSpec
from engines.cards import ModelCard
from engines.crop import PADDING, Crops
from engines.heatmap import DARK_KERNEL, REFERENCE_SHIFT, Decode, cells_to_crop, decode_heatmaps, flip_back
from engines.images import ImageBatch, on_device
from engines.normalize import to_batch
from engines.results import Image, Poses, Skeleton, check_array
from engines.simcc import BINS_PER_PIXEL, decode_simcc, flip_back_simcc
from engines.skeletons import skeleton

if TYPE_CHECKING:
    from torch import Tensor

    from engines.backends.base import DeviceBackend

Floats = NDArray[np.float32]
Shape = tuple[int | None, ...]
Array = TypeVar("Array", Floats, "Tensor")

MAX_BATCH: Final = 32
"""People in one call of the backend: the largest batch that engines are built for."""


@dataclass(frozen=True, slots=True)
class PoseOptions:
    """How poses are estimated.

    `decode` reads a heat map: `argmax`, `quarter` (the reference's) or `dark`; SimCC vectors have one decoding only.
    `flip_test` averages each crop with its mirror, at twice the cost; the mirror's heat maps are moved by `flip_shift`
    cells, from 0 to 1: the reference's or the exact. `max_batch` is the most crops in one call of the backend.
    A crop is `padding` times as large as the person's box. `dark_kernel`, odd, is DARK's blur in cells: 11, or 17 for
    heat maps of a 384 by 288 input.
    """

    decode: Decode = "quarter"
    flip_test: bool = False
    flip_shift: float = REFERENCE_SHIFT
    max_batch: int = MAX_BATCH
    padding: float = PADDING
    dark_kernel: int = DARK_KERNEL

    def __post_init__(self) -> None:
        if self.decode not in get_args(Decode):
            raise ValueError(f"decode must be one of {', '.join(get_args(Decode))}, got {self.decode!r}")
        if not 0 <= self.flip_shift <= 1:
            raise ValueError(f"flip_shift must be in [0, 1], got {self.flip_shift}")
        if self.max_batch < 1:
            raise ValueError(f"max_batch must be 1 or more, got {self.max_batch}")
        if not 0 < self.padding < float("inf"):
            raise ValueError(f"padding must be above 0, got {self.padding}")
        if self.dark_kernel < 1 or self.dark_kernel % 2 == 0:
            raise ValueError(f"dark_kernel must be odd, got {self.dark_kernel}")


class PoseEstimator:
    """Estimates the poses of all people of all images of a step, in as few calls of the backend as `max_batch` allows.

    Where the backend runs on tensors, all is done on its device: nothing is waited for but the key points, which come
    back in one transfer. Pictures that a detector has put into `images` do not go up again.
    It does not own the backend. Raises EngineError where the model's outputs do not fit its card, or which is which
    cannot be told: on construction as far as the backend knows their shapes, else on the first call.
    """

    def __init__(
        self,
        backend: Backend,
        card: ModelCard,
        options: PoseOptions | None = None,
        images: ImageBatch | None = None,
    ) -> None:
        if card.task != "pose" or card.skeleton is None:
            raise EngineError(f"{card.name}: its task is {card.task}, wanted pose; choose another model for --pose")
        self._backend = backend
        self._card = card
        self._options = options or PoseOptions()
        self._images = images or ImageBatch()
        self._skeleton = skeleton(card.skeleton)
        self._order = self._find_order(backend.outputs)
        self._check_outputs([backend.outputs[i].shape for i in self._order])

    @property
    def skeleton(self) -> Skeleton:
        """The joints that the poses have."""
        return self._skeleton

    def estimate(self, images: Sequence[Image], boxes: Sequence[NDArray[np.float32]]) -> list[Poses]:
        """The poses of the people in `boxes[i]` (M_i, 4) xyxy float32 in pixels of `images[i]`, one Poses an image.

        Key points are in pixels of the image and may lie outside it. Where nobody is, the backend is not called.
        """
        if len(images) != len(boxes):
            raise ValueError(f"boxes must be given for each image, got {len(boxes)} for {len(images)} images")
        for own in boxes:
            check_array("boxes", own, (None, 4), np.float32)
        if not images:
            return []
        owners = [index for index, own in enumerate(boxes) for _ in own]
        crops = Crops.around(np.concatenate(boxes), self._card.input.size, self._options.padding)
        backend = on_device(self._backend)
        if backend is None:
            points, scores = self._estimate_crops(images, owners, crops)
        else:
            points, scores = self._estimate_crops_on_device(backend, images, owners, crops)
        points = crops.points_to_frame(points)
        ends = np.cumsum([len(own) for own in boxes])[:-1]
        return [
            Poses(own_points, own_scores, self._skeleton)
            for own_points, own_scores in zip(np.split(points, ends), np.split(scores, ends), strict=True)
        ]

    def _estimate_crops(self, images: Sequence[Image], owners: Sequence[int], crops: Crops) -> tuple[Floats, Floats]:
        """Points (M, K, 2) in pixels of the crops, and scores (M, K); person i is in `images[owners[i]]`."""
        points, scores = self._nobody(len(owners))
        for part in self._parts(len(owners)):
            people = [(person, images[owners[person]]) for person in range(part.start, part.stop)]
            points[part], scores[part] = self._decode(self._infer(self._batch(people, crops)))
        return points, scores

    def _parts(self, count: int) -> Iterator[slice]:
        """So many people in batches of the largest size."""
        most = self._options.max_batch
        return (slice(start, min(start + most, count)) for start in range(0, count, most))

    def _nobody(self, count: int) -> tuple[Floats, Floats]:
        """Room for points and scores."""
        joints = len(self._skeleton.names)
        return np.empty((count, joints, 2), np.float32), np.empty((count, joints), np.float32)

    def _batch(self, people: Sequence[tuple[int, Image]], crops: Crops) -> Floats:
        """The network's input (N, 3, height, width) for some of the people, each with the picture they are in."""
        pictures = np.empty((len(people), *crops.size, 3), np.uint8)
        for picture, (person, image) in zip(pictures, people, strict=True):
            crops.cut(person, image, picture)
        spec = self._card.input
        return to_batch(list(pictures), spec.color == "rgb", spec.scale, spec.mean, spec.std)

    def _infer(self, batch: Floats) -> tuple[Floats, ...]:
        """The checked outputs for a batch, averaged with those of its mirror where the flip test is on."""
        outputs = self._checked(self._backend.infer(batch), len(batch))
        if not self._options.flip_test:
            return outputs
        mirrored = self._checked(self._backend.infer(np.ascontiguousarray(batch[..., ::-1])), len(batch))
        pairs = self._skeleton.pairs
        if self._card.family == "simcc":
            back: tuple[Floats, ...] = flip_back_simcc(mirrored[0], mirrored[1], pairs)
        else:
            back = (flip_back(mirrored[0], pairs, self._options.flip_shift),)
        return tuple((one + other) / np.float32(2) for one, other in zip(outputs, back, strict=True))

    def _decode(self, outputs: tuple[Floats, ...]) -> tuple[Floats, Floats]:
        """Points (N, K, 2) in pixels of the crop, and scores (N, K)."""
        if self._card.family == "simcc":
            return decode_simcc(outputs[0], outputs[1])
        points, scores = decode_heatmaps(outputs[0], self._options.decode, self._options.dark_kernel)
        height, width = outputs[0].shape[2:]
        return cells_to_crop(points, (height, width), self._card.input.size), scores

    def _estimate_crops_on_device(
        self, backend: DeviceBackend, images: Sequence[Image], owners: Sequence[int], crops: Crops
    ) -> tuple[Floats, Floats]:
        """What `_estimate_crops` does, by torch, where the backend is."""
        from engines import crop_torch, normalize_torch

        used = sorted(set(owners))
        pictures = self._images.take([images[i] for i in used], backend.device)
        if not owners:
            return self._nobody(0)
        spec, copies = self._card.input, self._images.copies
        sizes = [(images[i].shape[0], images[i].shape[1]) for i in used]
        placed = crop_torch.placed(crops, [used.index(owner) for owner in owners], sizes)
        pixels, places = crop_torch.framed(pictures), copies.send(placed, backend.device)
        found: list[Tensor] = []
        for part in self._parts(len(owners)):
            batch = crop_torch.cut(pixels, places[part], crops.size)
            batch = normalize_torch.normalize(batch, spec.color == "rgb", spec.scale, spec.mean, spec.std)
            found.extend(self._decode_on_device(self._infer_on_device(backend, batch)))
        fetched = copies.fetch(found)
        return np.concatenate(fetched[::2]), np.concatenate(fetched[1::2])

    def _infer_on_device(self, backend: DeviceBackend, batch: Tensor) -> tuple[Tensor, ...]:
        """What `_infer` does, on the device."""
        from engines.heatmap_torch import flip_back
        from engines.simcc_torch import flip_back_simcc

        outputs = self._checked(backend.infer_tensors(batch), len(batch))
        if not self._options.flip_test:
            return outputs
        mirrored = self._checked(backend.infer_tensors(batch.flip(-1)), len(batch))
        pairs = self._skeleton.pairs
        if self._card.family == "simcc":
            back: tuple[Tensor, ...] = flip_back_simcc(mirrored[0], mirrored[1], pairs)
        else:
            back = (flip_back(mirrored[0], pairs, self._options.flip_shift),)
        return tuple((one + other) / 2 for one, other in zip(outputs, back, strict=True))

    def _decode_on_device(self, outputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """What `_decode` does, on the device."""
        from engines.heatmap_torch import decode_heatmaps
        from engines.simcc_torch import decode_simcc

        if self._card.family == "simcc":
            return decode_simcc(outputs[0], outputs[1])
        points, scores = decode_heatmaps(outputs[0], self._options.decode, self._options.dark_kernel)
        height, width = outputs[0].shape[2:]
        points[..., 0] *= self._card.input.size[1] / width
        points[..., 1] *= self._card.input.size[0] / height
        return points, scores

    def _checked(self, outputs: tuple[Array, ...], count: int) -> tuple[Array, ...]:
        """The outputs for a batch of `count`, in the order of the card's family, arrays or tensors."""
        if len(outputs) == len(self._order):
            outputs = tuple(outputs[i] for i in self._order)
        self._check_outputs([tuple(output.shape) for output in outputs], count)
        return outputs

    def _find_order(self, outputs: Sequence[TensorSpec]) -> tuple[int, ...]:
        """Where the outputs that are wanted stand among the model's; as they come where none or each may be each."""
        as_they_come = tuple(range(len(outputs)))
        if self._card.family != "simcc":
            return as_they_come
        orders = simcc_orders([o.name for o in outputs], [o.shape[2:] for o in outputs], self._card.input.size)
        if len(orders) > 1:
            raise EngineError(
                f"{self._card.name}: which of {outputs[0].name} and {outputs[1].name} is x cannot be told, their "
                "shapes are alike; name them simcc_x and simcc_y in the model"
            )
        return orders[0] if orders else as_they_come

    def _check_outputs(self, got: Sequence[Shape], count: int | None = None) -> None:
        """Raise EngineError unless the shapes of the outputs are those of the card; None stands for any size."""
        joints = len(self._skeleton.names)
        height, width = self._card.input.size
        wanted: list[Shape] = [(count, joints, None, None)]
        if self._card.family == "simcc":
            wanted = [(count, joints, BINS_PER_PIXEL * width), (count, joints, BINS_PER_PIXEL * height)]
        if len(got) != len(wanted) or not all(map(_fits, got, wanted)):
            raise EngineError(
                f"{self._card.name}: outputs are {_say(got)}, wanted {_say(wanted)} for {self._card.family} of "
                f"{self._skeleton.name} ({joints} joints); correct family, size or skeleton on its card"
            )


def simcc_orders(names: Sequence[str], shapes: Sequence[Shape], size: tuple[int, int]) -> list[tuple[int, int]]:
    """Which (x, y) of a model's outputs, by position, may be SimCC vectors for a crop of `size` (height, width).

    `shapes` are the vectors' own, (2 * side,), None standing for any. A name that ends in x or y decides over the
    shapes. Of a square crop whose outputs have no such names both orders are returned.
    """
    if len(names) != 2:
        return []
    axes = [name.lower().rpartition("_")[2] for name in names]
    x_wanted, y_wanted = (BINS_PER_PIXEL * size[1],), (BINS_PER_PIXEL * size[0],)
    return [
        (x, y)
        for x, y in permutations(range(2))
        if axes[x] != "y" and axes[y] != "x" and _fits(shapes[x], x_wanted) and _fits(shapes[y], y_wanted)
    ]


def _fits(got: Shape, wanted: Shape) -> bool:
    """Whether two shapes agree wherever both are known."""
    return len(got) == len(wanted) and all(a is None or b is None or a == b for a, b in zip(got, wanted, strict=True))


def _say(shapes: Sequence[Shape]) -> str:
    """Shapes in words, as `[N, 17, 384] [N, 17, 512]`; N is a free size."""
    return (
        " ".join("[" + ", ".join("N" if size is None else str(size) for size in shape) + "]" for shape in shapes)
        or "none"
    )
