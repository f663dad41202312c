from __future__ import annotations

import base64
import struct
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from stream.images import find_pictures, read_picture
from stream.source import Source, SourceOptions, StreamError, open_source

CMYK_JPEG = base64.b64decode(
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwADAgIDAgIDAwMDBAMDBAUIBQUEBAUKBwcGCAwKDAwLCgsLDQ4SEA0OEQ4LCxAWEBETFBUV"
    "FQwPFxgWFBgSFBUU/8AAFAgACAAIBEMRAE0RAFkRAEsRAP/EABUAAQEAAAAAAAAAAAAAAAAAAAgJ/8QAFBABAAAAAAAAAAAAAAAA"
    "AAAAAP/aAA4EQwBNAFkASwAAPwBgJ9CUqm//2Q=="
)
"""Eight by eight pixels of red 200, green 30, blue 60, with Adobe's inverted inks."""
TOP_LEFT_WHITE = np.zeros((16, 32, 3), np.uint8)
TOP_LEFT_WHITE[:8, :16] = 255


def encoded(suffix: str, image: NDArray[np.generic], *parameters: int) -> bytes:
    done, data = cv2.imencode(suffix, image, parameters)
    assert done
    return data.tobytes()


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """A JPEG with an EXIF block that holds only tag 0x0112."""
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    block = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]


def write(folder: Path, *names: str, size: tuple[int, int] = (4, 6)) -> None:
    for index, name in enumerate(names):
        (folder / name).write_bytes(encoded(Path(name).suffix, np.full((*size, 3), 10 * index, np.uint8)))


def names_of(source: Source) -> list[str]:
    return [frame.source_id for frame in source.frames()]


def test_folder_is_read_in_lexical_order_without_what_is_no_picture(tmp_path: Path) -> None:
    write(tmp_path, "b.png", "a10.jpg", "a2.JPG", "c.webp", "d.bmp", "e.tif", "f.tiff", "g.jpeg")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "._b.png").write_bytes(b"beside the picture")
    (tmp_path / "sub.png").mkdir()
    source = open_source(str(tmp_path))
    assert source.info.frame_count == 8
    assert source.info.source_id == tmp_path.name
    assert names_of(source) == ["a10.jpg", "a2.JPG", "b.png", "c.webp", "d.bmp", "e.tif", "f.tiff", "g.jpeg"]
    assert source.damage is None


def test_glob_reaches_into_folders(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    write(tmp_path, "x1.png", "y.png")
    write(tmp_path / "deep", "x2.png")
    assert names_of(open_source(str(tmp_path / "x*.png"))) == ["x1.png"]
    assert names_of(open_source(str(tmp_path / "**" / "x*.png"))) == ["x2.png", "x1.png"]


def test_name_with_the_characters_of_a_glob_is_a_file(tmp_path: Path) -> None:
    write(tmp_path, "shot[1].png")
    assert find_pictures(str(tmp_path / "shot[1].png")) == [tmp_path / "shot[1].png"]


def test_stills_have_no_time(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "b.png")
    source = open_source(str(tmp_path))
    frames = list(source.frames())
    assert source.info.still
    assert source.info.time_base == Fraction(1)
    assert [(f.index, f.pts, f.time_base, f.still) for f in frames] == [(0, 0, 1, True), (1, 0, 1, True)]
    assert [int(f.image[0, 0, 0]) for f in frames] == [0, 10]
    assert not frames[0].image.flags.writeable


def test_pictures_may_differ_in_size(tmp_path: Path) -> None:
    write(tmp_path, "a.png", size=(4, 6))
    write(tmp_path, "b.png", size=(1, 1))
    source = open_source(str(tmp_path))
    assert source.info.size == (4, 6)
    assert [f.image.shape for f in source.frames()] == [(4, 6, 3), (1, 1, 3)]


def test_broken_pictures_are_left_out_and_named(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b.png").write_bytes(b"no picture")
    source = open_source(str(tmp_path))
    frames = list(source.frames())
    assert [(f.index, f.source_id) for f in frames] == [(0, "c.png")]
    assert source.damage == f"{tmp_path}: left out as unreadable: a.png, b.png"


def test_cut_jpeg_is_read_and_named(tmp_path: Path) -> None:
    whole = encoded(".jpg", np.random.default_rng(0).integers(0, 100, (64, 64, 3), np.uint8))
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "whole.jpg").write_bytes(whole)
    source = open_source(str(tmp_path))
    frames = list(source.frames())
    assert [f.source_id for f in frames] == ["cut.jpg", "whole.jpg"]
    np.testing.assert_array_equal(frames[0].image[:8], frames[1].image[:8])
    assert (frames[0].image[-1] == 128).all()
    assert source.damage == f"{tmp_path}: cut short: cut.jpg"


def test_only_the_first_damaged_pictures_are_named(tmp_path: Path) -> None:
    write(tmp_path, "z.png")
    for index in range(7):
        (tmp_path / f"{index}.png").write_bytes(b"x")
    source = open_source(str(tmp_path))
    assert names_of(source) == ["z.png"]
    assert source.damage == f"{tmp_path}: left out as unreadable: 0.png, 1.png, 2.png, 3.png, 4.png and 2 more"


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StreamError, match="no pictures there"):
        open_source(str(tmp_path))
    with pytest.raises(StreamError, match="no pictures there"):
        open_source(str(tmp_path / "*.png"))
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(StreamError, match="none of 1 pictures can be read"):
        open_source(str(tmp_path))


