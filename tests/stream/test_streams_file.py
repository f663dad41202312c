"""Which sources a run has, and what they are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.streams_file import NamedSource, name_of, read_sources


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("0", "camera0"),
        ("/dev/video12", "camera12"),
        ("lavfi:testsrc2=rate=30,realtime", "lavfi"),
        ("clips/my walk.final.mp4", "my_walk.final"),
        ("file:///clips/walk.mp4", "walk"),
        ("rtsp://me:secret@10.0.0.7:554/live/main", "10.0.0.7-live-main"),
        ("rtsp://cam/user=me&password=secret", "cam-user_____password____"),
        ("udp://@:5000", "source"),
        ("shots/*.jpg", "_"),
        ("shots/", "shots"),
    ],
)
def test_a_source_is_called_by_its_address_without_secrets(url: str, name: str) -> None:
    assert name_of(url) == name


def test_names_that_would_be_the_same_are_numbered_around_those_that_were_given(tmp_path: Path) -> None:
    listing = tmp_path / "more.streams"
    listing.write_text("walk-2 = rtsp://cam/live\n", encoding="utf-8")
    found = read_sources(["a/walk.mp4", "b/walk.mkv", str(listing), "c/walk.ts"])
    assert [source.name for source in found] == ["walk", "walk-3", "walk-2", "walk-4"]
    assert [source.is_named for source in found] == [False, False, True, False]


def test_a_list_may_begin_with_the_mark_that_editors_write(tmp_path: Path) -> None:
    listing = tmp_path / "yard.streams"
    listing.write_text("door = rtsp://cam/live\n", encoding="utf-8-sig")
    assert [(source.name, source.url) for source in read_sources([str(listing)])] == [("door", "rtsp://cam/live")]


def test_a_list_stands_for_its_lines_and_looks_for_files_beside_itself(tmp_path: Path) -> None:
    listing = tmp_path / "yard.streams"
    lines = (
        "# the yard\n\n front = rtsp://me:pass#word=x@cam/live?a=b  # by the gate\nrtsp://cam2/x=y\n"
        f"door=clips/door.mp4\n0\n{tmp_path}/abs.mp4\nlavfi:testsrc2=size=64x48\n"
    )
    listing.write_text(lines, encoding="utf-8")
    assert read_sources(["first.mp4", str(listing)]) == (
        NamedSource("first", "first.mp4"),
        NamedSource("front", "rtsp://me:pass#word=x@cam/live?a=b", is_named=True),
        NamedSource("cam2-x_y", "rtsp://cam2/x=y"),
        NamedSource("door", str(tmp_path / "clips/door.mp4"), is_named=True),
        NamedSource("camera0", "0"),
        NamedSource("abs", f"{tmp_path}/abs.mp4"),
        NamedSource("lavfi", "lavfi:testsrc2=size=64x48"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no source; write one a line"),
        ("# nothing\n\n", "lists no source"),
        ("rtsp://cam/a\ndoor =\n", r"yard.streams:2: door has no address; write NAME = URL"),
        ("other.streams\n", r"yard.streams:1: a list in a list"),
        (".. = 0\n", r"yard.streams:1: '..' is no name"),
        ("a = 0\na = 1\n", "two sources are called a; give each a name of its own"),
    ],
)
def test_a_list_that_is_none_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    listing = tmp_path / "yard.streams"
    listing.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_sources([str(listing)])


def test_a_list_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such list of sources"):
        read_sources([str(tmp_path / "none.streams")])
    binary = tmp_path / "b.streams"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not UTF-8"):
        read_sources([str(binary)])
