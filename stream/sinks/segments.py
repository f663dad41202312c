"""A film in several files: a new one begins where the pictures of a live source change their size or colours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from engines.export import Say, silent
from stream.frame import Color, Frame
from stream.pipeline import Result
from stream.sinks.base import Picture, Sink
from stream.sinks.partfile import part_path
from stream.source import SourceInfo

OpenFilm = Callable[[Path, SourceInfo, float], Sink]
"""Opens a film of pictures as the SourceInfo describes them, that begins with a moment of its time in seconds."""


class Segments:
    """Writes out.mp4, then out-2.mp4, out-3.mp4, … of pictures that one file cannot hold together.

    Later files begin at 0, as the first one does with `origin_s`, the moment at which reading began. Names that are
    taken are passed by, unless they may be overwritten. `say` is told of each new file, by the thread that writes.
    """

    needs_picture = True

    def __init__(
        self,
        path: Path,
        info: SourceInfo,
        open_film: OpenFilm,
        say: Say = silent,
        *,
        origin_s: float = 0.0,
        overwrite: bool = False,
    ) -> None:
        self._path = path
        self._info = info
        self._open_film = open_film
        self._say = say
        self._overwrite = overwrite
        self._origin_s = origin_s
        self._number = 1
        self._warnings: tuple[str, ...] = ()
        self._is_empty = True
        self._film: Sink | None = open_film(path, info, origin_s)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those of all files."""
        return (*self._warnings, *(self._film.warnings if self._film else ()))

    def write(self, result: Result, picture: Picture | None) -> None:
        """Write one picture, into a new file where it does not fit into the one at hand."""
        kind = _kind_of(result.frame, self._info)
        if kind != (self._info.size, self._info.color):
            self._begin(result.frame, *kind)
        if self._film is not None:
            self._film.write(result, picture)
            self._is_empty = False

    def close(self, *, failed: bool = False) -> None:
        """Finish the file at hand."""
        film, self._film = self._film, None
        if film is not None:
            try:
                film.close(failed=failed)
            finally:
                self._warnings += film.warnings

    def _begin(self, frame: Frame, size: tuple[int, int], color: Color) -> None:
        """Finish the file at hand and begin the next one, with this frame."""
        self.close()
        if not self._is_empty:
            self._number = next(n for n in range(self._number + 1, 10**6) if self._is_free(self._numbered(n)))
            self._say(
                f"{self._path}: the pictures are {_text(size)} now; they go on in {self._numbered(self._number).name}"
            )
        self._info = replace(self._info, size=size, color=color)
        origin_s = self._origin_s if self._number == 1 else frame.time
        self._film = self._open_film(self._numbered(self._number), self._info, origin_s)
        self._is_empty = True

    def _numbered(self, number: int) -> Path:
        return self._path if number == 1 else self._path.with_stem(f"{self._path.stem}-{number}")

    def _is_free(self, path: Path) -> bool:
        """Whether a file may have this name; a part may be another output's that is being written."""
        return not part_path(path).exists() and (self._overwrite or not path.exists())


def _kind_of(frame: Frame, info: SourceInfo) -> tuple[tuple[int, int], Color]:
    """Size (height, width) and colours of a frame; those of `info` where it has no tags of its own."""
    height, width = frame.image.shape[:2]
    return (height, width), info.color if frame.planes is None else frame.planes.color


def _text(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
