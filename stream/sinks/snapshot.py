"""One picture of a run, saved under a name that was free."""

from __future__ import annotations

import re
from pathlib import Path

import cv2

from engines.results import Image
from stream.frame import Frame


def save_snapshot(image: Image, frame: Frame, folder: Path) -> Path:
    """Write SOURCE-INDEX.png into a folder, with -2, -3, … where that name is taken; OSError where it cannot be."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = re.sub(r"[^\w.-]+", "_", Path(frame.source_id).stem) or "snapshot"
    _, encoded = cv2.imencode(".png", image)
    number = 1
    while True:
        path = folder / f"{stem}-{frame.index:06d}{f'-{number}' if number > 1 else ''}.png"
        try:
            with path.open("xb") as file:
                file.write(encoded.tobytes())
        except FileExistsError:
            number += 1
        else:
            return path
