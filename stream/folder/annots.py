"""The boxes of one picture's people as a file: `annots/<stem>.json`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CORNERS = ("x1", "y1", "x2", "y2")


def annots_text(given: str, boxes: NDArray[np.float32]) -> str:
    """The JSON of boxes (M, 4) xyxy in pixels of the picture; `given` is the picture's path as the user gave it.

    `center` is that of the box within itself, as the older tool had it: half its sides.
    """
    people = []
    for x1, y1, x2, y2 in boxes.astype(float).tolist():
        width, height = x2 - x1, y2 - y1
        center = {"x": width / 2, "y": height / 2}
        people.append({"x1": x1, "y1": y1, "x2": x2, "y2": y2, "w": width, "h": height, "center": center})
    return json.dumps({"path": given, "boxes": people}, indent=2, ensure_ascii=False)


def read_annots(path: Path) -> NDArray[np.float32]:
    """The boxes (M, 4) xyxy of a file, in their order.

    Raises OSError where it cannot be read, ValueError that names the file and the key where it is something else.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: no JSON: {error}") from error
    boxes = data.get("boxes") if isinstance(data, dict) else None
    if not isinstance(boxes, list):
        raise ValueError(f"{path}: boxes must be a list, got {type(boxes).__name__}")
    corners = [[_corner(path, row, box, name) for name in CORNERS] for row, box in enumerate(boxes)]
    return np.array(corners, np.float32).reshape(-1, 4)


def _corner(path: Path, row: int, box: Any, name: str) -> float:
    value = box.get(name) if isinstance(box, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{path}: boxes[{row}].{name} must be a number, got {value!r}")
    return float(value)


def within(boxes: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Boxes (M, 4) xyxy clamped to a picture of `size` (height, width)."""
    height, width = size
    return np.clip(boxes, 0, np.array((width, height, width, height), np.float32))


def cut_box(boxes: NDArray[np.float32]) -> NDArray[np.int64]:
    """What is cut out for boxes (M, 4) xyxy that lie in the picture: (M, 4) whole pixels, x2 and y2 exclusive.

    The corner and the sides are each rounded down, as the older tool did: [int(y1):int(y1)+int(h), …].
    """
    corners = boxes[:, :2].astype(np.int64)
    # In float64: the sides that the file of boxes says.
    sides = np.trunc(boxes[:, 2:].astype(np.float64) - boxes[:, :2]).astype(np.int64)
    return np.concatenate([corners, corners + sides], axis=1)
