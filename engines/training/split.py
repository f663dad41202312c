"""Which people are learnt from, and which are held back to mark by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.training.clips import clip_folder
from engines.training.labels import LabelledSet
from engines.training.likeness import ALIKE, MOST_HELD, closest, fingerprints, split

HELD, FEWEST_HELD = 0.035, 40
"""Of the pictures, how many are held back where nobody says, and how many at least, up to MOST_HELD."""


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Which pictures (N,) are `held` back to mark by, and which are `left` out, for they are like some to be kept out.

    The others are learnt from: none of them is like one of these, unless `is_cut`, as there was nothing else to hold.
    """

    held: NDArray[np.bool_]
    left: NDArray[np.bool_]
    is_cut: bool = False


def part(paths: Sequence[Path], share: float | None, seed: int, excluded: Sequence[Path] = ()) -> Parts:
    """Part the pictures at `paths`: about `share` of them are held, or the usual one, what is like `excluded` is left.

    Pictures are alike by their look, mirrored or not, and frames of one clip stay on one side, where there is anything
    else (engines/training/likeness.py says how else). Raises what `split` does.
    """
    prints = fingerprints(paths)
    left = np.zeros(len(paths), np.bool_)
    if excluded:
        left = closest(prints, fingerprints(excluded))[0] <= ALIKE
        if left.all():
            raise ValueError(
                f"all {len(left)} pictures are like some to be kept out (--exclude, --evaluate); add others"
            )
    rows = np.flatnonzero(~left)
    share = usual_share(len(rows)) if share is None else share
    found = split(prints.of(rows), share, seed, together=clip_numbers(paths)[rows])
    held = np.zeros(len(paths), np.bool_)
    held[rows] = found.held
    return Parts(held, left, found.is_cut)


def usual_share(count: int) -> float:
    """Of so many pictures, the share to hold back: of few more, as some tens of marks tell little enough."""
    return max(HELD, min(MOST_HELD, FEWEST_HELD / max(count, 1)))


def clip_numbers(paths: Sequence[Path]) -> NDArray[np.int64]:
    """The clip (N,), numbered from 0, that each picture is a frame of; -1 where it is of none."""
    numbers: dict[Path, int] = {}
    folders = [clip_folder(path) for path in paths]
    return np.array([-1 if f is None else numbers.setdefault(f, len(numbers)) for f in folders], np.int64)


def shares_of(sets: Sequence[LabelledSet], owners: NDArray[np.int64]) -> NDArray[np.float64]:
    """How often each of N people or pictures is drawn beside the others: the weight of its set, of `owners` (N,)."""
    weights = np.array([one.weight for one in sets], np.float64)
    return np.asarray(weights[owners], np.float64)
