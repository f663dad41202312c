"""Numbers for cuts, from 0 in the lexical order of their names, given as early as that order is sure."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable

_CUT = re.compile(r"(.+)-\d+", re.DOTALL)


def cut_name(stem: str, person: int) -> str:
    """The file name of the cut of a person, counted from 0 within the picture called `stem`."""
    return f"{stem}-{person}.jpg"


def first_cut(stem: str) -> str:
    """The name before which no cut of a picture comes; pictures are gone through in the order of these."""
    return cut_name(stem, 0)


def owner_of(cut: str) -> str | None:
    """The stem of the picture that a cut, named without its ending, is of; None for another name."""
    match = _CUT.fullmatch(cut)
    return match[1] if match is not None else None


class Numbering:
    """Counts cuts whose pictures come in the order of `first_cut`.

    The cuts of `a` may lie on both sides of those of `a-1`: `a-0`, `a-1-0`, `a-1`. One is numbered once no cut can come
    before it any more.
    """

    def __init__(self) -> None:
        self._waiting: list[str] = []
        self._next = 0

    def add(self, cuts: Iterable[str], following: str | None) -> list[tuple[int, str]]:
        """Take the cuts of a picture; the numbers that are now sure, in order.

        `following` is the `first_cut` of the next picture, None where this one is the last.
        """
        for cut in cuts:
            heapq.heappush(self._waiting, cut)
        sure = []
        while self._waiting and (following is None or self._waiting[0] < following):
            sure.append((self._next, heapq.heappop(self._waiting)))
            self._next += 1
        return sure
