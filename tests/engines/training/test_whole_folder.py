"""Folders that are whole or not there, and the room on their disk."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

pytest.importorskip("torch")

from engines.lock import alone
from engines.training.whole_folder import check_room, whole_folder

WAIT_S = 20.0


def fill(part: Path) -> None:
    (part / "a.txt").write_text("whole", encoding="utf-8")


def never(part: Path) -> None:
    raise AssertionError(f"{part} is filled again")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_is_filled_once(tmp_path: Path) -> None:
    place = tmp_path / "packs" / "one"
    assert whole_folder(place, fill) == whole_folder(place, never) == place
    assert names(tmp_path / "packs") == [".one.lock", "one"]
    assert (place / "a.txt").read_text(encoding="utf-8") == "whole"


def test_one_that_cannot_be_filled_is_not_there_and_may_be_tried_again(tmp_path: Path) -> None:
    def fail(part: Path) -> None:
        fill(part)
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        whole_folder(tmp_path / "one", fail)
    assert names(tmp_path) == [".one.lock"]
    whole_folder(tmp_path / "one", fill)
    assert names(tmp_path / "one") == ["a.txt"]


def test_what_the_dead_left_is_swept_and_what_others_are_at_stays(tmp_path: Path) -> None:
    for name in ("one", "dead", "living", "clip.mp4-12"):
        (tmp_path / f"{name}.part").mkdir()
        (tmp_path / f"{name}.part" / "half.txt").write_bytes(b"")
    for name in ("one", "dead"):
        (tmp_path / f".{name}.lock").write_bytes(b"")
    with alone(tmp_path / ".living.lock", lambda: None):
        whole_folder(tmp_path / "one", fill)
    assert names(tmp_path) == [".dead.lock", ".living.lock", ".one.lock", "clip.mp4-12.part", "living.part", "one"]
    assert names(tmp_path / "one") == ["a.txt"]


def test_a_second_one_is_told_waits_and_takes_what_the_first_made(tmp_path: Path) -> None:
    told, lines = threading.Event(), list[str]()

    def say(line: str) -> None:
        lines.append(line)
        told.set()

    second = threading.Thread(target=whole_folder, args=(tmp_path / "one", never, say), name="second")

    def slow(part: Path) -> None:
        second.start()
        assert told.wait(WAIT_S)
        fill(part)

    whole_folder(tmp_path / "one", slow)
    second.join(WAIT_S)
    assert lines == [f"{tmp_path / 'one'}: another process makes it; waiting for that"]
    assert names(tmp_path) == [".one.lock", "one"]


def test_the_disk_must_have_room(tmp_path: Path) -> None:
    check_room(tmp_path, 1, "the packed people")
    with pytest.raises(OSError, match=r"GB free, wanted 9,000,000\.0 GB for the packed people; make room there"):
        check_room(tmp_path, 9 * 10**15, "the packed people")
