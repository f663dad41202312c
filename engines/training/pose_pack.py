"""People cut out of their pictures once, with what is known of their joints: what training of poses reads.

A packed crop shows CONTEXT times as much as a network's, so that turned, shifted and smaller ones can be cut out of it;
the person's box is centred on (width / 2, height / 2), the pixel convention is that of engines/crop.py.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engines.crop import PADDING, Crops
from engines.export import Say, silent
from engines.heatmap import cells_to_crop, decode_heatmaps
from engines.training.people import Crowd, read_picture
from engines.training.teacher import BATCH, PoseTeacher
from engines.training.whole_folder import check_room, whole_folder

Size = tuple[int, int]
"""(height, width) in pixels."""

CONTEXT: Final = 1.5
"""How much larger than a network's crop a packed one is."""
AGREED: Final = 0.15
"""Of the box's longer side: as near the teacher must be to a labelled joint to have found it."""
TRUSTED: Final = 0.6
"""Share of a person's labelled joints that the teacher must find, to be asked for the others."""
FULL: Final = 255.0
"""What a stored heat map holds for 1."""
VERSION: Final = 2
_PEOPLE, _CROPS, _MAPS = "people.npz", "crops.npy", "maps.npy"


@dataclass(frozen=True, slots=True, eq=False)
class PosePack:
    """N packed people of K joints; the large arrays stay on the disk and are mapped.

    `crops` (N, H, W, 3) uint8 BGR; `points` (N, K, 2) float32 in pixels of the packed crop, labelled where `labelled`
    (N, K); `maps` (N, K, h, w) uint8 the teacher's heat maps of the crop in the middle, FULL for 1, to be learnt where
    `taught` (N, K). `pictures` (N,) numbers the pictures, of `paths`, and `sets` (N,) the sets.
    """

    crops: NDArray[np.uint8]
    points: NDArray[np.float32]
    labelled: NDArray[np.bool_]
    maps: NDArray[np.uint8]
    taught: NDArray[np.bool_]
    pictures: NDArray[np.int64]
    sets: NDArray[np.int64]
    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.points)

    @property
    def size(self) -> Size:
        """Of the network's crop in the middle of a packed one."""
        return inner_size((self.crops.shape[1], self.crops.shape[2]))


def inner_size(packed: Size) -> Size:
    """The network's crop in a packed one."""
    return round(packed[0] / CONTEXT), round(packed[1] / CONTEXT)


def open_pose_pack(
    crowd: Crowd,
    joints: int,
    size: Size,
    teacher: PoseTeacher | None,
    folder: Path,
    follow: Callable[[Sequence[Path]], Iterable[Path]] = iter,
    say: Say = silent,
) -> PosePack:
    """The pack of a crowd for networks of `size`, made in `folder` unless it is there.

    `follow` hands on the pictures one by one and may show how far they are. The pack is whole or not there; who finds
    another process at it is told so by `say` and waits. Raises OSError where a picture cannot be read or the disk is
    too small, ValueError where the teacher's crops have another shape than the network's.
    """
    if teacher is not None:
        _check_shape(teacher, size)
    place = folder / f"pose-{_key(crowd, joints, size, teacher)}"

    def fill(part: Path) -> None:
        _write(part, _Writer(part, crowd, joints, size, teacher), follow)

    return _read(whole_folder(place, fill, say), crowd)


def _key(crowd: Crowd, joints: int, size: Size, teacher: PoseTeacher | None) -> str:
    """Hex digits that differ where people, size or teacher do."""
    taught_by = teacher and (teacher.identity, teacher.card.input.size)
    digest = hashlib.sha256(json.dumps([VERSION, joints, size, taught_by, CONTEXT, PADDING]).encode())
    for path in crowd.paths:
        digest.update(f"{path}\0{path.stat().st_size}\0".encode())
    for person in crowd.people:
        digest.update(np.int64(person.picture).tobytes() + person.box.tobytes())
        digest.update(person.keypoints.tobytes() + person.visible.tobytes())
    return digest.hexdigest()[:16]


def _write(folder: Path, writer: _Writer, follow: Callable[[Sequence[Path]], Iterable[Path]]) -> None:
    """Write all people of a crowd."""
    for number, path in enumerate(follow(writer.crowd.paths)):
        writer.add(number, path)
    writer.close(folder)


