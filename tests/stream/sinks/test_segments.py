"""A new file where the pictures change."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from fakes import make_frame, make_result

from stream.color import to_planes
from stream.frame import Color
from stream.pipeline import Result
from stream.sinks.base import Picture
from stream.sinks.segments import Segments
from stream.sinks.video import VideoSink
from stream.source import SourceInfo

INFO = SourceInfo("fake", "fake:", (48, 64), Fraction(1, 25), Fraction(25), live=True)
NOTHING_DRAWN = np.zeros((0, 4), np.int32)


def result_of(index: int, size: tuple[int, int], color: Color | None = None) -> Result:
    frame = make_frame(index, size=size)
    planes = None if color is None else to_planes(frame.image, color)
    return replace(make_result(index), frame=replace(frame, planes=planes))


def put(sink: Segments, result: Result) -> None:
    sink.write(result, Picture(result.frame.image, NOTHING_DRAWN))


def segments(path: Path, said: list[str], *, overwrite: bool = False) -> Segments:
    def open_film(path: Path, info: SourceInfo, origin_s: float) -> VideoSink:
        return VideoSink(path, info, origin_s=origin_s, overwrite=overwrite)

    return Segments(path, INFO, open_film, said.append, overwrite=overwrite)


def played(path: Path) -> tuple[set[tuple[int, int]], list[float]]:
    """Sizes (height, width) and times of the frames of a file."""
    with av.open(str(path)) as film:
        frames = list(film.decode(video=0))
    return {(frame.height, frame.width) for frame in frames}, [frame.time for frame in frames]


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.ts"])
def test_each_size_has_its_file_and_the_second_begins_at_zero(tmp_path: Path, name: str) -> None:
    said: list[str] = []
    sink = segments(tmp_path / name, said)
    for index in range(4):
        put(sink, result_of(index, (48, 64)))
    for index in range(100, 110):
        put(sink, result_of(index, (96, 128)))
    sink.close()
    second = (tmp_path / name).with_stem("out-2")
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / name, second])
    sizes, times_s = played(tmp_path / name)
    assert sizes == {(48, 64)}
    assert len(times_s) == 4
    sizes, times_s = played(second)
    assert sizes == {(96, 128)}
    lead_s = times_s[0] if name.endswith(".ts") else 0.0  # mpegts begins later by its own delay
    np.testing.assert_allclose(times_s, [lead_s + i / 25 for i in range(10)], atol=1e-3)
    assert said == [f"{tmp_path / name}: the pictures are 128x96 now; they go on in {second.name}"]
    assert sink.warnings == ()


def test_a_change_before_the_first_picture_leaves_one_file(tmp_path: Path) -> None:
    said: list[str] = []
    sink = segments(tmp_path / "out.mp4", said)
    put(sink, result_of(0, (96, 128)))
    sink.close()
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    assert played(tmp_path / "out.mp4")[0] == {(96, 128)}
    assert said == []


@pytest.mark.parametrize(("overwrite", "wanted"), [(False, "out-4.mp4"), (True, "out-2.mp4")])
def test_names_that_are_taken_are_passed_by(tmp_path: Path, overwrite: bool, wanted: str) -> None:
    for taken in ("out-2.mp4", "out-3.mp4"):
        (tmp_path / taken).write_bytes(b"mine")
    sink = segments(tmp_path / "out.mp4", [], overwrite=overwrite)
    put(sink, result_of(0, (48, 64)))
    put(sink, result_of(1, (96, 128)))
    sink.close()
    assert played(tmp_path / wanted)[0] == {(96, 128)}
    assert (tmp_path / "out-3.mp4").read_bytes() == b"mine"


def test_other_colours_begin_a_new_file_with_their_tags(tmp_path: Path) -> None:
    sink = segments(tmp_path / "out.mp4", [])
    put(sink, result_of(0, (48, 64), Color()))
    put(sink, result_of(1, (48, 64), Color()))
    put(sink, result_of(2, (48, 64), Color(1, 1, 1, 1)))
    sink.close()
    assert len(played(tmp_path / "out.mp4")[1]) == 2
    with av.open(str(tmp_path / "out-2.mp4")) as film:
        assert film.streams.video[0].codec_context.colorspace == 1


def test_without_a_picture_no_file_is_left(tmp_path: Path) -> None:
    segments(tmp_path / "out.mp4", []).close()
    assert list(tmp_path.iterdir()) == []
