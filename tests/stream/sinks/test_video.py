from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engines.results import Poses
from engines.skeletons import COCO17
from stream.color import color_of, frame_to_bgr, plane_views, to_bgr, to_planes
from stream.frame import Color, Frame, Planes
from stream.pipeline import Result
from stream.sinks.base import Picture
from stream.sinks.video import VideoOptions, VideoSink
from stream.source import SourceInfo, StreamError
from tracker.results import Tracks

RATE = Fraction(30)
TIME_BASE = Fraction(1, 15360)
TICKS = 512


def info_of(size: tuple[int, int] = (48, 64), time_base: Fraction = TIME_BASE, **known: object) -> SourceInfo:
    return SourceInfo("clip.mp4", "clip.mp4", size, time_base, **({"rate": RATE} | known))  # type: ignore[arg-type]


def image_of(index: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A bright bar on a soft ground that moves on by 2 pixels a frame."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    channels = [90 + 50 * np.sin(rows / 41), 120 + 50 * np.sin(columns / 37), 130 + 40 * np.sin((rows + columns) / 53)]
    image = np.stack(channels, -1).astype(np.uint8)
    image[:, (2 * index) % size[1] :][:, :6] = (200, 220, 240)
    return image


def result_of(planes: Planes | None, image: NDArray[np.uint8], index: int, pts: int, time_base: Fraction) -> Result:
    frame = Frame(image, index, pts, time_base, "clip.mp4", 0, planes=planes)
    nobody = Tracks(np.zeros(0, np.int64), np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    return Result(frame, nobody, Poses(np.zeros((0, 17, 2), np.float32), np.zeros((0, 17), np.float32), COCO17))


def write(sink: VideoSink, info: SourceInfo, stamps: Sequence[int], *, decoded: bool = True) -> None:
    for index, pts in enumerate(stamps):
        image = image_of(index, info.size)
        planes = to_planes(image, info.color) if decoded else None
        image = to_bgr(planes) if planes else image
        sink.write(result_of(planes, image, index, pts, info.time_base), undrawn(image))


def undrawn(image: NDArray[np.uint8]) -> Picture:
    return Picture(image, np.zeros((0, 4), np.int32))


def packet_stamps(path: Path) -> list[int]:
    with av.open(str(path)) as film:
        return sorted(p.pts for p in film.demux(video=0) if p.pts is not None)


def decoded(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as film:
        return list(film.decode(video=0))


def clip_frames(path: Path, count: int) -> Iterator[tuple[av.VideoFrame, Result]]:
    """The first frames of a real clip and what a source makes of them, their time stamps as they are."""
    with av.open(str(path)) as film:
        for index, frame in zip(range(count), film.decode(video=0), strict=False):
            planes = Planes(*plane_views(frame), color_of(frame))
            yield frame, result_of(planes, to_bgr(planes), index, frame.pts, frame.time_base)


@pytest.mark.parametrize("ending", ["mp4", "mov"])
@pytest.mark.parametrize(
    ("time_base", "start_pts", "stamps"),
    [
        (Fraction(1, 15360), 0, range(0, 40 * 512, 512)),
        (Fraction(1, 15360), 512, range(0, 40 * 512, 512)),
        (Fraction(1, 90000), 126_007, [0, 3003, 6006, 9009, 20_000, 23_003, 100_000, 400_001]),
        (Fraction(1, 1000), 33, [0, 33, 67, 100, 133, 167, 1200, 1233]),
        (Fraction(1001, 30000), 7, range(40)),
        (Fraction(1, 25), 0, [0]),
        (Fraction(1, 1_000_000), 0, [0, 33_366, 66_733, 5_000_001]),
    ],
)
def test_time_stamps_are_the_sources_own(
    tmp_path: Path, ending: str, time_base: Fraction, start_pts: int, stamps: Sequence[int]
) -> None:
    info = info_of(time_base=time_base, start_pts=start_pts)
    out = tmp_path / f"out.{ending}"
    sink = VideoSink(out, info)
    write(sink, info, stamps)
    assert not out.exists()
    assert (tmp_path / f"out.part.{ending}").exists()
    sink.close()
    assert sink.frames_written == len(stamps)
    assert sink.bytes_written == out.stat().st_size > 0
    assert [p.name for p in tmp_path.iterdir()] == [out.name]
    wanted = [(start_pts + pts) * time_base.numerator for pts in stamps]
    assert packet_stamps(out) == wanted
    assert [f.pts for f in decoded(out)] == wanted
    with av.open(str(out)) as film:
        assert film.streams.video[0].time_base == Fraction(1, time_base.denominator)


@pytest.mark.parametrize(("ending", "tick_s"), [("mkv", 0.001), ("webm", 0.001), ("ts", 1 / 90_000)])
def test_other_containers_round_to_their_tick(tmp_path: Path, ending: str, tick_s: float) -> None:
    info = info_of(time_base=Fraction(1, 30_000))
    out = tmp_path / f"out.{ending}"
    sink = VideoSink(out, info)
    stamps = [i * 1001 + (3000 if i > 20 else 0) for i in range(40)]
    write(sink, info, stamps)
    sink.close()
    times = np.array([float(f.time) for f in decoded(out)])
    # The transport stream moves all of a file, so that no decoding time is below 0.
    assert np.abs(times - times[0] - np.array(stamps) / 30_000).max() <= tick_s
    assert times[0] == pytest.approx(0, abs=0.1 if ending == "ts" else 1e-9)


def test_the_last_frame_lasts(tmp_path: Path) -> None:
    info = info_of()
    out = tmp_path / "out.mp4"
    sink = VideoSink(out, info)
    write(sink, info, [0, 512, 1024, 4096])
    sink.close()
    with av.open(str(out)) as film:
        assert film.streams.video[0].duration == 4096 + 512


@pytest.mark.parametrize("ending", ["mp4", "mov"])
def test_no_frame_is_lost_at_the_end_of_a_film(tmp_path: Path, ending: str) -> None:
    """However the last frames fall into fragments of half a second, here of 5 frames."""
    info = info_of((16, 16), Fraction(1, 10), rate=Fraction(10))
    for count in range(1, 32):
        out = tmp_path / f"{count}.{ending}"
        sink = VideoSink(out, info)
        write(sink, info, range(count))
        sink.close()
        assert [f.pts for f in decoded(out)] == list(range(count))


def test_a_window_begins_at_zero(tmp_path: Path) -> None:
    info = info_of(start_pts=512)
    out = tmp_path / "out.mp4"
    sink = VideoSink(out, info, origin_s=2.0)
    write(sink, info, [2 * 15360 + 100, 2 * 15360 + 612])
    sink.close()
    assert packet_stamps(out) == [100, 612]


@pytest.mark.parametrize(
    "color", [Color(), Color(1, 1, 1, 1), Color(5, 1, 5, 6), Color(6, 2, 6, 6), Color(9, 1, 9, 14)]
)
@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_colour_tags_and_aspect_are_carried(tmp_path: Path, color: Color, ending: str) -> None:
    info = info_of(color=color, sample_aspect=Fraction(4, 3))
    out = tmp_path / f"out.{ending}"
    sink = VideoSink(out, info)
    write(sink, info, range(0, 2048, 512))
    sink.close()
    assert color_of(decoded(out)[0]) == color
    with av.open(str(out)) as film:
        assert film.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


@pytest.mark.parametrize(
    ("color", "size"),
    [
        (Color(5, 1), (360, 640)),
        (Color(1, 1), (720, 1280)),
        (Color(), (360, 640)),
        (Color(), (720, 1280)),
        (Color(6, 2), (360, 640)),
    ],
)
def test_undrawn_pixels_keep_their_colour(tmp_path: Path, color: Color, size: tuple[int, int]) -> None:
    info = info_of(size, color=color)
    out = tmp_path / "out.mp4"
    sink = VideoSink(out, info)
    write(sink, info, range(0, 5 * 512, 512))
    sink.close()
    for index, frame in enumerate(decoded(out)):
        before = to_bgr(to_planes(image_of(index, size), color)).astype(int)
        assert np.abs(frame_to_bgr(frame, color) - before).mean((0, 1)).max() < 1.5


@pytest.mark.assets
@pytest.mark.parametrize(
    ("clip", "crf"),
    # The dancers' grain alone costs 2.6 levels at crf 23, in a bare encode of the decoded planes too: to the digit.
    [("intel_one-by-one-person-detection", 23), ("fiyud_dance", 8), ("mmaction2_demo_skeleton", 23)],
)
def test_a_real_clip_keeps_its_colour_and_times(tmp_path: Path, assets: Path, clip: str, crf: int) -> None:
    """The first is tagged BT.601, the second BT.709, the third not at all."""
    path = assets / "video" / f"{clip}.mp4"
    with av.open(str(path)) as film:
        pictures = film.streams.video[0]
        first = next(film.decode(pictures))
        info = info_of(
            (first.height, first.width), pictures.time_base, rate=pictures.average_rate, color=color_of(first)
        )
    out = tmp_path / "out.mp4"
    sink = VideoSink(out, info, VideoOptions(crf=crf))
    stamps, before, masks = [], [], []
    for frame, result in clip_frames(path, 12):
        drawn = result.frame.image.copy()
        cv2.line(drawn, (100, 100), (240, 300), (0, 255, 0), 6, cv2.LINE_AA)
        sink.write(result, Picture(drawn, np.array([[90, 90, 250, 310]], np.int32)))
        stamps.append(frame.pts)
        before.append(result.frame.image.astype(np.int16))
        masks.append((drawn == result.frame.image).all(-1))
    sink.close()
    frames = decoded(out)
    assert [f.pts for f in frames] == stamps
    assert color_of(frames[0]) == info.color
    for frame, image, mask in zip(frames, before, masks, strict=True):
        after = frame_to_bgr(frame, info.color)
        assert np.abs(after - image)[mask].mean(0).max() < 1.5
        assert np.abs(after[200, 170].astype(int) - (0, 255, 0)).max() < 60


@pytest.mark.parametrize("size", [(47, 63), (48, 63), (1, 1), (2, 3)])
def test_odd_sizes_double_their_last_row_and_column(tmp_path: Path, size: tuple[int, int]) -> None:
    info = info_of(size)
    out = tmp_path / "out.mkv"
    sink = VideoSink(out, info, VideoOptions(crf=1))
    write(sink, info, range(0, 1024, 512))
    sink.close()
    frame = decoded(out)[0]
    assert (frame.height, frame.width) == (size[0] + size[0] % 2, size[1] + size[1] % 2)
    luma = plane_views(frame)[0].astype(int)
    assert np.abs(luma[-1] - luma[size[0] - 1]).max() <= 6
    assert np.abs(luma[: size[0], : size[1]] - to_planes(image_of(0, size), Color()).y).mean() < 3


@pytest.mark.parametrize(
    ("scale", "wanted"), [(0.5, (360, 640)), ("320x200", (200, 320)), (0.3333, (240, 426)), ("2", (1440, 2560))]
)
def test_scale_keeps_the_colours(tmp_path: Path, scale: float | str, wanted: tuple[int, int]) -> None:
    info = info_of((720, 1280))
    out = tmp_path / "out.mp4"
    sink = VideoSink(out, info, VideoOptions(scale=scale))
    image = np.full((720, 1280, 3), (40, 111, 178), np.uint8)
    sink.write(result_of(to_planes(image, Color()), image, 0, 0, TIME_BASE), undrawn(image))
    sink.close()
    frame = decoded(out)[0]
    assert (frame.height, frame.width) == wanted
    # Untagged, the smaller picture would be read by another matrix than the larger one.
    assert color_of(frame).matrix == (1 if wanted[0] < 720 else 2)
    assert np.abs(frame_to_bgr(frame, color_of(frame)).astype(int) - (40, 111, 178)).max() <= 4


def test_pictures_without_planes_are_converted(tmp_path: Path) -> None:
    info = info_of(color=Color(9, 1, 9, 14))
    out = tmp_path / "out.mp4"
    sink = VideoSink(out, info, VideoOptions(crf=10))
    write(sink, info, [0, 512], decoded=False)
    sink.close()
    error = frame_to_bgr(decoded(out)[0], info.color).astype(int) - image_of(0, info.size)
    assert np.abs(error).mean() < 4


def test_a_frame_of_another_size_is_brought_to_the_files(tmp_path: Path) -> None:
    info = info_of((48, 64))
    out = tmp_path / "out.mp4"
    sink = VideoSink(out, info)
    write(sink, info, [0])
    image = image_of(1, (96, 128))
    sink.write(result_of(to_planes(image, Color()), image, 1, 512, TIME_BASE), undrawn(image))
    sink.close()
    assert [(f.height, f.width) for f in decoded(out)] == [(48, 64), (48, 64)]


@pytest.mark.parametrize(
    ("encoder", "ending", "codec"),
    [("libx265", "mp4", "hevc"), ("libsvtav1", "mkv", "av1"), ("libvpx-vp9", "webm", "vp9"), ("mpeg4", "mp4", "mpeg4")],
)
def test_other_encoders_work(tmp_path: Path, encoder: str, ending: str, codec: str) -> None:
    info = info_of((64, 96))
    out = tmp_path / f"out.{ending}"
    sink = VideoSink(out, info, VideoOptions(encoder=encoder, bitrate="500k" if encoder == "mpeg4" else None))
    write(sink, info, range(0, 10 * 512, 512))
    sink.close()
    frames = decoded(out)
    assert len(frames) == 10
    assert [round(float(f.time) * 30) for f in frames] == list(range(10))
    with av.open(str(out)) as film:
        assert film.streams.video[0].codec_context.codec.canonical_name == codec


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("out.gif", {}, "256 colours"),
        ("out", {}, "choose one of mp4 mov mkv webm ts"),
        ("out.mp4", {"encoder": "libx999"}, "encoder libx999: not in this FFmpeg; try libx264"),
        ("out.mp4", {"encoder": "aac"}, "encodes audio, not video"),
        ("out.webm", {"encoder": "libx264"}, "encoder libx264 does not open"),
        ("out.mp4", {"preset": "warp"}, "encoder libx264 does not open"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is(
    tmp_path: Path, name: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        VideoSink(tmp_path / name, info_of(), VideoOptions(**options))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options", [{"crf": 99}, {"bitrate": "fast"}, {"bitrate": "0"}, {"scale": "big"}, {"scale": 0}, {"scale": "0x10"}]
)
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        VideoOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("bitrate", "bits"), [("4M", 4_000_000), ("800k", 800_000), ("1.5M", 1_500_000), (None, None)])
def test_bit_rates_are_read(bitrate: str | None, bits: int | None) -> None:
    assert VideoOptions(bitrate=bitrate).bits_per_second == bits


def test_an_existing_file_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    out.write_bytes(b"precious")
    with pytest.raises(FileExistsError, match="--overwrite"):
        VideoSink(out, info_of())
    assert out.read_bytes() == b"precious"
    info = info_of()
    sink = VideoSink(out, info, overwrite=True)
    write(sink, info, [0])
    assert out.read_bytes() == b"precious"
    sink.close()
    assert len(decoded(out)) == 1


def test_without_a_frame_no_file_is_left(tmp_path: Path) -> None:
    VideoSink(tmp_path / "out.mp4", info_of()).close()
    assert list(tmp_path.iterdir()) == []


def test_a_missing_picture_is_refused(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "out.mp4", info_of())
    image = image_of(0, (48, 64))
    with pytest.raises(ValueError, match="got None"):
        sink.write(result_of(None, image, 0, 0, TIME_BASE), None)
    sink.close()


def test_after_any_failure_the_film_stays_a_part_that_plays(tmp_path: Path) -> None:
    info = info_of()
    sink = VideoSink(tmp_path / "out.mp4", info)
    write(sink, info, range(0, 60 * TICKS, TICKS))
    with pytest.raises(ValueError, match="got None"):
        sink.write(result_of(None, image_of(60, info.size), 60, 60 * TICKS, TIME_BASE), None)
    sink.close()
    assert [p.name for p in tmp_path.iterdir()] == ["out.part.mp4"]
    assert len(decoded(tmp_path / "out.part.mp4")) > 30  # less what the encoder held back


class Interrupting(SourceInfo):
    """Ctrl-C comes when the sink asks for `sound_url`, or for `sample_aspect`, half-way through adding the pictures."""

    asked = ""

    def __getattribute__(self, name: str) -> object:
        if name == type(self).asked:
            raise KeyboardInterrupt
        return super().__getattribute__(name)


@pytest.mark.parametrize("asked", ["sample_aspect", "sound_url"])
def test_an_interrupt_while_the_film_is_opened_leaves_no_file(tmp_path: Path, asked: str) -> None:
    info = type("Now", (Interrupting,), {"asked": asked})("clip.mp4", "clip.mp4", (48, 64), TIME_BASE, RATE)
    with pytest.raises(KeyboardInterrupt):
        VideoSink(tmp_path / "out.mp4", info)
    assert list(tmp_path.iterdir()) == []


# A child that writes noise, frame by frame, and says so.
CHILD = """
import resource, sys
from contextlib import closing
from fractions import Fraction
from pathlib import Path
import numpy as np
sys.path[:0] = {paths!r}
from test_video import info_of, result_of, undrawn, TIME_BASE
from stream.sinks.video import VideoSink
if {limit}:
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
rng = np.random.default_rng(0)
sink = VideoSink(Path(sys.argv[1]), info_of((120, 160)))
with closing(sink):
    for index in range(100_000):
        image = rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)
        sink.write(result_of(None, image, index, index * 512, TIME_BASE), undrawn(image))
        print(index, flush=True)
"""


def start_child(out: Path, limit: int = 0) -> subprocess.Popen[str]:
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[3])]
    script = CHILD.format(paths=paths, limit=limit)
    return subprocess.Popen(
        [sys.executable, "-c", script, str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "ts", "webm"])
def test_a_killed_run_leaves_a_part_that_plays(tmp_path: Path, ending: str) -> None:
    with start_child(tmp_path / f"out.{ending}") as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.strip() == "150":
                os.kill(child.pid, signal.SIGKILL)
                break
    part = tmp_path / f"out.part.{ending}"
    assert [p.name for p in tmp_path.iterdir()] == [part.name]
    frames = decoded(part)
    assert len(frames) >= 120
    assert all(a.pts < b.pts for a, b in pairwise(frames))
    if ending in ("mp4", "mov"):
        assert [f.pts for f in frames] == list(range(0, len(frames) * TICKS, TICKS))


def test_a_full_disk_is_an_error_that_leaves_the_part(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    with start_child(out, limit=400_000) as child:
        _, complaint = child.communicate(timeout=60)
    assert child.returncode == 1
    assert "StreamError" in complaint
    assert "cannot be written any further (File too large); make room" in complaint
    assert [p.name for p in tmp_path.iterdir()] == ["out.part.mp4"]
    played = 0
    with av.open(str(tmp_path / "out.part.mp4")) as film, suppress(av.error.InvalidDataError):
        for played, _ in enumerate(film.decode(video=0), 1):  # noqa: B007 - until the last, cut frame
            pass
    assert played > 5


def test_an_unwritable_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StreamError, match="choose another folder"):
        VideoSink(tmp_path / "file" / "out.mp4", info_of())


@pytest.mark.parametrize("preset", ["superfast", "slow"])
@pytest.mark.parametrize("ending", ["mp4", "mov"])
@pytest.mark.parametrize("seed", range(3))
def test_very_uneven_times_stay_in_order_and_exact(tmp_path: Path, ending: str, preset: str, seed: int) -> None:
    """Steps of 1 to 20,000 ticks of 1/10,000 s, across many fragments, with frames encoded out of order."""
    steps = np.random.default_rng(seed).choice([1, 100, 500, 1000, 2500, 5000, 20_000], 120)
    stamps = [0, *np.cumsum(steps).tolist()]
    info = info_of(time_base=Fraction(1, 10_000))
    out = tmp_path / f"out.{ending}"
    sink = VideoSink(out, info, VideoOptions(preset=preset))
    write(sink, info, stamps)
    sink.close()
    assert [frame.pts * frame.time_base * 10_000 for frame in decoded(out)] == stamps
