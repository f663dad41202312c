"""Pictures of a folder, where an annotation file's would be, and their size without decoding."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.training.pictures import expected_paths, list_pictures, picture_size

NOISE = np.random.default_rng(5).integers(0, 256, (30, 50, 3), np.uint8)


@pytest.mark.parametrize("ending", ["jpg", "png", "bmp", "webp"])
def test_the_size_is_height_and_width(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"a.{ending}"
    cv2.imwrite(str(file), NOISE)
    assert picture_size(file) == (30, 50)


def test_the_size_of_a_progressive_picture_is_read_too(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    cv2.imwrite(str(file), NOISE, (cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_OPTIMIZE, 1))
    assert picture_size(file) == (30, 50)


def test_the_stored_size_is_told_where_exif_turns_the_picture(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    cv2.imwrite(str(file), NOISE)
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # orientation 6, a quarter turn
    payload = b"Exif\0\0" + tiff
    data = file.read_bytes()
    file.write_bytes(data[:2] + b"\xff\xe1" + (len(payload) + 2).to_bytes(2, "big") + payload + data[2:])
    assert cv2.imread(str(file)).shape == (50, 30, 3)
    assert picture_size(file) == (30, 50)


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


def test_missing_pictures_are_expected_beside_those_found(tmp_path: Path) -> None:
    (tmp_path / "images" / "day").mkdir(parents=True)
    (tmp_path / "images" / "day" / "b.jpg").write_bytes(b"")
    paths = expected_paths(tmp_path / "labels.json", ["a.jpg", "day/b.jpg"], None)
    assert paths == [tmp_path / "images" / "a.jpg", tmp_path / "images" / "day" / "b.jpg"]
    with pytest.raises(FileNotFoundError, match=r"labels\.json: 1 of its 1 pictures, a\.jpg the first, .*--images"):
        expected_paths(tmp_path / "labels.json", ["a.jpg"], None)
