"""Pictures that are alike: the same bytes, or nearly the same look, as they are or mirrored.

The look is a difference hash (dHash): 64 bits, each whether a cell of the grey picture, shrunk to 8 rows of 9, is
brighter than its right neighbour. Bits that differ between two hashes are their distance. A picture and its copy in
another size or quality are 0 to 6 apart; of thousands that have nothing to do with it, the nearest is 7 to 18.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from engines.results import check_array
from engines.training.pictures import picture_size

ALIKE: Final = 6
"""Pictures at most so many bits apart are alike."""
_ROWS, _COLUMNS = 8, 8
_CHUNK: Final = 512
"""Pictures compared with all others at a time: their distances to 10,000 take 40 MB."""
_REDUCED: Final = (
    (256, cv2.IMREAD_REDUCED_GRAYSCALE_8),
    (128, cv2.IMREAD_REDUCED_GRAYSCALE_4),
    (64, cv2.IMREAD_REDUCED_GRAYSCALE_2),
)
"""How much smaller a picture can be decoded, by the pixels of its shorter side, with more than 3 a cell left."""


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprints:
    """What N pictures are told by: `digests` of their bytes (SHA-256, hex), `hashes` (N,) uint64 of their look, and
    `mirrored` (N,) uint64 of that of their mirror images."""

    paths: tuple[Path, ...]
    digests: tuple[str, ...]
    hashes: NDArray[np.uint64]
    mirrored: NDArray[np.uint64]

    def __post_init__(self) -> None:
        check_array("hashes", self.hashes, (len(self.paths),), np.uint64)
        check_array("mirrored", self.mirrored, (len(self.paths),), np.uint64)


def digest(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprints(paths: Sequence[Path]) -> Fingerprints:
    """The fingerprints of picture files; OSError where one cannot be read."""
    looks = np.array([_look(path) for path in paths], np.uint8).reshape(-1, _ROWS, _COLUMNS + 1)
    return Fingerprints(
        tuple(paths), tuple(digest(path) for path in paths), look_hashes(looks), look_hashes(looks[:, :, ::-1])
    )


def look_hashes(looks: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Hashes (N,) of grey pictures (N, 8, 9): bit 8 r + c says whether cell (r, c) is brighter than (r, c + 1)."""
    brighter = (looks[:, :, :-1] > looks[:, :, 1:]).reshape(-1, _ROWS * _COLUMNS)
    packed = np.packbits(brighter, axis=1, bitorder="little")  # (N, 8)
    return np.ascontiguousarray(packed).view("<u8").astype(np.uint64).reshape(-1)


def distances(one: Fingerprints, other: Fingerprints) -> NDArray[np.uint8]:
    """The bits (N, M) by which each of N pictures differs from each of M or its mirror image, whichever is less."""
    straight: NDArray[np.uint8] = np.bitwise_count(one.hashes[:, None] ^ other.hashes[None])
    mirrored: NDArray[np.uint8] = np.bitwise_count(one.hashes[:, None] ^ other.mirrored[None])
    return np.minimum(straight, mirrored)


def groups(prints: Fingerprints, bound: int = ALIKE) -> NDArray[np.int64]:
    """The group (N,), numbered from 0, of each picture: those alike, and what is alike to one of them, are in one."""
    count = len(prints.paths)
    pairs = [np.zeros((0, 2), np.int64)]
    for start in range(0, count, _CHUNK):
        near = np.argwhere(distances(_rows(prints, slice(start, start + _CHUNK)), prints) <= bound)
        pairs.append(near + np.array((start, 0)))
    ends = np.concatenate(pairs)
    graph = coo_array((np.ones(len(ends), np.int32), (ends[:, 0], ends[:, 1])), shape=(count, count))
    _, numbers = connected_components(graph, directed=False)
    return numbers.astype(np.int64)


def split(prints: Fingerprints, share: float, seed: int, bound: int = ALIKE) -> NDArray[np.bool_]:
    """Which pictures (N,) are held out to validate on: about `share` of them, always the same for a seed.

    No picture that is held out is alike to one that is not. Groups come in an order drawn by chance, and one that would
    be too many is passed over. Raises ValueError unless the share lies between 0 and 1 and somebody is on either side.
    """
    if not 0 < share < 1:
        raise ValueError(f"the share to validate on must lie between 0 and 1, got {share}")
    numbers = groups(prints, bound)
    sizes = np.bincount(numbers)
    wanted, held = max(round(share * len(numbers)), 1), []
    for group in np.random.default_rng(seed).permutation(len(sizes)):
        if sizes[group] <= wanted:
            held.append(group)
            wanted -= int(sizes[group])
    is_held = np.isin(numbers, held)
    if not is_held.any() or is_held.all():
        raise ValueError(
            f"{len(numbers)} pictures in {len(sizes)} groups of like ones cannot be split; add pictures of other scenes"
        )
    return is_held


def closest(one: Fingerprints, other: Fingerprints) -> tuple[NDArray[np.int64], tuple[Path, ...]]:
    """The smallest distance (N,) of each picture of `one` to any of `other`, and the path of that one.

    A copy is 0 away. Raises ValueError where `other` has no pictures.
    """
    if not other.paths:
        raise ValueError("there is no picture to compare with; name a set that has some")
    smallest, places = np.zeros(len(one.paths), np.int64), np.zeros(len(one.paths), np.int64)
    for start in range(0, len(one.paths), _CHUNK):
        rows = slice(start, start + _CHUNK)
        apart = distances(_rows(one, rows), other)
        places[rows] = apart.argmin(axis=1)
        smallest[rows] = apart.min(axis=1)
    return smallest, tuple(other.paths[place] for place in places)


def _rows(prints: Fingerprints, rows: slice) -> Fingerprints:
    return Fingerprints(prints.paths[rows], prints.digests[rows], prints.hashes[rows], prints.mirrored[rows])


def _look(path: Path) -> NDArray[np.uint8]:
    """The picture as it is seen, in grey, (8, 9)."""
    size = picture_size(path)
    shorter = min(size) if size else 0
    flag = next((flag for least, flag in _REDUCED if shorter >= least), cv2.IMREAD_GRAYSCALE)
    image = cv2.imread(str(path), flag)
    if image is None:
        raise OSError(f"{path}: cannot be read as a picture; fetch it anew or take it out")
    return np.asarray(cv2.resize(image, (_COLUMNS + 1, _ROWS), interpolation=cv2.INTER_AREA), np.uint8)
