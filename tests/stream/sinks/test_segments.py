"""A new file where the pictures change, and every so often."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import nullcontext
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
from stream.sinks.keep import RecordingOptions
from stream.sinks.records import record_sink
from stream.sinks.segments import Film, Segments
from stream.sinks.utc import UtcClock
from stream.sinks.video import VideoSink
from stream.source import SourceInfo, StreamError

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


NOON = 1_795_348_800_000_000_000
"""2026-11-22T12:00:00Z in nanoseconds; in these tests frame i, of 25 a second, arrives i / 25 s later."""


def timed(
    path: Path, said: list[str], *, segment_s: float = 1, keep: str | None = None, info: SourceInfo = INFO,
) -> Segments:  # fmt: skip
    def open_film(path: Path, info: SourceInfo, origin_s: float) -> Film:
        return record_sink(path) or VideoSink(path, info, origin_s=origin_s)

    recording = RecordingOptions(segment_s, keep)
    return Segments(path, info, open_film, said.append, recording=recording, utc=UtcClock(lambda: (NOON, 0)))


def arrived(index: int, size: tuple[int, int] = (48, 64)) -> Result:
    result = result_of(index, size)
    return replace(result, frame=replace(result.frame, captured_ns=index * 40_000_000))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "webm", "ts"])
def test_a_file_begins_every_second_and_plays_by_itself_from_zero(tmp_path: Path, ending: str) -> None:
    sink = timed(tmp_path / f"cam.{ending}", said := [])
    for index in range(5, 60):  # the first picture is the sixth of the source
        put(sink, arrived(index))
    sink.close()
    names = [f"cam-20261122T1200{second}Z.{ending}" for second in ("00.200", "01.200", "02.200")]
    assert (files(tmp_path), said) == (names, [])
    for name, frames in zip(names, (25, 25, 5), strict=True):
        times_s = played(tmp_path / name)[1]
        lead_s = times_s[0] if ending == "ts" else 0.0
        np.testing.assert_allclose(times_s, [lead_s + i / 25 for i in range(frames)], atol=1e-3)


def test_the_sound_is_cut_with_the_pictures_and_ends_as_it_does(tmp_path: Path, make_clip: Callable[..., Path]) -> None:
    clip = make_clip("clip.mp4", sound_s=4)
    info = replace(INFO, live=False, sound_url=str(clip))
    (tmp_path / "out").mkdir()
    sink = timed(tmp_path / "out" / "film.mkv", [], info=info)
    for index in range(50):
        put(sink, arrived(index))
    sink.close()
    ends_s = []
    for name in files(tmp_path / "out"):
        with av.open(str(tmp_path / "out" / name)) as film:
            *_, last = film.decode(audio=0)
            ends_s.append(last.time + last.samples / last.sample_rate)
    np.testing.assert_allclose(ends_s, [1, 3], atol=0.05)
    assert sink.warnings == ()


def test_a_gap_leaves_out_files_and_the_cuts_stay_where_they_were(tmp_path: Path) -> None:
    sink = timed(tmp_path / "cam.mp4", [])
    for index in (0, 10, 24, 25, 80, 99, 100):
        put(sink, arrived(index))
    sink.close()
    assert [len(played(tmp_path / name)[1]) for name in files(tmp_path)] == [3, 1, 2, 1]
    assert files(tmp_path) == [f"cam-20261122T1200{at}Z.mp4" for at in ("00.000", "01.000", "03.200", "04.000")]


def test_another_size_cuts_as_well_and_pictures_and_records_pair_up(tmp_path: Path) -> None:
    sinks = [timed(tmp_path / name, []) for name in ("cam.mp4", "cam.jsonl")]
    assert [sink.needs_picture for sink in sinks] == [True, False]
    for index in range(50):
        for sink in sinks:
            put(sink, arrived(index, (48, 64) if index < 10 else (96, 128)))
    for sink in sinks:
        sink.close()
    stems = [f"cam-20261122T1200{at}Z" for at in ("00.000", "00.400", "01.000")]
    assert files(tmp_path) == sorted(f"{stem}.{ending}" for stem in stems for ending in ("mp4", "jsonl"))
    for stem, size, frames in zip(stems, [(48, 64), (96, 128), (96, 128)], ((0, 10), (10, 25), (25, 50)), strict=True):
        sizes, times_s = played(tmp_path / f"{stem}.mp4")
        assert (sizes, len(times_s)) == ({size}, frames[1] - frames[0])
        rows = [json.loads(line) for line in (tmp_path / f"{stem}.jsonl").read_text().splitlines()]
        assert [row["frame"] for row in rows] == list(range(*frames))


def test_what_cannot_be_is_refused_before_the_first_picture(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="choose one of"):
        timed(tmp_path / "cam.avi", [])
    first = timed(tmp_path / "cam.mp4", [])
    with pytest.raises(StreamError, match="another run is recording under this name"):
        timed(tmp_path / "cam.mp4", [])
    assert files(tmp_path) == []
    first.close()
    timed(tmp_path / "cam.mp4", []).close()
    assert files(tmp_path) == []


def test_the_oldest_files_go_where_only_so_much_is_kept(tmp_path: Path) -> None:
    first = timed(tmp_path / "cam.mkv", [])
    put(first, arrived(0))
    first.close()
    size = (tmp_path / files(tmp_path)[0]).stat().st_size
    sink = timed(tmp_path / "cam.mkv", [], keep=f"{4.5 * size / 1e6:.6f}MB")
    for index in range(0, 250, 25):
        put(sink, arrived(index + 1))
        assert len(files(tmp_path)) <= 5  # four whole ones or three and the part, of which one is just begun
    sink.close()
    assert files(tmp_path) == [f"cam-20261122T12000{second}.040Z.mkv" for second in (6, 7, 8, 9)]


def test_a_part_of_a_killed_run_gets_its_name_at_the_next_start(tmp_path: Path) -> None:
    sink = timed(tmp_path / "cam.ts", [])
    put(sink, arrived(0))
    sink.close()
    (name,) = files(tmp_path)
    (tmp_path / name).rename(tmp_path / name.replace("Z.", "Z.part."))
    timed(tmp_path / "cam.ts", said := []).close()
    assert files(tmp_path) == [name]
    assert said == [f"{tmp_path / name}: left by a run that was cut off; it has its name now"]


class FullDisk:
    """A film whose writing fails, at the frame `at` of those that are open at the time, for want of room."""

    needs_picture = True
    warnings = ("a warning",)

    def __init__(self, path: Path, full_at: set[int]) -> None:
        self.part = path.with_suffix(".part" + path.suffix)
        self.path, self._full_at = path, full_at

    def write(self, result: Result, picture: Picture | None) -> None:
        if result.frame.index in self._full_at:
            self._full_at.remove(result.frame.index)
            raise StreamError("no room") from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.part.write_text(f"{self.part.read_text() if self.part.exists() else ''}{result.frame.index} ")

    def cut(self) -> None:
        self.close()

    def close(self, *, failed: bool = False) -> None:
        if self.part.exists():
            self.part.rename(self.path)


@pytest.mark.parametrize("keep", [None, "1GB"])
def test_on_a_full_disk_the_oldest_file_goes_and_writing_goes_on_if_it_may(tmp_path: Path, keep: str | None) -> None:
    full_at, said = {60}, []
    recording = RecordingOptions(1, keep)
    sink = Segments(
        tmp_path / "cam.csv", INFO, lambda path, _info, _s: FullDisk(path, full_at), said.append,
        recording=recording, utc=UtcClock(lambda: (NOON, 0)),
    )  # fmt: skip
    for index in range(0, 60, 10):
        put(sink, arrived(index))
    with nullcontext() if keep else pytest.raises(StreamError, match="no room"):
        for index in range(60, 80, 10):
            put(sink, arrived(index))
    sink.close()
    texts = [(tmp_path / name).read_text().split() for name in files(tmp_path)]
    if keep is None:
        assert (texts, said) == ([["0", "10", "20"], ["30", "40"], ["50"]], [])
    else:
        assert texts == [["30", "40"], ["50"], ["60", "70"]]
        oldest = "cam-20261122T120000.000Z.csv"
        assert said == [f"{tmp_path / 'cam.csv'}: the disk is full; {oldest}, the oldest of it, is deleted"]


def test_room_is_made_for_a_file_that_finds_none_to_begin(tmp_path: Path) -> None:
    full_at, said = {3}, []

    def open_film(path: Path, info: SourceInfo, origin_s: float) -> FullDisk:
        if origin_s in full_at:
            full_at.remove(origin_s)
            raise StreamError("no room") from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return FullDisk(path, set())

    sink = Segments(
        tmp_path / "cam.csv", INFO, open_film, said.append,
        recording=RecordingOptions(1, "1GB"), utc=UtcClock(lambda: (NOON, 0)),
    )  # fmt: skip
    for index in range(0, 100, 25):
        put(sink, arrived(index))
    sink.close()
    assert [(tmp_path / name).read_text().split() for name in files(tmp_path)] == [["25"], ["50"], ["75"]]
    assert [line.rpartition("; ")[2] for line in said] == ["cam-20261122T120000.000Z.csv, the oldest of it, is deleted"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_files_of_other_sources_are_passed_by(tmp_path: Path, overwrite: bool) -> None:
    def open_film(path: Path, info: SourceInfo, origin_s: float) -> FullDisk:
        return FullDisk(path, set())

    others = frozenset({str((tmp_path / "cam-2.csv").resolve())})
    sink = Segments(tmp_path / "cam.csv", INFO, open_film, overwrite=overwrite, others=others)
    put(sink, result_of(0, (48, 64)))
    put(sink, result_of(1, (96, 128)))
    sink.close()
    assert files(tmp_path) == ["cam-3.csv", "cam.csv"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk may be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize(("segment_s", "told"), [(1, "the disk is nearly full"), (5, "the disk is full")])
def test_a_recording_goes_on_for_ever_on_a_disk_that_is_too_small(
    small_disk: Path, ending: str, segment_s: float, told: str
) -> None:
    noise = np.random.default_rng(0)
    info = replace(INFO, size=(120, 160))
    said: list[str] = []
    sink = timed(small_disk / f"cam.{ending}", said, segment_s=segment_s, keep="1GB", info=info)
    for index in range(260):  # of about 9 kB each: five seconds are more than the disk takes
        result = arrived(index, (120, 160))
        image = noise.integers(0, 256, (120, 160, 3), dtype=np.uint8)
        sink.write(result, Picture(image, NOTHING_DRAWN))
    sink.close()
    assert told in said[0]
    assert sum("the disk is nearly full" in line for line in said) <= 1
    found = files(small_disk)
    assert 1 <= len(found) <= 4
    assert len(played(small_disk / found[-1])[1]) >= 1
