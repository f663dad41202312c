"""The text of a darknet `.cfg`: sections in brackets, a key=value a line; every complaint names file and line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from engines.backends.base import EngineError

MOST = 65536
"""No whole number of a `.cfg` that matters here is larger; one that is, is a slip of the pen or an attack."""

T = TypeVar("T", int, float)


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a `.cfg`: its name, the line it begins on, and its keys as they are written."""

    path: Path
    line: int
    name: str
    keys: dict[str, str]

    def error(self, message: str) -> EngineError:
        """What is wrong, with where."""
        return EngineError(f"{self.path}:{self.line}: [{self.name}] {message}")

    def integer(self, key: str, default: int | None = None, *, least: int = 0) -> int:
        """A whole number from `least` to `MOST`; `default` stands where the key is left out, None where it must not."""
        found = self.numbers(key, int, () if default is None else (default,))
        if len(found) != 1 or not least <= found[0] <= MOST:
            raise self.error(f"{key} must be a number from {least} to {MOST}, got {self.keys.get(key, 'none')!r}")
        return found[0]

    def numbers(self, key: str, kind: Callable[[str], T], default: Sequence[T] = ()) -> tuple[T, ...]:
        """The numbers of a list with commas."""
        if key not in self.keys:
            return tuple(default)
        try:
            return tuple(kind(part) for part in self.keys[key].split(",") if part.strip())
        except ValueError as error:
            wanted = "whole numbers" if kind is int else "numbers"
            raise self.error(f"{key} must be {wanted}, got {self.keys[key]!r}") from error

    def choice(self, key: str, known: Sequence[str], default: str) -> str:
        """The word of `key`, one of `known`."""
        word = self.keys.get(key, default)
        if word not in known:
            raise self.error(f"{key} must be {' or '.join(known)}, got {word!r}: no YOLOv3 has it")
        return word

    def must_be(self, key: str, number: float) -> None:
        """Refuse a value of `key` other than the one that stands where it is left out."""
        if self.numbers(key, float, (number,)) != (number,):
            raise self.error(f"{key} must be {number:g}, got {self.keys[key]!r}: no YOLOv3 has it")


def read_sections(path: Path) -> list[Section]:
    """The sections of a `.cfg` in order. Raises OSError where it cannot be read, EngineError where it is no `.cfg`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise EngineError(f"{path}: no text, wanted a darknet .cfg") from error
    sections: list[Section] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        key, equals, value = line.partition("=")
        if line[0] == "[":
            sections.append(Section(path, number, line.strip("[]").strip(), {}))
        elif sections and equals:
            sections[-1].keys[key.strip()] = value.strip()
        else:
            raise EngineError(f"{path}:{number}: wanted [layer] or key=value, got {line[:40]!r}; name a darknet .cfg")
    return sections
