"""Frames taken from clips that are encoded here."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from engines.training.clips import clip_folder, clip_pictures, list_clips


def encode(file: Path, frames: int, rate: int = 10, first: int = 0) -> Path:
    """A clip whose frame n is grey 8 n + 16, but for a white top half of its left quarter."""
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        for number in range(frames):
            image = np.full((32, 64, 3), 8 * number + 16, np.uint8)
            image[:16, :16] = 255
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = number + first, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file


def grey(path: Path) -> int:
    return round(float(cv2.imread(str(path))[24, 40].mean()))


def test_a_frame_every_so_often_is_kept_by_its_number(tmp_path: Path) -> None:
    pictures = clip_pictures(encode(tmp_path / "dance.mp4", 25), tmp_path / "work")
    assert [path.name for path in pictures] == ["dance-000000.jpg", "dance-000010.jpg", "dance-000020.jpg"]
    np.testing.assert_allclose([grey(path) for path in pictures], [16, 96, 176], atol=4)
    assert {path.parent.parent for path in pictures} == {tmp_path / "work"}


def test_a_frame_knows_the_folder_of_its_clip(tmp_path: Path) -> None:
    pictures = clip_pictures(encode(tmp_path / "a+b (1).mp4", 15), tmp_path / "work")
    assert [clip_folder(path) for path in pictures] == [pictures[0].parent] * 2
    assert clip_folder(tmp_path / pictures[0].name) is None


def test_a_folder_s_clips_are_those_in_it_by_name(tmp_path: Path) -> None:
    (tmp_path / "more.mp4").mkdir()
    for name in ("b.MOV", "a.mkv", "c.jpg", "more.mp4/d.mp4"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in list_clips(tmp_path)] == ["a.mkv", "b.MOV"]


@pytest.mark.parametrize(
    ("every_s", "numbers"), [(0.3, [0, 3, 6, 9]), (0.25, [0, 3, 5, 8]), (0.01, list(range(10))), (60, [0])]
)
def test_the_interval_is_of_the_clip_s_time(tmp_path: Path, every_s: float, numbers: list[int]) -> None:
    clip = encode(tmp_path / "a.mkv", 10, first=70)
    pictures = clip_pictures(clip, tmp_path, every_s)
    assert [int(path.stem[-6:]) for path in pictures] == numbers


def test_what_was_written_is_taken_again_unless_the_clip_changed(tmp_path: Path) -> None:
    clip = encode(tmp_path / "a.mp4", 10)
    before = clip_pictures(clip, tmp_path)
    before[0].write_bytes(b"marked")
    assert clip_pictures(clip, tmp_path) == before
    assert before[0].read_bytes() == b"marked"
    after = clip_pictures(encode(clip, 15), tmp_path)
    assert len(after) == 2
    assert after[0].parent != before[0].parent


def test_a_turned_clip_comes_upright(tmp_path: Path) -> None:
    clip = encode(tmp_path / "a.mp4", 3)
    data = bytearray(clip.read_bytes())
    matrix = np.array([1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30], ">i4").tobytes()
    turned = np.array([0, 1 << 16, 0, -(1 << 16), 0, 0, 32 << 16, 0, 1 << 30], ">i4").tobytes()  # clockwise
    place = data.index(matrix, data.index(b"tkhd"))
    data[place : place + len(matrix)] = turned
    clip.write_bytes(data)
    (path,) = clip_pictures(clip, tmp_path)
    image = cv2.imread(str(path))
    assert image.shape == (64, 32, 3)
    assert image[4, 28].min() > 240  # the top left has become the top right
    assert image[4, 4].max() < 40


def test_what_is_no_clip_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"words" * 100)
    with pytest.raises(OSError, match=r"a\.mp4: cannot be read as a video .*fetch it anew"):
        clip_pictures(tmp_path / "a.mp4", tmp_path / "work")
    assert list((tmp_path / "work").iterdir()) == []
    with pytest.raises(ValueError, match="every_s must be above 0 seconds, got 0"):
        clip_pictures(tmp_path / "a.mp4", tmp_path / "work", 0)
    with pytest.raises(FileNotFoundError):
        clip_pictures(tmp_path / "missing.mp4", tmp_path / "work")
