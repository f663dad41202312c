"""Clips to train on: a frame every so often, kept as a picture."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np

from engines.results import Image

SUFFIXES: Final = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv")
"""Files with such an ending are clips."""
_FRAME: Final = re.compile(r"(.+)-\d{6,}\.jpg")
"""How the picture of a frame is called; its folder by the same clip, and 8 hex digits."""
_QUALITY: Final = (cv2.IMWRITE_JPEG_QUALITY, 95)
_TURNS: Final = {90: 1, 180: 2, 270: 3}
"""Quarter turns by the rotation tag, degrees counterclockwise."""


def clip_pictures(clip: Path, work: Path, every_s: float = 1.0) -> list[Path]:
    """A frame of a clip every `every_s` seconds, upright, as JPEGs in a folder of their own in `work`.

    A picture is called by its clip and the number of its frame, `CLIP-000123.jpg`. What an earlier call wrote is taken
    again, unless the clip has changed. Raises ValueError for a bad interval or a clip without frames, OSError where it
    cannot be read.
    """
    if not every_s > 0:
        raise ValueError(f"every_s must be above 0 seconds, got {every_s}")
    status = clip.stat()
    # By what is in it, so that clips of one name are kept apart and a changed one is read anew.
    said = f"{clip.resolve()} {status.st_size} {status.st_mtime_ns} {every_s}"
    folder = work / f"{clip.stem}-{hashlib.sha256(said.encode()).hexdigest()[:8]}"
    if not folder.is_dir():
        _write(clip, folder, every_s)
    return sorted(folder.iterdir())


def list_clips(folder: Path) -> list[Path]:
    """The clips of a folder by name; those of its folders are not taken."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())


def clip_folder(picture: Path) -> Path | None:
    """The folder of frames that `clip_pictures` put a picture into; None where it is of no clip. Names tell it."""
    name = _FRAME.fullmatch(picture.name)
    if name is None or re.fullmatch(f"{re.escape(name[1])}-[0-9a-f]{{8}}", picture.parent.name) is None:
        return None
    return picture.parent


def _write(clip: Path, folder: Path, every_s: float) -> None:
    """Fill a folder, which is there only once it is whole."""
    part = folder.with_name(f"{folder.name}.part-{os.getpid()}")
    part.mkdir(parents=True, exist_ok=True)
    try:
        for number, image in _frames(clip, every_s):
            cv2.imwrite(str(part / f"{clip.stem}-{number:06d}.jpg"), image, _QUALITY)
        if not any(part.iterdir()):
            raise ValueError(f"{clip}: no frame of it can be decoded; name a video file")
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _frames(clip: Path, every_s: float) -> Iterator[tuple[int, Image]]:
    """Number and BGR picture of the first frame at or after each multiple of `every_s` from the clip's first."""
    try:
        with av.open(str(clip)) as container:
            if not container.streams.video:
                raise ValueError(f"{clip}: has no picture; name a video file")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            rate = float(stream.average_rate or 25)
            first_s, due = None, 0
            for number, frame in enumerate(container.decode(stream)):
                time_s = number / rate if frame.time is None else frame.time
                first_s = time_s if first_s is None else first_s
                # A thousandth of a frame, as times are rounded.
                if time_s - first_s >= due * every_s - 1e-3 / rate:
                    due = int((time_s - first_s + 1e-3 / rate) / every_s) + 1
                    yield number, _upright(frame)
    except av.FFmpegError as error:
        raise OSError(f"{clip}: cannot be read as a video ({error.strerror}); name another or fetch it anew") from error


def _upright(frame: av.VideoFrame) -> Image:
    turns = _TURNS.get(round(frame.rotation / 90) * 90 % 360, 0)
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="bgr24").astype(np.uint8, copy=False), turns))
