"""Results as records: one object a frame (JSONL), COCO results, MOTChallenge tracks, or a table (CSV)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stream.pipeline import Result
from stream.sinks.base import Picture
from stream.sinks.partfile import PartFile
from stream.sinks.record_formats import CocoResults, Csv, Jsonl, MotChallenge, RecordFormat, UtcOf
from stream.source import StreamError


class RecordSink:
    """Writes records in one format; every frame is on the disk before the next one comes. No frames leave no file.

    Raises FileExistsError where `path` is taken, StreamError where it cannot be written; what was written then stays as
    NAME.part.EXT.
    """

    needs_picture = False
    warnings: tuple[str, ...] = ()

    def __init__(self, path: Path, form: RecordFormat, *, overwrite: bool = False) -> None:
        self._form = form
        self._file = PartFile(path, overwrite=overwrite)
        # The newline is the format's own: CSV ends its lines with CR LF on every system.
        self._output = self._file.part.open("w", encoding="utf-8", newline="")
        self._failed = False
        self._has_frames = False
        try:
            with self._writing():
                self._put(form.begin())
        except BaseException:
            self._let_go()
            raise

    def write(self, result: Result, picture: Picture | None) -> None:  # noqa: ARG002 - a sink may be given one
        """Append the records of one frame."""
        with self._writing():
            self._put(self._form.rows(result))
        self._has_frames = True

    def cut(self) -> None:
        """Finish the file where another one goes on."""
        self.close()

    def close(self, *, failed: bool = False) -> None:
        """Finish the file and give it its name; after a failed write it stays NAME.part.EXT."""
        try:
            if not self._failed:
                with self._writing():
                    self._put(self._form.end())
                    self._output.close()
        finally:
            self._let_go()
        if self._has_frames and not self._failed:
            self._file.finish(keep_existing=failed)

    def _put(self, text: str) -> None:
        self._output.write(text)
        self._output.flush()

    def _let_go(self) -> None:
        """Close the file; one without a frame is removed."""
        # What a failed write left in the buffer is written once more, and fails as it did then.
        with suppress(OSError):
            self._output.close()
        if not self._has_frames:
            self._file.discard()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Note that the records are not whole where anything goes wrong; OSError becomes StreamError."""
        try:
            yield
        except OSError as error:
            self._failed = True
            raise StreamError(
                f"{self._file.path}: cannot be written any further ({error.strerror}); make room or go elsewhere"
            ) from error
        except BaseException:
            self._failed = True
            raise


def record_sink(
    path: Path, *, overwrite: bool = False, utc_of: UtcOf | None = None, least_angle_score: float | None = None
) -> RecordSink | None:
    """The sink of the records that a file's ending names, None where it names none.

    With `utc_of` those formats that have room for it, JSONL and CSV, tell when each frame arrived; with
    `least_angle_score` they have the angles of joints that score as much.
    """
    formats: dict[str, Callable[[], RecordFormat]] = {
        ".jsonl": lambda: Jsonl(utc_of, least_angle_score),
        ".coco.json": CocoResults,
        ".mot.txt": MotChallenge,
        ".csv": lambda: Csv(utc_of, least_angle_score),
    }
    for ending, form in formats.items():
        if path.name.lower().endswith(ending):
            return RecordSink(path, form(), overwrite=overwrite)
    if path.suffix.lower() in (".json", ".txt"):
        raise ValueError(f"{path}: which records? end it with one of {' '.join(formats)}")
    return None
