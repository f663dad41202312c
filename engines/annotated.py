"""Annotated pictures: where an annotation file's pictures are, and their pixels as they were annotated."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from engines.results import Image


class Picture(Protocol):
    """An annotated picture: its number, its file and, where that is known, its (height, width)."""

    @property
    def number(self) -> int: ...

    @property
    def path(self) -> Path: ...

    @property
    def size(self) -> tuple[int, int] | None: ...


def read_json(file: Path) -> Any:
    """What a JSON file says; ValueError where it is none."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: no JSON: {error}") from error


def locate_pictures(file: Path, names: Sequence[str], folder: Path | None) -> list[Path]:
    """The paths of the pictures that annotation file `file` calls `names`.

    Without a `folder` they lie in `images` beside the file, beside it, or as COCO and MPII are unpacked: in `val2017`
    or `images` beside its folder. Raises FileNotFoundError where one is missing.
    """
    beside, above = file.parent, file.parent.parent
    places = [folder] if folder else [beside / "images", beside, above / file.stem.rpartition("_")[2], above / "images"]
    place = next((place for place in places if names and (place / names[0]).is_file()), places[0])
    paths = [place / name for name in names]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        where = place if len(missing) < len(names) else ", ".join(map(str, places))
        raise FileNotFoundError(
            f"{file}: {len(missing)} of its {len(names)} pictures, {missing[0]} the first, are not in {where}; "
            "name their folder with --images"
        )
    return paths


def read_annotated(picture: Picture) -> Image:
    """The pixels of an annotated picture as they are stored, (H, W, 3) uint8 BGR.

    An EXIF orientation is passed over, as annotations are of the stored pixels (HRNet, lib/dataset/JointsDataset.py).
    Raises OSError where it cannot be read, ValueError where it is of another size than annotated.
    """
    image = cv2.imread(str(picture.path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise OSError(f"{picture.path}: cannot be read as a picture; fetch it anew")
    height, width = image.shape[:2]
    if picture.size is not None and picture.size != (height, width):
        high, wide = picture.size
        raise ValueError(f"{picture.path}: is {width}x{height}, annotated as {wide}x{high}; name the right --images")
    return np.asarray(image, np.uint8)
