"""Still pictures as a source: one, a folder of them or a glob, in lexical order."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path

import cv2
import numpy as np

from engines.results import Image
from stream.frame import Frame
from stream.source import SourceInfo, SourceOptions, StreamError, local_path

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_STILL_TIME_BASE = Fraction(1)
_JPEG_START, _JPEG_SCAN, _JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
_MAGIC = "*?["
"""Characters that make a glob of a path."""
_NAMED = 5
"""How many damaged pictures are named before the rest is only counted."""


def find_pictures(url: str) -> list[Path] | None:
    """The pictures that a file, a folder or a glob names, in lexical order; None where it names something else.

    Raises StreamError for a folder or a glob without a picture.
    """
    path = local_path(url)
    if path.is_dir():
        found = [p for p in path.iterdir() if _is_picture(p)]
    elif path.exists() or not any(character in str(path) for character in _MAGIC):
        return [path] if _is_picture(path) else None
    else:
        root = Path(path.anchor)
        found = [p for p in root.glob(str(path.relative_to(root))) if _is_picture(p)]
    if not found:
        raise StreamError(f"{url}: no pictures there; pictures are {', '.join(PICTURE_SUFFIXES)}")
    return sorted(found)


def open_pictures(url: str, paths: Sequence[Path], options: SourceOptions) -> PictureSource:
    """Open still pictures; raises StreamError where two share a name or none can be read."""
    twice = next((name for name, count in Counter(path.name for path in paths).items() if count > 1), None)
    if twice is not None:
        both = [str(path) for path in paths if path.name == twice][:2]
        raise StreamError(
            f"{' and '.join(both)} have one name, by which they are known; read one folder after the other"
        )
    return PictureSource(url, paths, mirror=options.mirror)


class PictureSource:
    """Pictures one after another, each with its file name as source_id; a Source.

    What cannot be read is passed by and named in `damage`. The pictures may differ in size; `info` has the first one's.
    """

    def __init__(self, url: str, paths: Sequence[Path], *, mirror: bool) -> None:
        self._mirror = mirror
        self._paths = iter(paths)
        self._broken: list[str] = []
        self._cut: list[str] = []
        first = self._next()
        if first is None:
            raise StreamError(f"{url}: none of {len(paths)} pictures can be read; are they pictures?")
        self._first = first
        image = first[1]
        self._info = SourceInfo(
            source_id=local_path(url).name or "pictures",
            url=url,
            size=image.shape[:2],
            time_base=_STILL_TIME_BASE,
            frame_count=len(paths) - len(self._broken),
            still=True,
        )

    @property
    def info(self) -> SourceInfo:
        """What is known before the first picture."""
        return self._info

    @property
    def damage(self) -> str | None:
        """The pictures that could not be read, or not whole, in one line; None where all were."""
        parts = []
        if self._broken:
            parts.append(f"left out as unreadable: {_names(self._broken)}")
        if self._cut:
            parts.append(f"cut short: {_names(self._cut)}")
        return f"{self._info.url}: {'; '.join(parts)}" if parts else None

    def frames(self) -> Iterator[Frame]:
        """The pictures; to be gone through once."""
        pictures = chain([self._first], iter(self._next, None))
        for index, (path, image) in enumerate(pictures):
            yield Frame(image, index, 0, _STILL_TIME_BASE, path.name, time.monotonic_ns(), still=True)

    def close(self) -> None:
        """Nothing is held open."""

    def _next(self) -> tuple[Path, Image] | None:
        """The next picture that can be read, None behind the last."""
        for path in self._paths:
            image = self._read(path)
            if image is not None:
                return path, image
        return None

    def _read(self, path: Path) -> Image | None:
        try:
            data = path.read_bytes()
        except OSError:
            data = b""
        is_cut = is_cut_short(data)
        # With an end put to it the decoder gives what there is of a cut picture, the rest in grey.
        image = read_picture(data + _JPEG_END if is_cut else data)
        if image is None:
            self._broken.append(path.name)
            return None
        if is_cut:
            self._cut.append(path.name)
        if self._mirror:
            image = np.ascontiguousarray(image[:, ::-1])
        image.flags.writeable = False
        return image


def read_picture(data: bytes) -> Image | None:
    """The picture in the bytes of a file, (H, W, 3) uint8 BGR; None where there is none.

    It is turned as its EXIF orientation says; grey and CMYK become BGR, 16 bits become 8, alpha is dropped.
    """
    if not data:
        return None
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image, np.uint8)


def is_cut_short(data: bytes) -> bool:
    """Whether a JPEG lacks its end."""
    return data.startswith(_JPEG_START) and data.rfind(_JPEG_END) < data.rfind(_JPEG_SCAN)


def _is_picture(path: Path) -> bool:
    """Whether the name is a picture's; hidden files, such as the ones macOS puts beside pictures, are not."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"
