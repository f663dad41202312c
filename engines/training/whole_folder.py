"""Folders that are whole or not there: one process fills one, while the others that want the same wait for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from engines.export import Say, silent
from engines.lock import alone


class _BusyError(Exception):
    """Somebody is filling the folder."""


def whole_folder(place: Path, fill: Callable[[Path], None], say: Say = silent) -> Path:
    """The folder `place`, filled by `fill` unless it is there.

    `fill` is given an empty folder beside it, which takes its place once it is whole; where it raises, nothing is left
    but an empty lock. A second process that wants the same is told so by `say` and waits. What dead processes left half
    filled, of this folder or of others beside it, is removed. Raises OSError where folders cannot be made.
    """
    if place.is_dir():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    _sweep(place.parent)
    with alone(_lock(place), lambda: say(f"{place}: another process makes it; waiting for that")):
        if not place.is_dir():
            part = place.with_name(f"{place.name}.part")
            shutil.rmtree(part, ignore_errors=True)  # left by one who died while this waited
            part.mkdir()
            try:
                fill(part)
                part.rename(place)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    return place


def check_room(folder: Path, wanted: int, what: str) -> None:
    """Raise OSError unless the disk of a folder has so many bytes free for `what`."""
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise OSError(
            f"{folder}: {free / 1e9:,.1f} GB free, wanted {wanted / 1e9:,.1f} GB for {what}; make room there, or take "
            "less data"
        )


def _lock(place: Path) -> Path:
    return place.with_name(f".{place.name}.lock")


def _sweep(folder: Path) -> None:
    """Remove the half filled folders that nobody is filling any more; those of others have no lock, and stay."""
    for part in folder.glob("*.part"):
        lock = _lock(part.with_suffix(""))
        if not lock.is_file():
            continue
        try:
            with alone(lock, _refuse):
                shutil.rmtree(part, ignore_errors=True)
        except _BusyError:
            continue


def _refuse() -> None:
    raise _BusyError
