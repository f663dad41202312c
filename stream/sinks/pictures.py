"""Results as a folder of pictures: one file per still picture or frame."""

from __future__ import annotations

import os
from pathlib import Path

import cv2

from stream.frame import Frame
from stream.pipeline import Result
from stream.sinks.base import Picture
from stream.sinks.partfile import PartFile
from stream.source import StreamError

_SETTINGS = {"jpg": (cv2.IMWRITE_JPEG_QUALITY, 95), "png": (cv2.IMWRITE_PNG_COMPRESSION, 1)}
"""Quality of 100 for jpg; for png, which always is exact, how hard to press: 1 of 9 is the fast end."""


class PictureSink:
    """Writes every picture into a folder: NAME.jpg for a still picture, NAME-000123.jpg for frame 123 of a video.

    NAME is that of the source without its ending. Raises FileExistsError where a file is in the way and `overwrite` is
    not set, or where two stills would have one name; StreamError where the folder cannot be written.
    """

    needs_picture = True
    warnings: tuple[str, ...] = ()

    def __init__(self, folder: Path, *, ending: str = "jpg", overwrite: bool = False) -> None:
        if ending not in _SETTINGS:
            raise ValueError(f"pictures are written as {' or '.join(_SETTINGS)}, got {ending!r}")
        self._folder = folder
        self._ending = ending
        self._overwrite = overwrite
        self._sources: dict[Path, str] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StreamError(f"{folder}: cannot be made ({error.strerror}); choose another folder") from error
        if not os.access(folder, os.W_OK):
            raise StreamError(f"{folder}: may not be written to; choose another folder")

    def write(self, result: Result, picture: Picture | None) -> None:
        """Write one picture under its final name, in one step."""
        if picture is None:
            raise ValueError("a folder of pictures takes pictures, got None")
        path = self._path(result.frame)
        file = PartFile(path, overwrite=self._overwrite)
        key, value = _SETTINGS[self._ending]
        try:
            known, encoded = cv2.imencode(f".{self._ending}", picture.image, (key, value))
            if not known:
                height, width = picture.image.shape[:2]
                raise StreamError(f"{path}: {self._ending} takes no picture of {width}x{height}; make it smaller")
            file.part.write_bytes(encoded.tobytes())
        except OSError as error:
            file.discard()
            raise StreamError(f"{path}: cannot be written ({error.strerror}); make room") from error
        except BaseException:
            file.discard()
            raise
        file.finish()

    def close(self, *, failed: bool = False) -> None:
        """Nothing is left to do: every picture is whole when `write` returns."""

    def _path(self, frame: Frame) -> Path:
        stem = Path(frame.source_id).stem
        if not frame.still:
            return self._folder / f"{stem}-{frame.index:06d}.{self._ending}"
        path = self._folder / f"{stem}.{self._ending}"
        if path in self._sources:
            raise FileExistsError(
                f"{self._sources[path]} and {frame.source_id} would both become {path.name}; "
                "rename one, or write into two folders"
            )
        self._sources[path] = frame.source_id
        return path
