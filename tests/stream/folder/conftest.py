"""Pictures whose people are known, and networks that find them by their colours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engines.backends.base import TensorSpec
from engines.cards import make_card
from engines.hrnet import PoseEstimator, PoseOptions
from engines.results import Detections
from engines.skeletons import COCO17
from stream.folder.drawing import PoseStyle
from stream.folder.people import KnownPeople, PeopleFiles
from stream.folder.places import pictures_of
from stream.folder.poser import HeatmapTap, Poser
from stream.folder.poses import PoseFiles
from stream.folder.workflow import Detection, Posing, Workflow
from stream.meter import Meter

SIZE, CELLS = (64, 48), (16, 12)

Floats = NDArray[np.float32]


class BrightSpot:
    """A pose network whose every heat map is the crop's green, averaged over 4 by 4 pixels."""

    name = "bright spot"
    inputs = (TensorSpec("image", (None, 3, *SIZE), "float32"),)
    outputs = (TensorSpec("heatmaps", (None, 17, *CELLS), "float32"),)

    def __init__(self) -> None:
        self.batches: list[int] = []

    def infer(self, batch: Floats) -> tuple[Floats, ...]:
        self.batches.append(len(batch))
        green = batch[:, 1].reshape(len(batch), CELLS[0], 4, CELLS[1], 4).mean(axis=(2, 4))
        return (np.repeat(green[:, None], 17, axis=1),)

    def close(self) -> None:
        """Nothing is held."""


class Detector:
    """Finds blue rectangles; as many pictures at once as it is asked for are noted."""

    def __init__(self, *, spill: float = 0.0) -> None:
        self.batches: list[int] = []
        self._spill = spill

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        self.batches.append(len(images))
        return [self._found(image) for image in images]

    def _found(self, image: NDArray[np.uint8]) -> Detections:
        outlines, _ = cv2.findContours(
            (image[..., 0] > 100).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
        )
        found = sorted(cv2.boundingRect(outline) for outline in outlines)
        boxes = np.array([(x - self._spill, y, x + w + self._spill, y + h) for x, y, w, h in found], np.float32)
        return Detections(boxes.reshape(-1, 4), np.linspace(0.9, 0.5, len(found), dtype=np.float32))


def person_picture(people: int) -> NDArray[np.uint8]:
    """Blue people, 30 wide and 60 high at x = 10 + 60 i, y = 20, each with a green spot around (15, 20) from there."""
    image = np.zeros((120, 200, 3), np.uint8)
    for left in range(10, 10 + 60 * people, 60):
        image[20:80, left : left + 30, 0] = 200
        image[38:43, left + 13 : left + 18, 1] = 255
    return image


@pytest.fixture
def make_pictures(tmp_path: Path) -> Callable[[dict[str, int]], Path]:
    """Writes `images/NAME` with so many people each, and returns the folder around it."""

    def make(people: dict[str, int]) -> Path:
        (tmp_path / "images").mkdir(exist_ok=True)
        for name, count in people.items():
            assert cv2.imwrite(str(tmp_path / "images" / name), person_picture(count))
        return tmp_path

    return make


@pytest.fixture
def make_poser() -> Callable[..., Poser]:
    """A Poser over BrightSpot."""

    def make(*, stretch: bool = False, network: BrightSpot | None = None) -> Poser:
        tap = HeatmapTap(network or BrightSpot(), COCO17.pairs, None)
        padding = 1.0 if stretch else 1.25
        card = make_card("spot", {
            "name": "spot", "family": "heatmap", "skeleton": "coco17",
            "input": {"size": SIZE, "mean": [0, 0, 0], "std": [1, 1, 1]},
        })  # fmt: skip
        estimator = PoseEstimator(tap, card, PoseOptions(padding=padding))
        return Poser(estimator, COCO17, SIZE, CELLS, tap=tap, padding=padding, stretch=stretch)

    return make


@pytest.fixture
def network() -> BrightSpot:
    return BrightSpot()


@pytest.fixture
def make_detector() -> type[Detector]:
    return Detector


@pytest.fixture
def make_workflow(make_poser: Callable[..., Poser]) -> Callable[..., Workflow]:
    """A workflow over a folder: both steps, or one, with the networks of this file."""

    def make(
        root: Path, *, detect: bool = True, pose: bool = True, resume: bool = False, batch_size: int = 2,
        detector: Detector | None = None, poser: Poser | None = None,
    ) -> Workflow:  # fmt: skip
        annots, cuts = root / "annots", root / "cuts"
        poser = poser or make_poser()
        style = PoseStyle(circle_radius=2, circle_thickness=1, label=False)
        found = Detection(detector or Detector(), PeopleFiles(annots, cuts, root / "inspect"))
        return Workflow(
            pictures=pictures_of(f"{root}/images"),
            people=found if detect else KnownPeople(annots, cuts),
            posing=Posing(poser, PoseFiles(root / "final", root / "output", cuts, poser, style)) if pose else None,
            batch_size=batch_size,
            threads=2,
            resume=resume,
            meter=Meter(),
        )

    return make
