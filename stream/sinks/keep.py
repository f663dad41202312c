"""How long the files of a recording are, and which of them are kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SHORTEST_SEGMENT_S = 1.0
"""A file of less holds hardly more than its headers."""
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?) ?([a-zA-Z]+)")
_BYTES = {"MB": 10**6, "GB": 10**9, "TB": 10**12}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class RecordingOptions:
    """Whether outputs are cut into files, and how many are kept.

    A new file begins every `segment_s` of media time. `keep`, as 10GB or 7d, is how much of each output stays: the
    oldest files are deleted, never the one that is written.
    """

    segment_s: float | None = None
    keep: str | None = None

    def __post_init__(self) -> None:
        if self.segment_s is not None and not SHORTEST_SEGMENT_S <= self.segment_s <= 10**7:
            raise ValueError(f"segments last {SHORTEST_SEGMENT_S:g} s or more, got {self.segment_s:g} s; write 60s")
        if self.keep is not None:
            Keep.parse(self.keep)
            if self.segment_s is None:
                raise ValueError(f"keep {self.keep} needs a recording in several files: give --segment 60s too")


@dataclass(frozen=True, slots=True)
class Keep:
    """How much of a recording stays: so many bytes at most, or nothing that began longer ago; None: all."""

    max_bytes: int | None = None
    max_age_s: float | None = None

    @classmethod
    def parse(cls, text: str) -> Keep:
        """From 500MB, 10GB, 1TB or 90m, 36h, 7d; ValueError for anything else."""
        match = _AMOUNT.fullmatch(text.strip())
        number, unit = (float(match[1]), match[2]) if match else (0.0, "")
        if number > 0 and unit in _BYTES:
            return cls(max_bytes=round(number * _BYTES[unit]))
        if number > 0 and unit in _SECONDS:
            return cls(max_age_s=number * _SECONDS[unit])
        units = " ".join((*_BYTES, *_SECONDS))
        raise ValueError(f"keep must be an amount or a time, got {text!r}; write 10GB or 7d (units: {units})")


@dataclass(frozen=True, slots=True)
class Recording:
    """A finished file of a recording; `began_ns` is UTC, as its name has it."""

    path: Path
    began_ns: int
    size: int


def surplus(recordings: Sequence[Recording], keep: Keep, now_ns: int, free_bytes: int) -> list[Recording]:
    """The recordings to delete, of all there are from the oldest on, before the next file is begun.

    That file is expected to become as large as the largest there is: with it the whole stays within `keep`, and finds
    its room on the disk.
    """
    expected = max((recording.size for recording in recordings), default=0)
    total = sum(recording.size for recording in recordings)
    gone: list[Recording] = []
    for recording in recordings:
        is_old = keep.max_age_s is not None and now_ns - recording.began_ns > keep.max_age_s * 1e9
        is_over = keep.max_bytes is not None and total + expected > keep.max_bytes
        if not (is_old or is_over or free_bytes < expected):
            break
        total, free_bytes = total - recording.size, free_bytes + recording.size
        gone.append(recording)
    return gone
