"""Batches for the training of a detector: four pictures in one, of all sizes, mirrored, shifted, in other colours.

Coordinates are continuous, as in `engines.letterbox`: (0, 0) is the outer corner of the first pixel. Source of the
mosaic: Bochkovskiy et al., YOLOv4, 2020; of its use here: Ge et al., YOLOX, 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.letterbox import Size, fit
from engines.results import Image
from engines.training.picture_pack import PackedPeople, PicturePack
from engines.training.yolox_loss import People

PAD: Final = 114
"""Of every channel around pictures, as at inference."""
CENTER: Final = (0.25, 0.75)
"""Where the four of a mosaic may meet, as a share of its height and of its width."""
HUES: Final = 180
"""Of cv2's HSV in 8 bits."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class MosaicOptions:
    """How pictures are varied.

    A share `mosaic` of the batch is of four pictures. `scale` is the range of sizes, 1 being what the letterbox makes
    of a picture, and `stretch` how much more one side may be scaled than the other. `flip` is how often pictures are
    mirrored. `hue`, `saturation` and `value` are the largest changes of colour, as shares. A person of whom less than
    `seen` is left, or who is lower or narrower than `smallest` pixels, is passed over.
    """

    mosaic: float = 0.7
    scale: tuple[float, float] = (0.5, 1.5)
    stretch: float = 0.15
    flip: float = 0.5
    hue: float = 0.015
    saturation: float = 0.5
    value: float = 0.35
    seen: float = 0.3
    smallest: float = 6.0

    def __post_init__(self) -> None:
        for name in ("mosaic", "stretch", "flip", "hue", "saturation", "value", "seen"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale must be a range above 0, got {self.scale}")


@dataclass(frozen=True, slots=True, eq=False)
class DetectorBatch:
    """Pictures and their people, padded to the most that any has.

    `images` (B, 3, H, W) float32 BGR 0 to 255; `boxes` (B, G, 4) float32 xyxy and their `weights` (B, G), the first
    `counts` (B,) of each row being meant; `passed` (B, I, 4), boxes in which nothing is background, and their number.
    """

    images: Tensor
    boxes: Tensor
    weights: Tensor
    counts: Tensor
    passed: Tensor
    passed_counts: Tensor

    def to(self, device: torch.device) -> DetectorBatch:
        """The same on a device; the counts stay, as the host reads them."""
        return DetectorBatch(
            self.images.to(device),
            self.boxes.to(device),
            self.weights.to(device),
            self.counts,
            self.passed.to(device),
            self.passed_counts,
        )

    def people(self) -> list[People]:
        """Those of each picture."""
        counts = zip(self.counts.tolist(), self.passed_counts.tolist(), strict=True)
        return [
            People(self.boxes[i, :count], self.weights[i, :count], self.passed[i, :passed])
            for i, (count, passed) in enumerate(counts)
        ]


def make_batch(
    pack: PicturePack,
    numbers: Sequence[int],
    size: Size,
    count: int,
    rng: np.random.Generator,
    options: MosaicOptions,
    *,
    is_plain: bool = False,
) -> DetectorBatch:
    """`count` pictures of `size` (height, width) out of those numbered, all drawn by `rng`.

    With `is_plain` none is a mosaic, stretched or recoloured: the last phase of a training, near to how the network
    will be used.
    """
    made = [_varied(pack, numbers, size, rng, options, is_plain=is_plain) for _ in range(count)]
    return collate([image for image, _ in made], [people for _, people in made])


def collate(images: Sequence[Image], people: Sequence[PackedPeople]) -> DetectorBatch:
    """Pictures (H, W, 3) uint8 of one size and their people as a batch."""
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
    boxes, counts = _padded([one.boxes[~one.passed] for one in people])
    weights, _ = _padded([one.scores[~one.passed, None] for one in people])
    passed, passed_counts = _padded([one.boxes[one.passed] for one in people])
    return DetectorBatch(stacked, boxes, weights[..., 0], counts, passed, passed_counts)


def place(
    pack: PicturePack, number: int, canvas: Image, area: tuple[int, int, int, int], placing: Placing
) -> PackedPeople:
    """Paint a picture into `area` (left, top, right, bottom) of a canvas; its people there, none judged yet.

    Boxes keep their sizes beyond the area: `judge` clips them.
    """
    image, people = pack.picture(number), pack.people(number)
    left, top, right, bottom = area
    matrix = placing.matrix(image.shape[1])
    centered = matrix.copy()  # cv2 counts from the middle of the first pixel
    centered[:, 2] += matrix[:, :2].sum(axis=1) / 2 - 0.5 - (left, top)
    inside = canvas[top:bottom, left:right]
    border = (PAD, PAD, PAD)
    inside[:] = cv2.warpAffine(
        image, centered, (right - left, bottom - top), flags=cv2.INTER_LINEAR, borderValue=border
    )
    return PackedPeople(placing.boxes(people.boxes, image.shape[1]), people.scores, people.passed)


@dataclass(frozen=True, slots=True)
class Placing:
    """Where a picture goes: scaled by (x, y), mirrored first or not, its top left at `corner` (x, y) of the canvas."""

    scale: tuple[float, float]
    corner: tuple[float, float]
    is_mirrored: bool = False

    def matrix(self, width: int) -> NDArray[np.float64]:
        """The affine map (2, 3) of points of a picture so wide, to points of the canvas."""
        (x_scale, y_scale), (x, y) = self.scale, self.corner
        across = [-x_scale, 0, x + width * x_scale] if self.is_mirrored else [x_scale, 0, x]
        return np.array([across, [0, y_scale, y]])

    def boxes(self, boxes: Floats, width: int) -> Floats:
        """Boxes (P, 4) xyxy of the picture on the canvas."""
        ends = boxes[:, [2, 1, 0, 3]] if self.is_mirrored else boxes
        matrix = self.matrix(width)
        slopes = np.tile(matrix.diagonal(), 2)
        moved: Floats = (ends * slopes + np.tile(matrix[:, 2], 2)).astype(np.float32)
        return moved


def judge(people: PackedPeople, area: tuple[int, int, int, int], seen: float, smallest: float) -> PackedPeople:
    """People clipped to an area (left, top, right, bottom): those of whom too little is left are passed over or gone.

    Less than `seen` of the box, or a side under `smallest` pixels, is too little; nothing at all is gone.
    """
    low, high = np.array(area[:2] * 2, np.float32), np.array(area[2:] * 2, np.float32)
    clipped = np.clip(people.boxes, low, high)
    sides = clipped[:, 2:] - clipped[:, :2]
    whole = (people.boxes[:, 2:] - people.boxes[:, :2]).prod(axis=1)
    too_little = (sides.prod(axis=1) < seen * whole) | (sides.min(axis=1, initial=np.inf) < smallest)
    kept = (sides > 0).all(axis=1)
    return PackedPeople(clipped[kept], people.scores[kept], (people.passed | too_little)[kept])


def recolour(image: Image, gains: tuple[float, float, float]) -> Image:
    """A picture whose hue is turned by a share of the circle, and whose saturation and value are multiplied."""
    hue, saturation, value = cv2.split(cv2.cvtColor(image, cv2.COLOR_BGR2HSV))
    levels = np.arange(256)
    tables = (
        (levels + round(gains[0] * HUES)) % HUES,
        np.clip(levels * gains[1], 0, 255),
        np.clip(levels * gains[2], 0, 255),
    )
    parts = [
        cv2.LUT(part, table.astype(np.uint8)) for part, table in zip((hue, saturation, value), tables, strict=True)
    ]
    return np.asarray(cv2.cvtColor(cv2.merge(parts), cv2.COLOR_HSV2BGR), np.uint8)


def letterboxed(pack: PicturePack, number: int, size: Size) -> tuple[Image, PackedPeople]:
    """A picture as the network will see it: in the top left, as large as fits, and all its people."""
    image, people = pack.picture(number), pack.people(number)
    letterbox = fit((image.shape[0], image.shape[1]), size, "top-left")
    boxes = letterbox.boxes_to_input(people.boxes)
    return letterbox.paint(image, PAD), PackedPeople(boxes, people.scores, people.passed)


def _varied(
    pack: PicturePack,
    numbers: Sequence[int],
    size: Size,
    rng: np.random.Generator,
    options: MosaicOptions,
    *,
    is_plain: bool,
) -> tuple[Image, PackedPeople]:
    """One picture of a batch."""
    canvas = np.full((*size, 3), PAD, np.uint8)
    is_mosaic = not is_plain and rng.random() < options.mosaic
    parts = []
    for area in _quarters(size, rng) if is_mosaic else [(0, 0, size[1], size[0])]:
        number = numbers[int(rng.integers(len(numbers)))]
        placing = _placing(pack.picture(number), size, area, rng, options, is_mosaic=is_mosaic, is_plain=is_plain)
        parts.append(judge(place(pack, number, canvas, area, placing), area, options.seen, options.smallest))
    people = PackedPeople(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.passed for part in parts]),
    )
    if is_plain:
        return canvas, people
    changes = rng.uniform(-1, 1, 3) * (options.hue, options.saturation, options.value)
    return recolour(canvas, (float(changes[0]), 1 + float(changes[1]), 1 + float(changes[2]))), people


