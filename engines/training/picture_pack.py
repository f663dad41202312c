"""Pictures for the training of a detector, decoded once: shrunk pixels in one flat file, and their boxes.

Reading is then a view of memory that the system keeps warm, so that no processor waits for JPEGs.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.export import Say, silent
from engines.nms import box_iou, nms
from engines.results import Detections, Image
from engines.training.labels import LabelledPicture, Labels
from engines.training.people import read_picture
from engines.training.teacher import LOWEST_SCORE
from engines.training.whole_folder import check_room, whole_folder

VERSION: Final = 2
"""Of what is written here."""
STEP: Final = 8
"""Pictures that a teacher is shown together."""
SAID_EVERY: Final = 400
"""Pictures between two lines of how far a pack is."""
SAMPLE: Final = 16
"""Pictures, spread over all, by which the room is reckoned that a pack takes."""

Floats = NDArray[np.float32]


class Teacher(Protocol):
    """Finds people in pictures, down to LOWEST_SCORE; another `identity` may find others: see BoxTeacher."""

    identity: str

    def detect(self, images: Sequence[Image]) -> list[Detections]: ...


@dataclass(frozen=True, slots=True)
class PackOptions:
    """How pictures are packed.

    `side` is the longest of a picture in pixels; none is enlarged. What the teacher scores `person` or more is a
    person, what it scores `doubt` or more neither that nor background. A label takes the place of a box of the
    teacher's that it overlaps by more than `same`, and so does a better one of its own. Raises ValueError where a
    number makes no sense.
    """

    side: int = 480
    person: float = 0.35
    doubt: float = LOWEST_SCORE
    same: float = 0.5

    def __post_init__(self) -> None:
        if self.side < 32:
            raise ValueError(f"side must be 32 pixels or more, got {self.side}")
        if not LOWEST_SCORE <= self.doubt <= self.person <= 1:
            raise ValueError(
                f"doubt and person must be {LOWEST_SCORE} <= doubt <= person <= 1, got {self.doubt} and {self.person}"
            )
        if not 0 < self.same < 1:
            raise ValueError(f"same must lie between 0 and 1, got {self.same}")


@dataclass(frozen=True, slots=True, eq=False)
class PackedPeople:
    """Those of a picture: `boxes` (P, 4) xyxy in its packed pixels, `scores` (P,), 1 where somebody labelled them.

    `passed` (P,) marks boxes that are neither people nor background.
    """

    boxes: Floats
    scores: Floats
    passed: NDArray[np.bool_]


class PicturePack:
    """Packed pictures, by number in the order in which they were given; `has_all` (N,) says which are labelled whole.

    Raises FileNotFoundError where the folder holds no whole pack.
    """

    def __init__(self, folder: Path) -> None:
        with np.load(folder / "index.npz") as index:
            self._offsets = index["offsets"].astype(np.int64)
            self._sizes = index["sizes"].astype(np.int64)
            self._rows = index["rows"].astype(np.int64)
            self._people = PackedPeople(index["boxes"], index["scores"], index["passed"])
            self.has_all: NDArray[np.bool_] = index["has_all"]
        self._pixels = np.memmap(folder / "pixels.bin", np.uint8, "r")

    def __len__(self) -> int:
        return len(self._offsets)

    def picture(self, number: int) -> Image:
        """The pixels (h, w, 3) uint8 BGR, a view that is never written to."""
        height, width = self._sizes[number]
        start = self._offsets[number]
        pixels: Image = self._pixels[start : start + height * width * 3].reshape(height, width, 3)
        return pixels

    def people(self, number: int) -> PackedPeople:
        """Its people and what is to be passed over, views."""
        rows = slice(self._rows[number], self._rows[number + 1])
        return PackedPeople(self._people.boxes[rows], self._people.scores[rows], self._people.passed[rows])


def open_picture_pack(
    folder: Path,
    pictures: Sequence[LabelledPicture],
    teacher: Teacher | None = None,
    options: PackOptions | None = None,
    say: Say = silent,
) -> PicturePack:
    """The pack of the pictures in `folder`, made unless it is there already; whole or not there.

    Where not everybody is labelled, the `teacher` finds the others. `say` is told in a line how far it is, or that
    another process is at it, which is waited for. Raises OSError where a picture cannot be read or the disk is too
    small, ValueError where one needs a teacher and there is none.
    """
    options = options or PackOptions()
    lacking = next((one for one in pictures if not one.has_all), None)
    if lacking is not None and teacher is None:
        raise ValueError(f"{lacking.path}: not everybody in it is labelled; name a teacher: --teacher-detector")
    taught_by = teacher.identity if teacher is not None and lacking is not None else None

    def fill(part: Path) -> None:
        check_room(part, room_for(pictures, options.side), "the packed pictures")
        _write(part, pictures, teacher, options, say)

    return PicturePack(whole_folder(folder / _key(pictures, taught_by, options), fill, say))


def room_for(pictures: Sequence[LabelledPicture], side: int) -> int:
    """Bytes that pictures take when packed, about: as many for each as for the mean of SAMPLE of them."""
    sample = pictures[:: max(1, len(pictures) // SAMPLE)]
    sizes = [shrink(read_picture(one.path), side)[0].nbytes for one in sample]
    return math.ceil(sum(sizes) / max(1, len(sizes)) * len(pictures))


def teach(labels: Labels, has_all: bool, found: Detections, options: PackOptions) -> PackedPeople:
    """The labelled people of a picture, and those that the teacher found beside them where `has_all` is not so."""
    kept = Detections.none() if has_all else found
    best = nms(kept.boxes, kept.scores, options.same)
    kept = Detections(kept.boxes[best], kept.scores[best])
    if len(labels.boxes) and len(kept.boxes):
        new = box_iou(kept.boxes, labels.boxes).max(axis=1) <= options.same
        kept = Detections(kept.boxes[new], kept.scores[new])
    counted = kept.scores >= options.doubt
    kept = Detections(kept.boxes[counted], kept.scores[counted])
    return PackedPeople(
        np.concatenate([labels.boxes, kept.boxes]),
        np.concatenate([np.ones(len(labels.boxes), np.float32), kept.scores]),
        np.concatenate([labels.crowd, kept.scores < options.person]),
    )


def shrink(image: Image, side: int) -> tuple[Image, tuple[float, float]]:
    """A picture whose longest side is `side` at most, and its pixels per pixel of the old one, (x, y)."""
    height, width = image.shape[:2]
    scale = min(1.0, side / max(height, width))
    if scale == 1:
        return image, (1.0, 1.0)
    new = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(image, new, interpolation=cv2.INTER_AREA), np.uint8), (new[0] / width, new[1] / height)


def _write(
    folder: Path, pictures: Sequence[LabelledPicture], teacher: Teacher | None, options: PackOptions, say: Say
) -> None:
    sizes: list[tuple[int, int]] = []
    people: list[PackedPeople] = []
    with (folder / "pixels.bin").open("wb") as file:
        for group in _groups(pictures):
            images = [read_picture(one.path) for one in group]
            asked = [i for i, one in enumerate(group) if not one.has_all]
            found = [Detections.none()] * len(group)
            if teacher is not None and asked:
                for i, own in zip(asked, teacher.detect([images[i] for i in asked]), strict=True):
                    found[i] = own
            for one, image, own in zip(group, images, found, strict=True):
                taught = teach(one.labels, one.has_all, own, options)
                small, scale = shrink(image, options.side)
                people.append(
                    PackedPeople(taught.boxes * np.array(scale * 2, np.float32), taught.scores, taught.passed)
                )
                sizes.append((small.shape[0], small.shape[1]))
                file.write(small.tobytes())
            if len(sizes) % SAID_EVERY < STEP:
                say(f"packed {len(sizes)} of {len(pictures)} pictures")
    _write_index(folder, pictures, sizes, people)


def _write_index(
    folder: Path,
    pictures: Sequence[LabelledPicture],
    sizes: Sequence[tuple[int, int]],
    people: Sequence[PackedPeople],
) -> None:
    table = np.array(sizes, np.int64).reshape(-1, 2)
    np.savez(
        folder / "index.npz",
        offsets=_starts(table.prod(axis=1) * 3)[:-1],
        sizes=table,
        rows=_starts(np.array([len(one.boxes) for one in people], np.int64)),
        boxes=np.concatenate([np.zeros((0, 4), np.float32), *(one.boxes for one in people)]),
        scores=np.concatenate([np.zeros(0, np.float32), *(one.scores for one in people)]),
        passed=np.concatenate([np.zeros(0, np.bool_), *(one.passed for one in people)]),
        has_all=np.array([one.has_all for one in pictures], np.bool_),
    )


def _starts(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each of so long parts begins, and where the last ends."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


def _key(pictures: Sequence[LabelledPicture], taught_by: str | None, options: PackOptions) -> str:
    """Hex digits that are others for other files, labels, teachers and options."""
    said = hashlib.sha256(json.dumps([VERSION, taught_by, asdict(options)], sort_keys=True).encode())
    for one in pictures:
        said.update(f"{one.path}\n{one.path.stat().st_size}\n{one.has_all}\n{len(one.labels.boxes)}\n".encode())
        said.update(one.labels.boxes.tobytes() + one.labels.crowd.tobytes())
    return said.hexdigest()[:16]


def _groups(pictures: Sequence[LabelledPicture]) -> Iterator[list[LabelledPicture]]:
    rest = iter(pictures)
    while group := list(islice(rest, STEP)):
        yield group