class _Writer:
    """A pack being written: its large arrays are on the disk; crops wait until they fill one call of the teacher."""

    def __init__(self, folder: Path, crowd: Crowd, joints: int, size: Size, teacher: PoseTeacher | None) -> None:
        count, (height, width) = len(crowd.people), teacher.card.input.size if teacher else size
        self.crowd = crowd
        self._size, self._teacher = size, teacher
        self._packed = (round(size[0] * CONTEXT), round(size[1] * CONTEXT))
        shapes = {_CROPS: (count, *self._packed, 3), _MAPS: (count if teacher else 0, joints, height // 4, width // 4)}
        check_room(folder, sum(math.prod(shape) for shape in shapes.values()), "the packed people")
        self._crops, self._maps = (
            np.lib.format.open_memmap(folder / name, "w+", np.uint8, shape) for name, shape in shapes.items()
        )
        self._points = np.zeros((count, joints, 2), np.float32)
        self._labelled, self._taught = np.zeros((count, joints), np.bool_), np.zeros((count, joints), np.bool_)
        self._rows = _rows_of_pictures(crowd)
        self._waiting: list[tuple[int, NDArray[np.uint8]]] = []

    def add(self, number: int, path: Path) -> None:
        """Cut the people of a picture out of it, and ask the teacher of as many as are together."""
        own = self._rows[number]
        if not own:
            return
        image, people = read_picture(path), self.crowd.people
        boxes = np.stack([people[i].box for i in own])
        cut = Crops.around(boxes, self._packed, PADDING * CONTEXT)
        moved = cut.points_to_crop(np.stack([people[i].keypoints for i in own]))
        for row, person in enumerate(own):
            cut.cut(row, image, self._crops[person])
            self._points[person], self._labelled[person] = moved[row], people[person].visible
        if self._teacher is None:
            return
        self._waiting += zip(own, self._teacher.crops(image, boxes), strict=True)
        while len(self._waiting) >= BATCH:
            self._teach(self._teacher, BATCH)

    def close(self, folder: Path) -> None:
        """Ask the teacher of those that are left, and write the small arrays."""
        if self._teacher is not None and self._waiting:
            self._teach(self._teacher, len(self._waiting))
        self._points[~self._labelled] = 0
        people = self.crowd.people
        np.savez(
            folder / _PEOPLE,
            points=self._points,
            labelled=self._labelled,
            taught=self._taught,
            pictures=np.array([person.picture for person in people], np.int64),
            sets=np.array([self.crowd.sets[person.picture] for person in people], np.int64),
        )
        for array in (self._crops, self._maps):
            array.flush()

    def _teach(self, teacher: PoseTeacher, count: int) -> None:
        """Write the teacher's heat maps of the first who wait, and for which joints they are to be believed."""
        people = [person for person, _ in self._waiting[:count]]
        heat = teacher.teach([crop for _, crop in self._waiting[:count]])
        del self._waiting[:count]
        self._maps[people] = np.round(heat.clip(0, 1) * FULL).astype(np.uint8)
        found, _ = decode_heatmaps(heat)
        height, width = self._size
        margin = np.array([(CONTEXT - 1) / 2 * width, (CONTEXT - 1) / 2 * height], np.float32)
        where = cells_to_crop(found, (heat.shape[2], heat.shape[3]), self._size) + margin
        self._taught[people] = believed(where, self._points[people], self._labelled[people], height / PADDING)


def _rows_of_pictures(crowd: Crowd) -> list[list[int]]:
    """The people of each picture."""
    rows: list[list[int]] = [[] for _ in crowd.paths]
    for row, person in enumerate(crowd.people):
        rows[person.picture].append(row)
    return rows


def believed(
    found: NDArray[np.float32], points: NDArray[np.float32], labelled: NDArray[np.bool_], side: float
) -> NDArray[np.bool_]:
    """Which joints (N, K) of people are the teacher's to tell: none that is labelled.

    Of somebody whose labelled joints it mostly does not find, as people upside down, it tells nothing. `found` and
    `points` are (N, K, 2) in pixels of a crop in which the box is `side` pixels long.
    """
    near = np.linalg.norm(found - points, axis=-1) < AGREED * side
    share = (near & labelled).sum(axis=1) / np.maximum(labelled.sum(axis=1), 1)
    trusted = (share >= TRUSTED) | ~labelled.any(axis=1)
    return np.asarray(trusted[:, None] & ~labelled, np.bool_)


def _read(folder: Path, crowd: Crowd) -> PosePack:
    """The pack in a folder; of which set its pictures are is the crowd's to say, for the key does not know."""
    with np.load(folder / _PEOPLE) as people:
        return PosePack(
            crops=np.load(folder / _CROPS, mmap_mode="r"),
            points=people["points"],
            labelled=people["labelled"],
            maps=np.load(folder / _MAPS, mmap_mode="r"),
            taught=people["taught"],
            pictures=people["pictures"],
            sets=np.array([crowd.sets[person.picture] for person in crowd.people], np.int64),
            paths=crowd.paths,
        )


def _check_shape(teacher: PoseTeacher, size: Size) -> None:
    height, width = teacher.card.input.size
    if height * size[1] != width * size[0]:
        raise ValueError(
            f"{teacher.card.name}: sees crops of {height}x{width}, wanted the shape of {size[0]}x{size[1]}, which the "
            "network sees; name another --teacher"
        )
