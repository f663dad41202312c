"""A recording in several files: cut by time, or where the pictures of a live source change their size or colours."""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from engines.export import Say, silent
from stream.frame import Frame
from stream.pipeline import Result
from stream.sinks.archive import Archive
from stream.sinks.base import Picture, Sink
from stream.sinks.encodable import described_by
from stream.sinks.keep import Keep, RecordingOptions
from stream.sinks.partfile import added, part_path
from stream.sinks.utc import UtcClock
from stream.source import SourceInfo, StreamError


class Film(Sink, Protocol):
    """One file of several: `cut` finishes it where another one follows, `close` where the recording ends."""

    def cut(self) -> None: ...


OpenFilm = Callable[[Path, SourceInfo, float], Film]
"""Opens a file for pictures as the SourceInfo describes them, that begins with a moment of its time in seconds."""


class Segments:
    """Writes one file after another, each whole in itself; the next one is open before the last one is finished.

    With a `recording` that is cut, a file begins every `segment_s` of media time, counted from the first frame, and is
    called by the time of day, as told by `utc`: see Archive. Else where the pictures change, out.mp4 goes on in
    out-2.mp4, out-3.mp4, …; names that are taken are passed by, unless they may be overwritten, and always those of the
    `others`, full paths that the run reads or writes elsewhere.

    The first file of all begins with `origin_s`, the moment at which reading began, every other one with its first
    frame, at 0. `say` is told of changes, by the thread that writes. A full disk ends the recording, unless files of it
    may be deleted. Raises what `open_film` raises, StreamError where another run has the recording.
    """

    def __init__(
        self,
        path: Path,
        info: SourceInfo,
        open_film: OpenFilm,
        say: Say = silent,
        *,
        origin_s: float = 0.0,
        overwrite: bool = False,
        recording: RecordingOptions | None = None,
        utc: UtcClock | None = None,
        others: Collection[str] = (),
    ) -> None:
        recording = recording or RecordingOptions()
        self._path = path
        self._info = info
        self._open_film = open_film
        self._say = say
        self._overwrite = overwrite
        self._others = others
        self._origin_s = origin_s
        self._span_s = None if recording.segment_s is None else Fraction(recording.segment_s)
        self._archive: Archive | None = None
        self._held = ExitStack()
        self._first_s: Fraction | None = None
        self._span = 0
        self._number = 1
        self._warnings: tuple[str, ...] = ()
        self._is_empty = True
        self._film: Film | None = None
        self._film_path = path
        if self._span_s is None:
            self._film = open_film(path, info, origin_s)
            self.needs_picture = self._film.needs_picture
            return
        keep = None if recording.keep is None else Keep.parse(recording.keep)
        self._archive = Archive(path, keep, utc or UtcClock(), say)
        with ExitStack() as undo:
            undo.enter_context(self._archive.held())
            self.needs_picture = self._take_up(self._archive)
            self._held = undo.pop_all()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those of all files."""
        return (*self._warnings, *(self._film.warnings if self._film else ()))

    def write(self, result: Result, picture: Picture | None) -> None:
        """Write one result, into a new file where it does not belong into the one at hand."""
        frame = result.frame
        span, info = self._span_of(frame), described_by(frame, self._info)
        if self._film is None or span != self._span or info != self._info:
            self._span = span
            self._begin(frame, info)
        try:
            self._put(result, picture)
        except StreamError as error:
            self._drop()
            if not self._has_made_room(error):
                raise
            self._begin(frame, info)
            self._put(result, picture)

    def close(self, *, failed: bool = False) -> None:
        """Finish the file at hand."""
        with self._held:
            film, self._film = self._film, None
            if film is not None:
                self._finish(film, lambda: film.close(failed=failed))

    def _take_up(self, archive: Archive) -> bool:
        """Put the files of earlier runs in order, and find out whether one can be opened; whether it takes pictures."""
        for path in archive.adopt():
            self._say(f"{path}: left by a run that was cut off; it has its name now")
        archive.tidy()
        film = self._open_film(archive.next_path_now(), self._info, self._origin_s)
        film.close()
        return film.needs_picture

    def _span_of(self, frame: Frame) -> int:
        """Into which of the spans of time, counted from 0, a frame falls."""
        time_s = frame.pts * frame.time_base
        if self._first_s is None:
            self._first_s = time_s
        return 0 if self._span_s is None else (time_s - self._first_s) // self._span_s

    def _begin(self, frame: Frame, info: SourceInfo) -> None:
        """Go on in a new file, with this frame, and finish the one at hand."""
        if self._is_empty:  # Its name is to be had again.
            self._drop()
        is_first = self._first_s == frame.pts * frame.time_base
        path = self._next_path(frame, info.size)
        self._info = info
        # A live source that is recorded by the time of day begins when its first picture is there.
        keeps_lead = is_first and not (self._archive and self._info.live)
        film = self._opened(path, self._origin_s if keeps_lead else frame.time)
        last, self._film, self._film_path, self._is_empty = self._film, film, path, True
        if last is not None:
            try:
                self._finish(last, last.cut)
            except StreamError as error:
                if not self._has_made_room(error, writing=path):
                    raise
        if self._archive is not None:
            self._archive.tidy()

    def _opened(self, path: Path, origin_s: float) -> Film:
        """A new file, for which room is made where the disk is full; the one at hand is still being written."""
        try:
            return self._open_film(path, self._info, origin_s)
        except StreamError as error:
            if not self._has_made_room(error, writing=self._film_path if self._film else None):
                raise
            return self._open_film(path, self._info, origin_s)

    def _put(self, result: Result, picture: Picture | None) -> None:
        if self._film is not None:
            self._film.write(result, picture)
            self._is_empty = False

    def _drop(self) -> None:
        """Let go of the file at hand, which is empty or has failed."""
        film, self._film = self._film, None
        if film is not None:
            self._finish(film, film.close)

    def _finish(self, film: Film, finish: Callable[[], None]) -> None:
        try:
            finish()
        finally:
            # The same again and again in a long recording is told once.
            self._warnings = tuple(dict.fromkeys((*self._warnings, *film.warnings)))

    def _has_made_room(self, error: StreamError, writing: Path | None = None) -> bool:
        """Whether the disk was full, and something could be deleted."""
        is_full = getattr(error.__cause__, "errno", None) == errno.ENOSPC
        return is_full and self._archive is not None and self._archive.make_room(writing)

    def _next_path(self, frame: Frame, size: tuple[int, int]) -> Path:
        """The name of the file that begins with this frame."""
        if self._archive is not None:
            return self._archive.next_path(frame.captured_ns)
        if not self._is_empty:
            self._number = next(n for n in range(self._number + 1, 10**6) if self._is_free(self._numbered(n)))
            self._say(
                f"{self._path}: the pictures are {_text(size)} now; they go on in {self._numbered(self._number).name}"
            )
        return self._numbered(self._number)

    def _numbered(self, number: int) -> Path:
        return self._path if number == 1 else added(self._path, f"-{number}")

    def _is_free(self, path: Path) -> bool:
        """Whether a file may have this name; a part may be another output's that is being written."""
        if str(path.resolve()) in self._others or part_path(path).exists():
            return False
        return self._overwrite or not path.exists()


def _text(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
