"""Pictures that are alike: the same bytes, or nearly the same look, as they are or mirrored.

The look is a difference hash (dHash): 64 bits, each whether a cell of the grey picture, shrunk to 8 rows of 9, is
brighter than its right neighbour. Bits that differ between two hashes are their distance. A picture and its copy in
another size or quality are 0 to 6 apart; of thousands that have nothing to do with it, the nearest is 7 to 18.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
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
MOST_HELD: Final = 0.2
"""Of all pictures, how many a group may be that is held out whole though it is larger than the share."""
_MEMORY: Final = 64 << 20
"""Bytes for comparing some pictures with all others at a time."""
_PAIR_BYTES: Final = 80
"""Bytes that two pictures take at most: 11 to compare, and where they are alike the rest as a link of a graph."""
_MOST_PAIRS: Final = 1 << 18
"""Pairs of like pictures, beside one for each picture, that are kept before groups are made of them."""
_END: Final = 4096
"""Bytes at the end of a file that tell most files apart."""
_REDUCED: Final = (
    (256, cv2.IMREAD_REDUCED_GRAYSCALE_8),
    (128, cv2.IMREAD_REDUCED_GRAYSCALE_4),
    (64, cv2.IMREAD_REDUCED_GRAYSCALE_2),
)
"""How much smaller a picture can be decoded, by the pixels of its shorter side, with more than 3 a cell left."""


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprints:
    """What N pictures are told by: `hashes` (N,) uint64 of their look, and `mirrored` (N,) of that of their mirror
    images."""

    paths: tuple[Path, ...]
    hashes: NDArray[np.uint64]
    mirrored: NDArray[np.uint64]

    def __post_init__(self) -> None:
        check_array("hashes", self.hashes, (len(self.paths),), np.uint64)
        check_array("mirrored", self.mirrored, (len(self.paths),), np.uint64)

    def of(self, rows: NDArray[np.int64]) -> Fingerprints:
        """Those of some of the pictures."""
        return Fingerprints(tuple(self.paths[row] for row in rows), self.hashes[rows], self.mirrored[rows])


def digest(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def ending(path: Path) -> tuple[int, str]:
    """A file's length in bytes and the SHA-256 of its last bytes; files of the same bytes have the same."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - _END, 0))
        return size, hashlib.sha256(file.read()).hexdigest()


def fingerprints(paths: Sequence[Path]) -> Fingerprints:
    """The fingerprints of picture files; OSError where one cannot be read."""
    looks = np.array([_look(path) for path in paths], np.uint8).reshape(-1, _ROWS, _COLUMNS + 1)
    return Fingerprints(tuple(paths), look_hashes(looks), look_hashes(looks[:, :, ::-1]))


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


