from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from stream.folder.places import check_apart, is_newer, pictures_of, remove_cuts, write_file, write_jpeg
from stream.source import StreamError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(b"x")


def test_pictures_come_in_the_order_of_their_cuts_with_the_folder_as_given(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    touch(Path("in"), "a.jpg", "a-1.PNG", "b.webp", "c.bmp", "d.tif", "e.tiff", "f.jpeg", "notes.txt", ".hidden.jpg")
    found = pictures_of("./in/")
    assert [one.given for one in found] == [f"./in/{name}" for name in
            ("a.jpg", "a-1.PNG", "b.webp", "c.bmp", "d.tif", "e.tiff", "f.jpeg")]  # fmt: skip
    assert found[1].stem == "a-1"


def test_two_pictures_of_one_stem_are_refused_with_both_names(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "a.png", "b.jpg")
    with pytest.raises(ValueError, match=r"a\.jpg and .*a\.png would both be written as a; rename one"):
        pictures_of(str(tmp_path))


def test_a_folder_that_is_not_there_or_empty_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gone: no such folder"):
        pictures_of(str(tmp_path / "gone"))
    with pytest.raises(StreamError, match="no pictures there"):
        pictures_of(str(tmp_path))


def test_folders_must_differ(tmp_path: Path) -> None:
    check_apart(images=tmp_path, annots=tmp_path / "a", final=None)
    with pytest.raises(ValueError, match="images and inspect are one folder"):
        check_apart(images=str(tmp_path), inspect=tmp_path / "a" / "..")


def test_a_file_is_newer_only_where_it_is_there_and_no_source_was_touched_since(tmp_path: Path) -> None:
    touch(tmp_path, "old", "new")
    old, new = tmp_path / "old", tmp_path / "new"
    os.utime(old, ns=(0, 1000))
    os.utime(new, ns=(0, 2000))
    assert is_newer(new, old)
    assert is_newer(new, new)
    assert not is_newer(old, new)
    assert not is_newer(tmp_path / "gone", old)
    assert not is_newer(new, tmp_path / "gone")


def test_only_cuts_of_the_pictures_named_are_removed(tmp_path: Path) -> None:
    touch(tmp_path, "a-0.jpg", "a-10.jpg", "a-1-0.jpg", "a.jpg", "ab-0.jpg", "a-x.jpg")
    remove_cuts(tmp_path, {"a"})
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a-1-0.jpg", "a-x.jpg", "a.jpg", "ab-0.jpg"]
    remove_cuts(tmp_path / "gone", {"a"})


def test_a_file_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    write_file(tmp_path / "new" / "a.json", b"1")
    write_file(tmp_path / "new" / "a.json", b"2")
    assert [(f.name, f.read_bytes()) for f in (tmp_path / "new").iterdir()] == [("a.json", b"2")]


def test_a_picture_too_large_for_a_jpeg_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(StreamError, match=r"a\.jpg: a JPEG takes no picture of 70000x1"):
        write_jpeg(tmp_path / "a.jpg", np.zeros((1, 70_000, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []
