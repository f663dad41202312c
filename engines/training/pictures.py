"""Picture files of a training set: which they are, where an annotation file's are, and their size without decoding."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2

from engines.annotated import locate_pictures

SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""Of a folder's files, those that are pictures."""
_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG's markers of a frame, whose header has the size (ITU T.81, table B.1)."""


def list_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder by name; those of its folders are not taken."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())


def expected_paths(file: Path, names: Sequence[str], images: Path | None) -> list[Path]:
    """Where `locate_pictures` finds the pictures `names`, or would those that are missing.

    Raises FileNotFoundError where not one of them is there.
    """
    found = next((name for name in names if _is_there(file, name, images)), None)
    if found is None:
        return locate_pictures(file, names, images)
    (path,) = locate_pictures(file, [found], images)
    place = path.parents[len(Path(found).parts) - 1]
    return [place / name for name in names]


def picture_size(path: Path) -> tuple[int, int] | None:
    """(height, width) of a picture as it is stored, its EXIF orientation passed over; None where it cannot be read.

    Of JPEG and PNG only the bytes around the pixels are looked at, which takes no time and shows whether it was cut
    off; others are decoded.
    """
    try:
        data = path.read_bytes()
    except OSError:
        return None
    try:
        if data.startswith(_JPEG):
            return _jpeg_size(data)
        if data.startswith(_PNG):
            width, height = struct.unpack_from(">II", data, 16)
            return (height, width) if b"IEND" in data[-16:] else None
    except (struct.error, IndexError):
        return None
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
    return None if image is None else (image.shape[0], image.shape[1])


def _is_there(file: Path, name: str, images: Path | None) -> bool:
    try:
        locate_pictures(file, [name], images)
    except FileNotFoundError:
        return False
    return True


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Walk the segments up to that of the frame. Some writers pad behind the end marker, so it is looked for."""
    if data.rfind(b"\xff\xd9") < len(data) // 2:
        return None
    place = 2
    while data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
            continue
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, place + 5)
            return (height, width)
        place += 2 + struct.unpack_from(">H", data, place + 2)[0]
    return None
