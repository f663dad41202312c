"""Picture files of a training set: which they are, where an annotation file's are, and their size without decoding."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import cv2

from engines.annotated import locate_pictures

SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""Of a folder's files, those that are pictures."""
_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG's markers of a frame, whose header has the size (ITU T.81, table B.1)."""
_APP1: Final = 0xE1
"""JPEG's marker of a segment that may hold EXIF."""
_EXIF, _ORIENTATION, _UPRIGHT = b"Exif\0\0", 0x0112, 1
"""How an EXIF segment begins, the tag that says how a picture is turned (EXIF 2.32, 4.6.4), and that it is not."""
MIRRORED: Final = 2
"""The highest orientation of pictures whose pixels stand upright."""
_TAIL: Final = 4096
"""Bytes at the end of a JPEG where its end marker is looked for first."""

Folders = Path | Sequence[Path] | None
"""Where annotated pictures lie: in a folder, in several, or beside their file."""


@dataclass(frozen=True, slots=True)
class Header:
    """The size (height, width) of a picture as it is stored, and how it is to be turned to be seen (EXIF, 1 to 8).

    1 is upright and 2 mirrored; 3 and 4 stand on their head, and 5 to 8 lie on their side.
    """

    size: tuple[int, int]
    orientation: int = _UPRIGHT


def list_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder by name; those of its folders are not taken."""
    return sorted(path for path in folder.iterdir() if _is_picture(path))


def list_pictures_below(folder: Path) -> list[Path]:
    """The pictures of a folder and of all folders in it, by path.

    Raises FileNotFoundError where there is no such folder, ValueError where it has no picture.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: is no folder; name one of pictures")
    paths = sorted(path for path in folder.rglob("*") if _is_picture(path))
    if not paths:
        raise ValueError(f"{folder}: has no pictures, nor have the folders in it; name one that has some")
    return paths


def expected_paths(file: Path, names: Sequence[str], images: Folders) -> list[Path]:
    """Where the pictures `names` of an annotation file are, or would be those that are missing.

    Of several folders the first that has a picture counts; without any `locate_pictures` says where. Raises
    FileNotFoundError where not one picture is there.
    """
    folders = [images] if isinstance(images, Path) else list(images or ())
    if len(folders) > 1:
        return _in_any(file, names, folders)
    folder = folders[0] if folders else None
    found = next((name for name in names if _is_there(file, name, folder)), None)
    if found is None:
        return locate_pictures(file, names, folder)
    (path,) = locate_pictures(file, [found], folder)
    place = path.parents[len(Path(found).parts) - 1]
    return [place / name for name in names]


def picture_header(path: Path) -> Header | None:
    """Size and orientation of a picture; None where it cannot be read.

    Of JPEG and PNG only some bytes around the pixels are read, which takes no time and shows whether it was cut off;
    others are decoded, and their orientation is not told.
    """
    try:
        with path.open("rb") as file:
            start = file.read(24)
            if start.startswith(_JPEG):
                return _jpeg_header(file) if _has_jpeg_end(file) else None
            if start.startswith(_PNG):
                width, height = struct.unpack_from(">II", start, 16)
                return Header((height, width)) if b"IEND" in _tail(file, 16) else None
    except (OSError, struct.error):
        return None
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
    return None if image is None else Header((image.shape[0], image.shape[1]))


def picture_size(path: Path) -> tuple[int, int] | None:
    """(height, width) of a picture as it is stored, its EXIF orientation passed over; None where it cannot be read."""
    header = picture_header(path)
    return None if header is None else header.size


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _is_there(file: Path, name: str, images: Path | None) -> bool:
    try:
        locate_pictures(file, [name], images)
    except FileNotFoundError:
        return False
    return True


def _in_any(file: Path, names: Sequence[str], folders: Sequence[Path]) -> list[Path]:
    """Each picture where the first folder has it; one that is missing would be in the first folder."""
    found = [next((folder / name for folder in folders if (folder / name).is_file()), None) for name in names]
    if not any(found):
        raise FileNotFoundError(
            f"{file}: {len(names)} of its {len(names)} pictures, {names[0]} the first, are not in "
            f"{', '.join(map(str, folders))}; name their folder with --images"
        )
    return [path or folders[0] / name for path, name in zip(found, names, strict=True)]


def _tail(file: BinaryIO, count: int) -> bytes:
    """The last bytes of a file, at most so many."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - count, 0))
    return file.read()


def _has_jpeg_end(file: BinaryIO) -> bool:
    """Whether the end marker is in the file's second half: some writers pad behind it, and a thumbnail has its own."""
    half = (file.seek(0, os.SEEK_END) + 1) // 2
    return any(b"\xff\xd9" in _tail(file, count) for count in (min(_TAIL, half), half))


def _jpeg_header(file: BinaryIO) -> Header | None:
    """Walk the segments up to that of the frame; struct.error where the file ends before."""
    file.seek(len(_JPEG))
    orientation = _UPRIGHT
    while file.read(1) == b"\xff":
        marker = 0xFF
        while marker == 0xFF:  # fill bytes
            (marker,) = struct.unpack(">B", file.read(1))
        (length,) = struct.unpack(">H", file.read(2))
        if marker in _FRAMES:
            height, width = struct.unpack(">xHH", file.read(5))
            return Header((height, width), orientation)
        if length < 2:
            return None
        if marker == _APP1:
            orientation = _orientation(file.read(length - 2)) or orientation
        else:
            file.seek(length - 2, os.SEEK_CUR)
    return None


def _orientation(segment: bytes) -> int | None:
    """The orientation that the first list of tags of an EXIF segment tells; None where it tells none."""
    if not segment.startswith(_EXIF):
        return None
    tiff = segment[len(_EXIF) :]
    order = "<" if tiff.startswith(b"II") else ">"
    try:
        (place,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, place)
        for entry in range(place + 2, place + 2 + 12 * count, 12):
            tag, value = struct.unpack_from(f"{order}H6xH", tiff, entry)
            if tag == _ORIENTATION:
                return value if 1 <= value <= 8 else None
    except struct.error:
        return None
    return None
