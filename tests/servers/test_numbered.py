from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from servers.numbered import encode_numbered, read_number, write_number


@pytest.mark.parametrize("number", [0, 1, 2, 4711, 0xAAAA, 0xFFFF])
@pytest.mark.parametrize("size", [(60, 80), (181, 319), (360, 640)])
def test_a_number_is_read_as_it_was_written(size: tuple[int, int], number: int) -> None:
    image = np.full((*size, 3), 128, np.uint8)
    write_number(image, number)
    assert read_number(image) == number
    assert (image[size[0] // 10 :] == 128).all()


def test_numbers_begin_again_at_65536() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    write_number(image, 65536 + 7)
    assert read_number(image) == 7


def test_a_number_survives_another_size() -> None:
    image = np.full((360, 640, 3), 128, np.uint8)
    write_number(image, 12345)
    assert read_number(cv2.resize(image, (426, 240))) == 12345


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_picture_without_a_number_has_none(level: int) -> None:
    assert read_number(np.full((60, 80, 3), level, np.uint8)) is None


def test_a_bit_that_flipped_is_noticed() -> None:
    image = np.full((60, 80, 3), 128, np.uint8)
    write_number(image, 0)
    image[:6, 4 * 10 : 4 * 11] = 255  # one cell of the number is four pixels wide
    assert read_number(image) is None


def test_two_pictures_blended_have_no_number() -> None:
    one, other = (np.full((60, 80, 3), 128, np.uint8) for _ in range(2))
    write_number(one, 1)
    write_number(other, 2)
    assert read_number(cv2.addWeighted(one, 0.5, other, 0.5, 0)) is None


def test_a_stream_holds_the_numbers_in_order_and_a_key_frame_every_so_often(tmp_path: Path) -> None:
    path = encode_numbered(tmp_path / "n.h264", frames=30, size=(90, 160), key_every=12)
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    assert [read_number(frame.to_ndarray(format="bgr24")) for frame in frames] == list(range(30))
    assert [i for i, frame in enumerate(frames) if frame.key_frame] == [0, 12, 24]
    assert path.read_bytes().count(b"\0\0\0\1\x09") == 30
