"""What `doctor` found of one thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

INSTALL = "pip install -e . in the folder of run.py"


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of the table: `state` is ok, missing where the main job needs it, or - where it can do without."""

    what: str
    state: Literal["ok", "missing", "-"]
    detail: str
    remedy: str = ""