def _quarters(size: Size, rng: np.random.Generator) -> list[tuple[int, int, int, int]]:
    """The four areas (left, top, right, bottom) of a mosaic."""
    y, x = (round(side * rng.uniform(*CENTER)) for side in size)
    height, width = size
    return [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]


def _placing(
    image: Image,
    size: Size,
    area: tuple[int, int, int, int],
    rng: np.random.Generator,
    options: MosaicOptions,
    *,
    is_mosaic: bool,
    is_plain: bool,
) -> Placing:
    """A random size and place: anywhere in the area where it is smaller than that, any part of it where it is larger.

    A plain picture is in the top left, as at inference, and no larger than the letterbox makes it.
    """
    height, width = image.shape[:2]
    fitting = min(size[0] / height, size[1] / width)
    is_mirrored = bool(rng.random() < options.flip)
    low, high = options.scale
    if is_plain:
        scale = fitting * rng.uniform(max(low, (1 + low) / 2), 1) if low < 1 else fitting
        return Placing((scale, scale), (0.0, 0.0), is_mirrored)
    scale = fitting * float(np.exp(rng.uniform(np.log(low), np.log(high))))
    stretch = float(np.exp(rng.uniform(-1, 1) * np.log1p(options.stretch) / 2))
    scales = scale * stretch, scale / stretch
    room = (area[2] - area[0] - width * scales[0], area[3] - area[1] - height * scales[1])
    shift = rng.uniform(0, 1, 2) if is_mosaic or rng.random() < 0.5 else np.zeros(2)
    return Placing(scales, (area[0] + room[0] * shift[0], area[1] + room[1] * shift[1]), is_mirrored)


def _padded(rows: Sequence[Floats]) -> tuple[Tensor, Tensor]:
    """Arrays (n_i, K) as one (B, max n, K), and their n."""
    counts = [len(row) for row in rows]
    table = torch.zeros(len(rows), max(counts), rows[0].shape[1])
    for i, row in enumerate(rows):
        table[i, : len(row)] = torch.from_numpy(np.ascontiguousarray(row))
    return table, torch.tensor(counts)
