"""Poses with what the debug files show of them: heat maps, and joints in their cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.backends.base import Backend, TensorSpec
from engines.crop import PADDING, Crops
from engines.heatmap import flip_back
from engines.results import Image, Poses, Skeleton
from stream.folder.annots import cut_box, within
from stream.pipeline import Estimator

Floats = NDArray[np.float32]
Size = tuple[int, int]
"""(height, width)."""


@dataclass(frozen=True, slots=True, eq=False)
class Posed:
    """The poses of the M people of one picture.

    `cells` is (M, K, 2) xy in cells of heat maps of `heatmap_size` (height, width), `heatmaps` (M, K, h, w) or None
    where they are not kept or the network gives none.
    """

    poses: Poses
    cells: Floats
    heatmap_size: Size
    heatmaps: Floats | None


class HeatmapTap:
    """A backend whose heat maps are kept until they are taken, for the debug pictures.

    The flip test is made here then, and not by the estimator, so that what is kept is what is decoded: `flip_shift` is
    that of PoseOptions, None without the test. Whoever opened the backend within closes it.
    """

    def __init__(self, backend: Backend, pairs: tuple[tuple[int, int], ...], flip_shift: float | None) -> None:
        self._backend = backend
        self._pairs = pairs
        self._flip_shift = flip_shift
        self._kept: list[Floats] = []

    @property
    def name(self) -> str:
        """That of the backend within."""
        return self._backend.name

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Those of the backend within."""
        return self._backend.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Those of the backend within."""
        return self._backend.outputs

    def infer(self, batch: Floats) -> tuple[Floats, ...]:
        """The heat maps (N, K, h, w) of a batch."""
        heatmaps, *more = self._backend.infer(batch)
        if self._flip_shift is not None:
            mirrored = self._backend.infer(np.ascontiguousarray(batch[..., ::-1]))[0]
            heatmaps = (heatmaps + flip_back(mirrored, self._pairs, self._flip_shift)) / np.float32(2)
        self._kept.append(heatmaps)
        return (heatmaps, *more)

    def close(self) -> None:
        """Forget what was kept."""
        self._kept = []

    def take(self) -> Floats | None:
        """The heat maps (N, K, h, w) since the last call, in the order of the people; None where nobody was."""
        kept, self._kept = self._kept, []
        return np.concatenate(kept) if kept else None


class Poser:
    """People's boxes to their poses and debug files.

    Crops are fitted: `size` (height, width) at the box's own aspect, with `padding` around. `stretch` is the older
    tool's way, for comparison: the cut, distorted to `size`; the estimator must then crop without padding.
    """

    def __init__(
        self,
        estimator: Estimator,
        skeleton: Skeleton,
        size: Size,
        heatmap_size: Size,
        *,
        tap: HeatmapTap | None = None,
        padding: float = PADDING,
        stretch: bool = False,
    ) -> None:
        self.skeleton = skeleton
        self._estimator = estimator
        self._size = size
        self._heatmap_size = heatmap_size
        self._tap = tap
        self._padding = padding
        self._stretch = stretch

    def pose(self, images: Sequence[Image], boxes: Sequence[Floats]) -> list[Posed]:
        """The poses of the people in `boxes[i]` (M_i, 4) xyxy of `images[i]`, one Posed an image."""
        if self._stretch:
            poses, crops = self._pose_stretched(images, boxes)
        else:
            poses = self._estimator.estimate(images, boxes)
            crops = [
                Crops.around(own, self._size, self._padding).points_to_crop(found.keypoints)
                for own, found in zip(boxes, poses, strict=True)
            ]
        ratio = np.array(self._heatmap_size[::-1], np.float32) / self._size[::-1]
        heatmaps = self._tap.take() if self._tap is not None else None
        ends = np.cumsum([len(own) for own in boxes])
        return [
            Posed(
                found,
                points * ratio,
                self._heatmap_size,
                None if heatmaps is None else heatmaps[end - len(points) : end],
            )
            for found, points, end in zip(poses, crops, ends, strict=True)
        ]

    def crops(self, image: Image, boxes: Floats) -> list[Image]:
        """What the network sees of each person (height, width, 3)."""
        if self._stretch:
            return [_stretched(image, box, self._size) for box in _cut_boxes(boxes, image)]
        crops = Crops.around(boxes, self._size, self._padding)
        pictures = [np.empty((*self._size, 3), np.uint8) for _ in boxes]
        for person, picture in enumerate(pictures):
            crops.cut(person, image, picture)
        return pictures

    def _pose_stretched(self, images: Sequence[Image], boxes: Sequence[Floats]) -> tuple[list[Poses], list[Floats]]:
        """The poses, and the key points (M, K, 2) in pixels of the crops, of one image after another.

        Each distorted cut goes to the estimator as a picture of its own that one person fills.
        """
        height, width = self._size
        whole = np.array([[0, 0, width, height]], np.float32)
        cuts = [_cut_boxes(own, image) for own, image in zip(boxes, images, strict=True)]
        pictures = [_stretched(image, box, self._size) for own, image in zip(cuts, images, strict=True) for box in own]
        found = iter(self._estimator.estimate(pictures, [whole] * len(pictures)))
        joints = len(self.skeleton.names)
        poses, points = [], []
        for own in cuts:
            people = [next(found) for _ in own]
            crop = np.concatenate([np.empty((0, joints, 2), np.float32), *(one.keypoints for one in people)])
            scores = np.concatenate([np.empty((0, joints), np.float32), *(one.scores for one in people)])
            scale = (own[:, 2:] - own[:, :2])[:, None] / np.array((width, height))  # (M, 1, 2)
            poses.append(Poses((crop * scale + own[:, None, :2]).astype(np.float32), scores, self.skeleton))
            points.append(crop)
        return poses, points


def _cut_boxes(boxes: Floats, image: Image) -> NDArray[np.int64]:
    """The cuts (M, 4) of boxes that may lie over the picture's edge; each has at least one pixel of the picture."""
    height, width = image.shape[:2]
    cuts = cut_box(within(boxes, (height, width)))
    low = np.minimum(cuts[:, :2], (width - 1, height - 1))
    return np.concatenate([low, np.maximum(cuts[:, 2:], low + 1)], axis=1)


def _stretched(image: Image, box: NDArray[np.int64], size: Size) -> Image:
    """The pixels of a box (4,) xyxy, distorted to `size`."""
    x1, y1, x2, y2 = box.tolist()
    return np.asarray(cv2.resize(image[y1:y2, x1:x2], size[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
