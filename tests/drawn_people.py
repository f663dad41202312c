"""People for the tests of training: grey pictures with a dot of its own colour at each joint, and a tiny HRNet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.nets.hrnet_layout import HrnetLayout, StageLayout
from engines.results import Skeleton
from engines.training.looks import PLAIN
from engines.training.placement import STILL, PlacementOptions
from engines.training.pose import PoseLesson, PoseTraining, Stage
from engines.training.pose_pack import PosePack

STICK = Skeleton(
    "stick",
    ("nose", "left_wrist", "right_wrist", "left_ankle", "right_ankle"),
    ((0, 1), (0, 2), (0, 3), (0, 4)),
    ((1, 2), (3, 4)),
    (0.1,) * 5,
)
JOINTS = 5
SIZE, CELLS = (64, 48), (16, 12)
"""Of a network's crop and of its heat maps."""
PACKED = (96, 72)
MARGIN = (12.0, 16.0)
"""Where the network's crop begins in the packed one, xy."""
COLORS = ((255, 255, 255), (255, 40, 40), (40, 255, 40), (40, 40, 255), (40, 255, 255))


def tiny_layout(joints: int = JOINTS) -> HrnetLayout:
    return HrnetLayout((StageLayout(1, (1, 1), (4, 8)),), joints, SIZE, stem=8, stem_blocks=1)


def drawn(points: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture of `size` with soft dots at points (K, 2)."""
    y, x = np.mgrid[: size[0], : size[1]]
    picture = np.full((*size, 3), 60.0)
    for point, color in zip(points, COLORS, strict=True):
        share = np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / 18)[..., None]
        picture = picture * (1 - share) + np.array(color) * share
    return picture.round().astype(np.uint8)


def stick_people(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Joints (N, K, 2) in packed pixels, each in its part of the network's crop."""
    middles = np.array([[36, 26], [24, 42], [48, 42], [26, 66], [46, 66]], np.float32)
    return middles + np.random.default_rng(seed).uniform(-7, 7, (count, JOINTS, 2)).astype(np.float32)


def pack_of(points: NDArray[np.float32], **changes: Any) -> PosePack:
    """People packed as drawn, all labelled, no teacher; `changes` are other fields."""
    count = len(points)
    fields: dict[str, Any] = {
        "crops": np.stack([drawn(own, PACKED) for own in points]),
        "points": points,
        "labelled": np.ones((count, JOINTS), np.bool_),
        "maps": np.zeros((0, JOINTS, *CELLS), np.uint8),
        "taught": np.zeros((count, JOINTS), np.bool_),
        "pictures": np.arange(count),
        "sets": np.zeros(count, np.int64),
        "paths": tuple(Path(f"{row}.png") for row in range(count)),
    }
    return PosePack(**{**fields, **changes})


def lesson_of(
    network: Any,
    pack: PosePack,
    placement: PlacementOptions = STILL,
    stages: tuple[Stage, ...] = (Stage(SIZE, 60, 8),),
    **options: Any,
) -> PoseLesson:
    """A lesson that learns all people of a pack and is marked by them."""
    rows = np.arange(len(pack))
    training = PoseTraining(stages, placement=placement, looks=PLAIN)
    return PoseLesson(network, pack, STICK, training, rows, rows, np.ones(len(rows)), **options)