def groups(prints: Fingerprints, bound: int = ALIKE, together: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """The group (N,), numbered from 0, of each picture: those alike, and what is alike to one of them, are in one.

    So are those of an equal number in `together` (N,), if it is not below 0.
    """
    count = len(prints.paths)
    pairs = [np.zeros((0, 2), np.int64) if together is None else _firsts(together)]
    for rows in _chunks(count, count):
        near = np.argwhere(distances(prints.of(rows), prints) <= bound)
        pairs.append(near + np.array((rows[0], 0)))
        if sum(map(len, pairs)) > count + _MOST_PAIRS:
            pairs = [_firsts(_components(pairs, count))]
    return _components(pairs, count)


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Which pictures (N,) are `held` out to validate on; `is_cut` where some of them are alike to others that are not,
    as there was nothing else."""

    held: NDArray[np.bool_]
    is_cut: bool


def split(
    prints: Fingerprints,
    share: float,
    seed: int,
    bound: int = ALIKE,
    together: NDArray[np.int64] | None = None,
) -> Split:
    """Hold out about `share` of the pictures to validate on, always the same for a seed.

    No picture that is held out is alike to one that is not, nor has its number in `together` (N,), by which clips keep
    their frames on one side; below 0 it is of no clip. Groups come in an order drawn by chance, and one that would be
    too many is passed over. Where groups are so large that this is less than half the share, the smallest of the others
    is held too, if it is at most MOST_HELD of all; else clips and groups are cut: the last of each, by their names, are
    held. Raises ValueError unless the share lies between 0 and 1 and somebody is on either side.
    """
    if not 0 < share < 1:
        raise ValueError(f"the share to validate on must lie between 0 and 1, got {share}")
    numbers = groups(prints, bound, together)
    sizes = np.bincount(numbers)
    wanted = max(round(share * len(numbers)), 1)
    held, left = [], wanted
    for group in np.random.default_rng(seed).permutation(len(sizes)):
        if sizes[group] <= left:
            held.append(group)
            left -= int(sizes[group])
    is_held, is_cut = np.isin(numbers, held), False
    if 2 * is_held.sum() < wanted:
        sizes[held] = len(numbers)  # never the smallest
        is_cut = bool(sizes.min() > MOST_HELD * len(numbers))
        pieces = _pieces(numbers, together)
        is_held |= _last_of_each(prints.paths, pieces, share) if is_cut else numbers == sizes.argmin()
    if not is_held.any() or is_held.all():
        raise ValueError(f"{len(numbers)} pictures are too few to hold some of them back; add pictures")
    return Split(is_held, is_cut)


def closest(one: Fingerprints, other: Fingerprints) -> tuple[NDArray[np.int64], tuple[Path, ...]]:
    """The smallest distance (N,) of each picture of `one` to any of `other`, and the path of that one.

    A copy is 0 away. Raises ValueError where `other` has no pictures.
    """
    if not other.paths:
        raise ValueError("there is no picture to compare with; name a set that has some")
    smallest, places = np.zeros(len(one.paths), np.int64), np.zeros(len(one.paths), np.int64)
    for rows in _chunks(len(one.paths), len(other.paths)):
        apart = distances(one.of(rows), other)
        places[rows] = apart.argmin(axis=1)
        smallest[rows] = apart.min(axis=1)
    return smallest, tuple(other.paths[place] for place in places)


def _chunks(count: int, others: int) -> Iterator[NDArray[np.int64]]:
    """So many pictures in pieces, of which each can be compared with so many others at a time."""
    step = max(_MEMORY // (_PAIR_BYTES * max(others, 1)), 1)
    return (np.arange(start, min(start + step, count)) for start in range(0, count, step))


def _firsts(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs (P, 2) that join all pictures of an equal number (N,), from 0 on: each with the first of its number."""
    rows = np.flatnonzero(numbers >= 0)
    _, first, places = np.unique(numbers[rows], return_index=True, return_inverse=True)
    return np.stack([rows, rows[first[places]]], axis=1).astype(np.int64)


def _components(pairs: Sequence[NDArray[np.int64]], count: int) -> NDArray[np.int64]:
    """The group (N,), numbered from 0, of each of so many pictures, joined by pairs (P, 2)."""
    ends = np.concatenate(pairs)
    graph = coo_array((np.ones(len(ends), np.int32), (ends[:, 0], ends[:, 1])), shape=(count, count))
    _, numbers = connected_components(graph, directed=False)
    return numbers.astype(np.int64)


def _pieces(numbers: NDArray[np.int64], together: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """What is cut (N,): each clip by itself, and what is of none by its group."""
    if together is None:
        return numbers
    return np.where(together >= 0, together, numbers + together.max() + 1)


def _last_of_each(paths: Sequence[Path], pieces: NDArray[np.int64], share: float) -> NDArray[np.bool_]:
    """Which pictures (N,) are the last `share`, by their names, of their piece, which has more."""
    is_last = np.zeros(len(pieces), np.bool_)
    for piece in np.unique(pieces):
        rows: list[int] = np.flatnonzero(pieces == piece).tolist()
        rows.sort(key=lambda row: (len(paths[row].name), paths[row].name))  # numbers of 6 digits and more
        count = max(round(share * len(rows)), 1)
        if count < len(rows):
            is_last[rows[-count:]] = True
    return is_last


def _look(path: Path) -> NDArray[np.uint8]:
    """The picture as it is seen, in grey, (8, 9)."""
    size = picture_size(path)
    shorter = min(size) if size else 0
    flag = next((flag for least, flag in _REDUCED if shorter >= least), cv2.IMREAD_GRAYSCALE)
    image = cv2.imread(str(path), flag)
    if image is None:
        raise OSError(f"{path}: cannot be read as a picture; fetch it anew or take it out")
    return np.asarray(cv2.resize(image, (_COLUMNS + 1, _ROWS), interpolation=cv2.INTER_AREA), np.uint8)
