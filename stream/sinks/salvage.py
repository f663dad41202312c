"""Records that a killed run, or a full disk, left in the middle: cut back to what is whole."""

from __future__ import annotations

import json
from mmap import ACCESS_READ, mmap
from pathlib import Path

from stream.sinks.partfile import split_name

_COCO_END = b"\n]\n"


def cut_back(records: Path) -> bool:
    """Take away what was half-written; False, and the file stays as it is, where nothing in it is whole.

    COCO results keep their whole elements and are closed, all others their whole lines. Raises OSError.
    """
    if not records.stat().st_size:
        return False
    is_coco = split_name(records)[1].lower() == ".coco.json"
    with records.open("r+b") as file:
        with mmap(file.fileno(), 0, access=ACCESS_READ) as text:
            end = _end_of_elements(text) if is_coco else text.rfind(b"\n") + 1
        if not end:
            return False
        file.truncate(end)
        if is_coco:
            file.seek(end)
            file.write(_COCO_END)
    return True


def _end_of_elements(text: mmap) -> int:
    """Where the last whole element of a COCO array, one a line, ends; 0 where there is none."""
    end = len(text)
    while end > 0:
        begin = text.rfind(b"\n", 0, end) + 1
        line = text[begin:end].rstrip(b",")
        if _is_element(line):
            return begin + len(line)
        end = begin - 1
    return 0


def _is_element(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