def test_two_pictures_of_one_name_are_refused_with_both_names(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder, "a.png")
    with pytest.raises(StreamError, match=r"one/a\.png and .*two/a\.png have one name"):
        open_source(str(tmp_path / "*" / "*.png"))


def test_mirror_swaps_left_and_right(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(".png", TOP_LEFT_WHITE))
    frame = next(open_source(str(tmp_path), SourceOptions(mirror=True)).frames())
    np.testing.assert_array_equal(frame.image, TOP_LEFT_WHITE[:, ::-1])


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, TOP_LEFT_WHITE),
        (2, TOP_LEFT_WHITE[:, ::-1]),
        (3, TOP_LEFT_WHITE[::-1, ::-1]),
        (6, np.rot90(TOP_LEFT_WHITE, -1)),
        (8, np.rot90(TOP_LEFT_WHITE, 1)),
    ],
)
def test_exif_orientation_is_applied(orientation: int, turned: NDArray[np.uint8]) -> None:
    jpeg = with_orientation(encoded(".jpg", TOP_LEFT_WHITE, cv2.IMWRITE_JPEG_QUALITY, 100), orientation)
    image = read_picture(jpeg)
    assert image is not None
    assert image.shape == turned.shape
    assert np.abs(image.astype(int) - turned).max() < 8


@pytest.mark.parametrize(
    ("suffix", "image", "bgr"),
    [
        (".png", np.full((3, 5), 200, np.uint8), (200, 200, 200)),
        (".png", np.full((3, 5, 3), (0x1234, 0x8000, 0xFFFF), np.uint16), (0x12, 0x80, 0xFF)),
        (".png", np.full((3, 5), 0x8000, np.uint16), (0x80, 0x80, 0x80)),
        (".png", np.full((3, 5, 4), (10, 20, 30, 255), np.uint8), (10, 20, 30)),
        (".tiff", np.full((3, 5, 3), (0x1234, 0x8000, 0xFFFF), np.uint16), (0x12, 0x80, 0xFF)),
        (".webp", np.full((3, 5, 4), (10, 20, 30, 255), np.uint8), (10, 20, 30)),
    ],
)
def test_grey_deep_and_transparent_pictures_become_bgr(
    suffix: str, image: NDArray[np.generic], bgr: tuple[int, int, int]
) -> None:
    picture = read_picture(encoded(suffix, image))
    assert picture is not None
    assert picture.shape == (3, 5, 3)
    assert picture.dtype == np.uint8
    assert np.abs(picture.astype(int) - bgr).max() <= 1


def test_cmyk_becomes_bgr() -> None:
    picture = read_picture(CMYK_JPEG)
    assert picture is not None
    assert picture.shape == (8, 8, 3)
    assert np.abs(picture.astype(int) - (60, 30, 200)).max() <= 6


@pytest.mark.skipif(not hasattr(cv2, "imencodeWithMetadata"), reason="this OpenCV writes no EXIF")
@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_exif_orientation_of_other_formats_is_applied_too(suffix: str) -> None:
    orientation = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    done, data = cv2.imencodeWithMetadata(
        suffix, TOP_LEFT_WHITE, [cv2.IMAGE_METADATA_EXIF], [np.frombuffer(orientation, np.uint8)]
    )
    assert done
    image = read_picture(data.tobytes())
    assert image is not None
    assert image.shape == (32, 16, 3)
    assert np.abs(image.astype(int) - np.rot90(TOP_LEFT_WHITE, -1)).max() < 8


def test_bytes_that_hold_no_picture_give_none() -> None:
    assert read_picture(b"") is None
    assert read_picture(b"GIF89a and then nothing") is None


@pytest.mark.assets
def test_pictures_of_the_folder_workflow_are_all_read(assets: Path) -> None:
    source = open_source(str(assets / "images"))
    frames = list(source.frames())
    assert [f.source_id for f in frames][-5:] == [
        "tennis-00.jpg",
        "tennis-01.jpg",
        "tennis-02.jpg",
        "tennis-03.jpg",
        "zidane.jpg",
    ]
    assert source.damage is None
