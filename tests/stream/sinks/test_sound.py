from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from numpy.typing import NDArray

from engines.results import Poses
from engines.skeletons import COCO17
from stream.color import plane_views
from stream.frame import Frame
from stream.pipeline import Result
from stream.sinks.base import Picture
from stream.sinks.encoding import container_of
from stream.sinks.sound import Sound
from stream.sinks.video import VideoSink
from stream.source import SourceInfo
from tracker.results import Tracks

CLICKS_S = (0.5, 1.3, 2.1)
LENGTH_S = 3.0
RATE = 25
TIME_BASE = Fraction(1, 12800)
SIZE = (48, 64)
PACKET = 1536
"""Samples of sound in the longest packet of the codecs here (ac3)."""


def clicks(rate: int, channels: int = 2, length_s: float = LENGTH_S) -> NDArray[np.int16]:
    """(samples, channels): silence with a click of 4 samples at each of CLICKS_S."""
    sound = np.zeros((int(length_s * rate), channels), np.int16)
    for click_s in CLICKS_S:
        start = round(click_s * rate)
        sound[start : start + 4] = 30_000
    return sound


def make_clip(
    path: Path, codec: str, *, rate: int = 48_000, start_s: float = 0.0, gap: tuple[float, float] | None = None
) -> Path:
    """A clip of 3 s with clicks in its sound; `start_s` is added to all times, in `gap` there is no sound at all."""
    samples = clicks(rate)
    with av.open(str(path), "w") as output:
        pictures = output.add_stream("mpeg4", rate=RATE)
        pictures.width, pictures.height, pictures.pix_fmt = SIZE[1], SIZE[0], "yuv420p"
        sound = output.add_stream(codec, rate=rate)
        sound.layout = "stereo"
        for index in range(round(LENGTH_S * RATE)):
            frame = av.VideoFrame(SIZE[1], SIZE[0], "yuv420p")
            for plane in plane_views(frame):
                plane[:] = 128
            frame.pts, frame.time_base = round(start_s * RATE) + index, Fraction(1, RATE)
            output.mux(pictures.encode(frame))
        output.mux(pictures.encode(None))
        resampler = av.AudioResampler(sound.format, "stereo", rate, frame_size=sound.codec_context.frame_size or 1024)
        for first in range(0, len(samples), 1024):
            if gap and gap[0] <= first / rate < gap[1]:
                continue
            frame = AudioFrame.from_ndarray(samples[first : first + 1024].reshape(1, -1), format="s16", layout="stereo")
            frame.pts, frame.time_base, frame.sample_rate = round(start_s * rate) + first, Fraction(1, rate), rate
            for ready in resampler.resample(frame):
                output.mux(sound.encode(ready))
        for ready in resampler.resample(None):
            output.mux(sound.encode(ready))
        output.mux(sound.encode(None))
    return path


def heard(path: Path) -> tuple[list[float], float, float]:
    """The moments of the clicks in a file, and when its sound begins and ends, in seconds after its first picture."""
    times, levels = [], []
    first_s = first_picture_s(path)
    with av.open(str(path)) as source:
        for frame in source.decode(audio=0):
            mono = np.abs(frame.to_ndarray().astype(np.float64))
            planar = frame.format.is_planar
            mono = mono.max(0) if planar else mono.reshape(-1, frame.layout.nb_channels).max(1)
            times.append(float(frame.pts * frame.time_base) - first_s + np.arange(len(mono)) / frame.sample_rate)
            levels.append(mono / (30_000 if frame.format.name.startswith("s16") else 30_000 / 32_768))
    time, level = np.concatenate(times), np.concatenate(levels)
    found = []
    while level.max() > 0.2:
        peak_s = float(time[level.argmax()])
        found.append(peak_s)
        level[np.abs(time - peak_s) < 0.1] = 0
    return sorted(found), float(time[0]), float(time[-1])


def samples(path: Path) -> int:
    """How many samples of sound a file holds, of each channel, at 48 kHz."""
    with av.open(str(path)) as source:
        return sum(frame.samples for frame in source.decode(audio=0))


def first_picture_s(path: Path) -> float:
    with av.open(str(path)) as source:
        return float(next(source.decode(video=0)).time)


