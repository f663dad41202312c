"""What a source is, and opening one by its address."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from stream.frame import Color, Frame


class StreamError(Exception):
    """A source or a sink failed: what, and the remedy, in one line; passwords are cut from every address."""


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source before its first frame.

    `source_id` names it in records and publish paths; `url` is the address without credentials. `size` is
    (height, width) of the upright picture. `rate` is frames a second, `frame_count` the expected number of frames;
    both None where unknown. `start_pts`, in `time_base`, was taken off every frame's pts and is put back by a sink that keeps
    the source's time. `sound_url` is where a sink reads the sound that belongs to the pictures, None where there is none.
    """

    source_id: str
    url: str
    size: tuple[int, int]
    time_base: Fraction
    rate: Fraction | None = None
    frame_count: int | None = None
    live: bool = False
    still: bool = False
    start_pts: int = 0
    color: Color = Color()
    sample_aspect: Fraction = Fraction(1)
    sound_url: str | None = None


class Source(Protocol):
    """Frames one after another; whoever opened it closes it.

    `frames` yields each frame once, in order, with rising pts, and raises StreamError where the source fails.
    `damage` says after the last frame what could not be read, in one line; None where all was.
    """

    @property
    def info(self) -> SourceInfo: ...

    @property
    def damage(self) -> str | None: ...

    def frames(self) -> Iterator[Frame]: ...

    def close(self) -> None: ...
