"""Pictures of a folder, where an annotation file's would be, and their size without decoding."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.training.pictures import (
    Header,
    expected_paths,
    list_pictures,
    list_pictures_below,
    picture_header,
    picture_size,
)

NOISE = np.random.default_rng(5).integers(0, 256, (30, 50, 3), np.uint8)


def turn(file: Path, orientation: int, order: str = "MM") -> None:
    """Write an EXIF orientation into a JPEG, behind one more tag."""
    endian = {"MM": ">", "II": "<"}[order]
    tags = struct.pack(f"{endian}H" + "HHIHxx" * 2, 2, 0x0100, 3, 1, 50, 0x0112, 3, 1, orientation)
    payload = b"Exif\0\0" + order.encode() + struct.pack(f"{endian}HI", 42, 8) + tags + bytes(4)
    data = file.read_bytes()
    file.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + data[2:])


@pytest.mark.parametrize("ending", ["jpg", "png", "bmp", "webp"])
def test_the_size_is_height_and_width(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"a.{ending}"
    cv2.imwrite(str(file), NOISE)
    assert picture_size(file) == (30, 50)


def test_the_size_of_a_progressive_picture_is_read_too(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    cv2.imwrite(str(file), NOISE, (cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_OPTIMIZE, 1))
    assert picture_size(file) == (30, 50)


@pytest.mark.parametrize("order", ["MM", "II"])
def test_the_stored_size_is_told_where_exif_turns_the_picture(tmp_path: Path, order: str) -> None:
    file = tmp_path / "a.jpg"
    cv2.imwrite(str(file), NOISE)
    turn(file, 6, order)  # a quarter turn
    assert cv2.imread(str(file)).shape == (50, 30, 3)
    assert picture_size(file) == (30, 50)
    assert picture_header(file) == Header((30, 50), 6)


@pytest.mark.parametrize(("orientation", "read"), [(0, 1), (1, 1), (2, 2), (3, 3), (8, 8), (9, 1)])
def test_an_orientation_that_is_none_leaves_a_picture_as_it_is(tmp_path: Path, orientation: int, read: int) -> None:
    file = tmp_path / "a.jpg"
    cv2.imwrite(str(file), NOISE)
    turn(file, orientation)
    assert picture_header(file) == Header((30, 50), read)


@pytest.mark.parametrize("segment", [b"", b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"http://ns"])
def test_a_segment_without_an_orientation_leaves_a_picture_as_it_is(tmp_path: Path, segment: bytes) -> None:
    file = tmp_path / "a.jpg"
    cv2.imwrite(str(file), NOISE)
    data = file.read_bytes()
    file.write_bytes(data[:2] + b"\xff\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:])
    assert picture_header(file) == Header((30, 50), 1)


def test_the_end_of_a_padded_picture_is_found_in_its_second_half(tmp_path: Path) -> None:
    large = np.random.default_rng(6).integers(0, 256, (300, 400, 3), np.uint8)
    file = tmp_path / "a.jpg"
    cv2.imwrite(str(file), large)
    data = file.read_bytes()
    assert len(data) > 20_000
    file.write_bytes(data + bytes(10_000))
    assert picture_size(file) == (300, 400)
    file.write_bytes(data + bytes(len(data)))
    assert picture_size(file) is None


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_a_picture_that_was_cut_off_has_no_size(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"a.{ending}"
    cv2.imwrite(str(file), NOISE)
    file.write_bytes(file.read_bytes()[:-100])
    assert picture_size(file) is None


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xc0\xff\xd9", b"\x89PNG\r\n\x1a\n", b"words"])
def test_what_is_no_picture_has_no_size(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    assert picture_size(tmp_path / "a.jpg") is None
    assert picture_size(tmp_path / "missing.jpg") is None


def test_a_folder_s_pictures_are_those_in_it_by_name(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    for name in ("b.JPG", "a.png", "notes.txt", "more/c.jpg"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in list_pictures(tmp_path)] == ["a.png", "b.JPG"]


def test_the_pictures_below_a_folder_are_those_of_its_folders_too(tmp_path: Path) -> None:
    (tmp_path / "more" / "deep").mkdir(parents=True)
    for name in ("b.JPG", "notes.txt", "more/deep/c.jpg"):
        (tmp_path / name).write_bytes(b"")
    assert list_pictures_below(tmp_path) == [tmp_path / "b.JPG", tmp_path / "more" / "deep" / "c.jpg"]


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    with pytest.raises(ValueError, match="more: has no pictures, nor have the folders in it; name one that has some"):
        list_pictures_below(tmp_path / "more")
    with pytest.raises(FileNotFoundError, match="nowhere: is no folder; name one of pictures"):
        list_pictures_below(tmp_path / "nowhere")


def test_missing_pictures_are_expected_beside_those_found(tmp_path: Path) -> None:
    (tmp_path / "images" / "day").mkdir(parents=True)
    (tmp_path / "images" / "day" / "b.jpg").write_bytes(b"")
    paths = expected_paths(tmp_path / "labels.json", ["a.jpg", "day/b.jpg"], None)
    assert paths == [tmp_path / "images" / "a.jpg", tmp_path / "images" / "day" / "b.jpg"]
    with pytest.raises(FileNotFoundError, match=r"labels\.json: 1 of its 1 pictures, a\.jpg the first, .*--images"):
        expected_paths(tmp_path / "labels.json", ["a.jpg"], None)


def test_of_several_folders_the_first_that_has_a_picture_counts(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two", "three")]
    for name in ("two/a.jpg", "three/a.jpg", "three/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    paths = expected_paths(tmp_path / "labels.json", ["a.jpg", "b.jpg", "c.jpg"], folders)
    assert paths == [tmp_path / "two" / "a.jpg", tmp_path / "three" / "b.jpg", tmp_path / "one" / "c.jpg"]
    assert expected_paths(tmp_path / "labels.json", ["a.jpg"], folders[2:]) == [tmp_path / "three" / "a.jpg"]
    with pytest.raises(FileNotFoundError, match=r"2 of its 2 pictures, c\.jpg the first, are not in .*one, .*three; "):
        expected_paths(tmp_path / "labels.json", ["c.jpg", "d.jpg"], folders)
