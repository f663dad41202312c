"""The pictures of a folder, and files written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2

from engines.results import Image
from stream.folder.numbering import first_cut, owner_of
from stream.images import find_pictures
from stream.sinks.partfile import PartFile
from stream.source import StreamError

JPEG_QUALITY = 95
"""Of 100."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An input; `given` is its path as the user gave the folder."""

    path: Path
    given: str

    @property
    def stem(self) -> str:
        """The name by which all that is written of it is called."""
        return self.path.stem


def pictures_of(folder: str) -> list[Picture]:
    """The pictures in a folder, in the order in which their cuts are counted.

    Raises FileNotFoundError where there is no such folder, StreamError where it has none, and ValueError where two
    would be written under one name.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"{folder}: no such folder of pictures; check the path")
    stems: dict[str, Path] = {}
    for path in find_pictures(folder) or []:
        other = stems.setdefault(path.stem, path)
        if other is not path:
            raise ValueError(f"{other} and {path} would both be written as {path.stem}; rename one")
    given = folder.rstrip("/\\") or folder
    return [Picture(path, f"{given}/{path.name}") for _, path in sorted((first_cut(s), p) for s, p in stems.items())]


def check_apart(**folders: str | Path | None) -> None:
    """Raise ValueError where two of the named folders are one: what is written would fall on what is read."""
    seen: dict[Path, str] = {}
    for name, folder in folders.items():
        if folder is None:
            continue
        other = seen.setdefault(Path(folder).resolve(), name)
        if other != name:
            raise ValueError(f"{other} and {name} are one folder, {folder}; give each its own")


def is_newer(path: Path, *sources: Path) -> bool:
    """Whether a file is there and no older than its sources."""
    try:
        return path.stat().st_mtime_ns >= max(source.stat().st_mtime_ns for source in sources)
    except OSError:
        return False


def files_in(folder: Path) -> Iterator[Path]:
    """The files of a folder that may be absent, in no order."""
    if folder.is_dir():
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_file()]
        yield from (folder / name for name in names)


def remove_cuts(folder: Path, stems: Collection[str]) -> None:
    """Remove the files named as cuts of the pictures called `stems`."""
    for file in files_in(folder):
        if owner_of(file.stem) in stems:
            file.unlink()


def remove(files: Iterable[Path]) -> None:
    """Remove files, those too that are not there."""
    for file in files:
        file.unlink(missing_ok=True)


def write_file(path: Path, content: bytes) -> None:
    """Write a file in one step, in the place of an older one; StreamError where it cannot be."""
    file = PartFile(path, overwrite=True)
    try:
        file.part.write_bytes(content)
    except OSError as error:
        file.discard()
        raise StreamError(f"{path}: cannot be written ({error.strerror}); make room") from error
    file.finish()


def write_jpeg(path: Path, image: Image) -> None:
    """Write a picture as `write_file` does; StreamError too for one that is too large for a JPEG."""
    try:
        known, encoded = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
    except cv2.error:
        known = False
    if not known:
        height, width = image.shape[:2]
        raise StreamError(f"{path}: a JPEG takes no picture of {width}x{height}; make it smaller")
    write_file(path, encoded.tobytes())