def codec_of(path: Path) -> str:
    with av.open(str(path)) as source:
        return source.streams.audio[0].codec_context.codec.canonical_name


def write(
    source: Path,
    target: Path,
    *,
    frames: range = range(round(LENGTH_S * RATE)),
    origin_s: float = 0.0,
    ends_early: bool = False,
    stopped: threading.Event | None = None,
    sound_url: str | None = None,
    close: bool = True,
) -> VideoSink:
    """Write the numbered frames, black, with the sound of `source`; the sink, closed unless told not to."""
    start_pts = round(Fraction(first_picture_s(source)) / TIME_BASE)
    info = SourceInfo(
        "clip", "clip", SIZE, TIME_BASE, Fraction(RATE), start_pts=start_pts, sound_url=sound_url or str(source)
    )
    sink = VideoSink(target, info, origin_s=origin_s, ends_early=ends_early, stopped=stopped)
    image = np.zeros((*SIZE, 3), np.uint8)
    nobody = Tracks(np.zeros(0, np.int64), np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    poses = Poses(np.zeros((0, 17, 2), np.float32), np.zeros((0, 17), np.float32), COCO17)
    for index in frames:
        frame = Frame(image, index, index * 512, TIME_BASE, "clip", 0)
        sink.write(Result(frame, nobody, poses), Picture(image, np.zeros((0, 4), np.int32)))
    if close:
        sink.close()
    return sink


def assert_close(got: Sequence[float], wanted: Sequence[float], within_s: float) -> None:
    assert len(got) == len(wanted)
    assert max(abs(g - w) for g, w in zip(got, wanted, strict=True)) < within_s, (got, wanted)


@pytest.mark.parametrize(
    ("source", "codec", "target"),
    [
        ("mp4", "aac", "mp4"),
        ("mp4", "aac", "mov"),
        ("mp4", "aac", "mkv"),
        ("mp4", "aac", "ts"),
        ("ts", "aac", "mp4"),
        ("ts", "aac", "mkv"),
        ("ts", "aac", "ts"),
        ("mkv", "aac", "mp4"),
        ("mkv", "aac", "mkv"),
        ("mp4", "libmp3lame", "mp4"),
        ("mkv", "libmp3lame", "mkv"),
        ("mkv", "ac3", "mp4"),
        ("mkv", "pcm_s16le", "mov"),
        ("mkv", "libopus", "webm"),
        ("mkv", "libopus", "mkv"),
        ("mkv", "flac", "mkv"),
    ],
)
def test_sound_is_copied_and_stays_in_step(tmp_path: Path, source: str, codec: str, target: str) -> None:
    clip = make_clip(tmp_path / f"in.{source}", codec)
    out = tmp_path / f"out.{target}"
    sink = write(clip, out)
    assert sink.warnings == ()
    assert codec_of(out) == codec_of(clip)
    assert_close(heard(out)[0], heard(clip)[0], 0.0015)
    assert samples(out) == pytest.approx(samples(clip), abs=48)  # Matroska rounds what is left out to its tick, 1 ms
    if target != "ts":  # which moves all of a file, so that no decoding time is below 0
        assert first_picture_s(out) == pytest.approx(first_picture_s(clip), abs=0.0006)


@pytest.mark.parametrize(
    ("source", "codec", "target", "becomes"),
    [
        ("mkv", "pcm_s16le", "mp4", "aac"),
        ("mkv", "flac", "mp4", "aac"),
        ("mkv", "libopus", "mp4", "aac"),
        ("mkv", "ac3", "webm", "opus"),
        ("mkv", "flac", "ts", "aac"),
        ("mp4", "aac", "webm", "opus"),
        ("ts", "aac", "webm", "opus"),
    ],
)
def test_sound_the_container_refuses_is_encoded_and_stays_in_step(
    tmp_path: Path, source: str, codec: str, target: str, becomes: str
) -> None:
    clip = make_clip(tmp_path / f"in.{source}", codec)
    out = tmp_path / f"out.{target}"
    sink = write(clip, out)
    assert sink.warnings == ()
    assert codec_of(out) == becomes
    assert_close(heard(out)[0], heard(clip)[0], 0.005)
    # An encoder fills its last packet; in ts and webm, its lead is heard as silence.
    assert samples(clip) <= samples(out) <= samples(clip) + 2 * PACKET


@pytest.mark.parametrize("codec", ["aac", "flac"])
def test_a_gap_in_the_sound_stays_a_gap(tmp_path: Path, codec: str) -> None:
    clip = make_clip(tmp_path / "in.mkv", codec, gap=(0.7, 1.1))
    out = tmp_path / "out.mp4"
    write(clip, out)
    assert_close(heard(out)[0], CLICKS_S, 0.025)


@pytest.mark.parametrize("codec", ["aac", "flac"])
def test_an_offset_of_picture_and_sound_is_kept(tmp_path: Path, codec: str) -> None:
    clip = make_clip(tmp_path / "in.mkv", codec, start_s=1.0)
    out = tmp_path / "out.mp4"
    write(clip, out)
    assert first_picture_s(out) == pytest.approx(1.0, abs=1e-4)
    assert_close(heard(out)[0], CLICKS_S, 0.025)


@pytest.mark.parametrize("codec", ["aac", "flac"])
@pytest.mark.parametrize("target", ["mp4", "mkv"])
@pytest.mark.parametrize("start_s", [0.0, 1.0])
def test_a_window_begins_at_zero_and_ends_with_the_pictures(
    tmp_path: Path, codec: str, target: str, start_s: float
) -> None:
    clip = make_clip(tmp_path / "in.mkv", codec, start_s=start_s)
    out = tmp_path / f"out.{target}"
    write(clip, out, frames=range(25, 50), origin_s=1.0, ends_early=True)
    assert first_picture_s(out) == pytest.approx(0, abs=1e-3)
    clicks_s, first_s, last_s = heard(out)
    assert_close(clicks_s, [0.3], 0.025)
    assert -0.03 < first_s < (0.1 if (codec, target) == ("flac", "mkv") else 0.03)  # flac is copied in whole packets
    assert 0.97 < last_s < 1.05


@pytest.mark.parametrize("codec", ["aac", "flac"])
@pytest.mark.parametrize("how", ["ends early", "stopped"])
def test_sound_ends_with_the_pictures_when_told_to(tmp_path: Path, codec: str, how: str) -> None:
    clip = make_clip(tmp_path / "in.mkv", codec)
    out = tmp_path / "out.mp4"
    stopped = threading.Event()
    stopped.set()
    ends_early = how == "ends early"
    write(clip, out, frames=range(30), ends_early=ends_early, stopped=None if ends_early else stopped)  # 1.2 s
    clicks_s, _, last_s = heard(out)
    assert_close(clicks_s, [0.5], 0.025)
    assert 1.17 < last_s < 1.25


@pytest.mark.parametrize("target", ["mp4", "mov", "mkv", "ts", "webm"])
@pytest.mark.parametrize("codec", ["aac", "flac"])
def test_sound_that_outlasts_the_pictures_is_written_to_its_end(tmp_path: Path, codec: str, target: str) -> None:
    clip = make_clip(tmp_path / "in.mkv", codec)
    short, whole = tmp_path / f"short.{target}", tmp_path / f"whole.{target}"
    sink = write(clip, short, frames=range(25), stopped=threading.Event())  # 1 s of pictures, 3 s of sound
    assert sink.warnings == ()
    write(clip, whole)
    assert_close(heard(short)[0], CLICKS_S, 0.025)
    assert samples(short) == samples(whole) >= 3 * 48_000 - PACKET
    with av.open(str(short)) as film:
        assert [round(float(f.time - first_picture_s(short)) * RATE) for f in film.decode(video=0)] == list(range(25))
        if target in ("mp4", "mov"):
            assert film.streams.video[0].duration * film.streams.video[0].time_base == 1


def test_a_stop_ends_the_sound_that_outlasts_the_pictures(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv", "aac")
    with av.open(str(tmp_path / "out.mkv"), "w") as output:
        sound = Sound(
            str(clip), output, container_of(Path("out.mkv")), shift_s=Fraction(0), begin_s=Fraction(0), cut_start=False
        )
        answers = iter([False] * 10 + [True])
        sound.finish(lambda: next(answers))
        sound.close()
    assert packets_of(tmp_path / "out.mkv") == 10


def packets_of(path: Path) -> int:
    with av.open(str(path)) as film:
        return sum(1 for packet in film.demux(audio=0) if packet.size)


@pytest.mark.parametrize("sent", [0, 0.6], ids=["at once", "half-way"])
def test_a_server_that_stalls_ends_the_sound_with_a_warning(tmp_path: Path, sent: float) -> None:
    clip = make_clip(tmp_path / "in.mkv", "pcm_s16le").read_bytes()
    out = tmp_path / "out.mkv"
    released = threading.Event()

    class Stalling(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if sent:
                self.send_response(200)
                self.send_header("Content-Length", str(len(clip)))
                self.end_headers()
                self.wfile.write(clip[: round(len(clip) * sent)])
            released.wait(20)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Stalling) as library, av.open(str(out), "w") as output:
        thread = threading.Thread(target=library.serve_forever)
        thread.start()
        started_s = time.monotonic()
        sound = Sound(
            f"http://127.0.0.1:{library.server_port}/clip.mkv",
            output,
            container_of(out),
            shift_s=Fraction(0),
            begin_s=Fraction(0),
            cut_start=False,
            timeout_s=(0.5, 0.3),
        )
        sound.finish(lambda: False)
        sound.close()
        took_s = time.monotonic() - started_s
        released.set()
        library.shutdown()
        thread.join()
    assert took_s < 5
    (warning,) = sound.warnings
    what = "cannot be read to its end" if sent else "cannot be taken over"
    assert warning == f"sound {what} (the server is silent); the pictures are whole"
    if sent:
        assert samples(out) > 48_000


def test_unusable_sound_leaves_the_pictures_whole(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv", "aac")
    noise = tmp_path / "noise.wav"
    noise.write_bytes(b"no sound at all" * 100)
    out = tmp_path / "out.mp4"
    sink = write(clip, out, sound_url=str(noise))
    assert len(sink.warnings) == 1
    assert "sound cannot be taken over" in sink.warnings[0]
    with av.open(str(out)) as film:
        assert not film.streams.audio
        assert sum(1 for _ in film.decode(video=0)) == 75


@pytest.mark.parametrize("target", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("codec", ["aac", "flac"])
@pytest.mark.parametrize("silence", [(0.6, 9.0), (0.0, 1.25), None], ids=["short", "late", "empty"])
def test_sound_that_is_missing_holds_back_no_picture(
    tmp_path: Path, codec: str, target: str, silence: tuple[float, float] | None
) -> None:
    clip = make_clip(tmp_path / "in.mkv", codec, gap=silence or (0.0, 9.0))
    out = tmp_path / f"out.{target}"
    sink = write(clip, out, close=False)
    with av.open(str(tmp_path / f"out.part.{target}")) as film, suppress(av.error.InvalidDataError):
        shown = [round(float(frame.time) * RATE) for frame in film.decode(video=0)]
    assert len(shown) >= 75 - 30
    sink.close()
    with av.open(str(out)) as film:
        assert sum(1 for _ in film.decode(video=0)) == 75
    if silence:
        assert sink.warnings == ()
        assert_close(heard(out)[0], [s for s in CLICKS_S if not silence[0] <= s < silence[1]], 0.025)


def test_a_source_without_sound_is_told(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv", "aac")
    write(clip, tmp_path / "silent.mp4", sound_url=str(tmp_path / "missing.mp4"))
    sink = write(clip, tmp_path / "out.mp4", sound_url=str(tmp_path / "silent.mp4"))
    assert sink.warnings == ("sound cannot be taken over (there is none); the pictures are whole",)


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_truncated_sound_is_taken_over_as_far_as_it_goes(tmp_path: Path, codec: str) -> None:
    clip = make_clip(tmp_path / "in.mkv", codec)
    cut = tmp_path / "cut.mkv"
    data = clip.read_bytes()
    cut.write_bytes(data[: len(data) * 6 // 10])
    out = tmp_path / "out.mp4"
    write(clip, out, sound_url=str(cut))
    clicks_s = heard(out)[0]
    assert_close(clicks_s[:2], CLICKS_S[:2], 0.025)
    with av.open(str(out)) as film:
        assert sum(1 for _ in film.decode(video=0)) == 75
