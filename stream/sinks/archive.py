"""The files of a recording that is cut: their names, and what becomes of old, lost and half-written ones."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import av

from engines.export import Say, silent
from engines.lock import alone
from stream.sinks.encoding import CONTAINERS
from stream.sinks.keep import Keep, Recording, surplus
from stream.sinks.partfile import added, part_path, split_name
from stream.sinks.salvage import cut_back
from stream.sinks.utc import UtcClock, utc_of_stamp, utc_stamp
from stream.source import StreamError

STUB_BYTES = 4096
"""A film without a frame is smaller: headers have some hundred bytes."""
_ROOMY = 2**63
"""Bytes free on a disk that is never full."""
_STAMP = r"(\d{8}T\d{6}\.\d{3}Z)"
_MS = 1_000_000
"""Nanoseconds in a millisecond."""


class Archive:
    """The files of one recording: out.mp4 means out-20261122T211500.250Z.mp4 and so on, by the UTC of the beginning.

    No two have the same name, and later ones sort behind. Without `keep` all stay. `say` is told what was found or
    had to be done.
    """

    def __init__(self, path: Path, keep: Keep | None, utc: UtcClock, say: Say = silent) -> None:
        self._path = path
        self._keep = keep
        self._utc = utc
        self._say = say
        self._last_ms = 0
        self._is_short = False
        self._is_hindered = False
        stem, ending = (re.escape(text) for text in split_name(path))
        self._name = re.compile(rf"{stem}-{_STAMP}{ending}")
        self._part_name = re.compile(rf"{stem}-{_STAMP}\.part{ending}")

    @contextmanager
    def held(self) -> Iterator[None]:
        """While open, no other run can have this recording; StreamError where one has, or the folder takes no file."""
        lock = self._path.with_name(f".{self._path.name}.lock")
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            lock.open("ab").close()
        except OSError as error:
            raise StreamError(f"{self._path}: cannot be written ({error.strerror}); choose another folder") from error
        with alone(lock, self._refuse):
            yield

    def next_path(self, captured_ns: int) -> Path:
        """The name of a file that begins with what arrived at this moment of the monotonic clock."""
        self._last_ms = self._free_ms(self._utc.utc_ns(captured_ns))
        return self._path_of(self._last_ms)

    def next_path_now(self) -> Path:
        """A name that a file could have that began now; it is not taken by that."""
        return self._path_of(self._free_ms(self._utc.now_ns()))

    def finished(self) -> list[Recording]:
        """The files that are whole, the oldest first."""
        found = []
        for path, stamp in self._matching(self._name):
            began_ns = utc_of_stamp(stamp)
            if began_ns is not None and path.is_file():
                with suppress(OSError):  # gone in the meantime
                    found.append(Recording(path, began_ns, path.stat().st_size))
        return sorted(found, key=lambda recording: recording.began_ns)

    def adopt(self, writing: Path | None = None) -> list[Path]:
        """Give their names to files that a killed run, or a full disk, left as parts; those names.

        Records are cut back to what is whole. Films that hold headers and no frame, and records without a whole line,
        are deleted; films that cannot be read stay as they are. The file that is to be called `writing` is being
        written, and left alone.
        """
        adopted = []
        for part, stamp in self._matching(self._part_name):
            path = added(self._path, f"-{stamp}")
            try:
                if path == writing or path.exists():
                    continue
                if _holds_something(part):
                    adopted.append(part.replace(path))
                elif part.stat().st_size <= STUB_BYTES or part.suffix.lower() not in CONTAINERS:
                    part.unlink()
            except OSError as error:
                self._pass_by(f"{part.name} cannot be given its name", error)
        return adopted

    def tidy(self) -> None:
        """Delete what is more than is kept, the oldest first."""
        if self._keep is None:
            return
        recordings, now_ns = self.finished(), self._utc.now_ns()
        gone = surplus(recordings, self._keep, now_ns, self._free_bytes())
        for recording in gone:
            self._delete(recording.path)
        if not self._is_short and len(gone) > len(surplus(recordings, self._keep, now_ns, _ROOMY)):
            self._is_short = True
            self._say(f"{self._path}: the disk is nearly full; less of the recording is kept than was asked for")

    def make_room(self, writing: Path | None) -> bool:
        """Delete the oldest file, and more if need be, of a recording that filled the disk; False if none may be."""
        if self._keep is None:
            return False
        self.adopt(writing)
        deleted = next((each.path for each in self.finished() if self._delete(each.path)), None)
        if deleted is None:
            return False
        self._say(f"{self._path}: the disk is full; {deleted.name}, the oldest of it, is deleted")
        self.tidy()
        return True

    def _delete(self, path: Path) -> bool:
        """Delete a file; False where that cannot be, of which is told."""
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            self._pass_by(f"{path.name} cannot be deleted", error)
            return False
        return True

    def _pass_by(self, what: str, error: OSError) -> None:
        """Tell of the first file that the system does not let us have."""
        if not self._is_hindered:
            self._is_hindered = True
            self._say(f"{self._path}: {what} ({error.strerror}); it is passed by")

    def _free_bytes(self) -> int:
        try:
            return shutil.disk_usage(self._path.parent).free
        except OSError:
            return _ROOMY

    def _matching(self, pattern: re.Pattern[str]) -> list[tuple[Path, str]]:
        """The entries of the folder whose whole name fits, with their stamps."""
        try:
            entries = list(self._path.parent.iterdir())
        except OSError as error:
            self._pass_by("the folder cannot be read", error)
            return []
        found = ((path, pattern.fullmatch(path.name)) for path in entries)
        return [(path, match[1]) for path, match in found if match]

    def _free_ms(self, began_ns: int) -> int:
        """The millisecond of a beginning, or the first after it whose name is behind the last one and free."""
        began_ms = max(began_ns // _MS, self._last_ms + 1)
        while (path := self._path_of(began_ms)).exists() or part_path(path).exists():
            began_ms += 1
        return began_ms

    def _path_of(self, began_ms: int) -> Path:
        return added(self._path, f"-{utc_stamp(began_ms * _MS)}")

    def _refuse(self) -> None:
        raise StreamError(f"{self._path}: another run is recording under this name; choose another")


def _holds_something(part: Path) -> bool:
    """Whether there is a packet to be read in a film, or a whole line in records, which are cut back to such."""
    if part.suffix.lower() not in CONTAINERS:
        return cut_back(part)
    with suppress(av.FFmpegError), av.open(f"file:{part}") as film:
        return any(packet.size for packet in film.demux())
    return False
