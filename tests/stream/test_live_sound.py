"""Sound of live sources in recordings and streams: a click is heard with each flash that is seen."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from fakes import make_result
from servers.nginx import NginxServer, require_nginx
from servers.process import HOST, free_ports

from stream.age import AgeLimit
from stream.buffer import FrameBuffer
from stream.color import plane_views
from stream.feed import Feed
from stream.frame import Frame
from stream.meter import Meter
from stream.painter import Painter
from stream.pipeline import Result
from stream.reconnect import open_lasting
from stream.render import Style
from stream.sinks.base import Picture, Sink
from stream.sinks.keep import RecordingOptions
from stream.sinks.publish import publish
from stream.sinks.segments import Segments
from stream.sinks.video import VideoOptions, VideoSink
from stream.source import SourceInfo, SourceOptions

RATE, SOUND_RATE = 25, 48_000
SIZE = (96, 128)
FLASH = 3
"""Pictures that a flash lasts."""
IN_STEP_S = 0.06
OPTIONS = SourceOptions(open_timeout_s=5.0, read_timeout_s=0.6, retries=10)


class Clapper:
    """A camera that flashes and clicks at each second of its own time, sent in real time while the context is open.

    While it `is_mute` it announces sound and sends none. While it is `paused` its time goes on, and nothing is sent.
    """

    def __init__(self, url: str, container: str, *, codec: str = "aac", is_mute: bool = False) -> None:
        self._target = (url, container, codec)
        self._stopped = threading.Event()
        self.paused = threading.Event()
        self.is_mute = is_mute
        self._thread = threading.Thread(target=self._run, name="clapper")

    def __enter__(self) -> Clapper:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        url, form, codec = self._target
        with av.open(url, "w", format=form, options={} if form == "flv" else {"max_interleave_delta": "1"}) as output:
            pictures = output.add_stream("libx264", rate=RATE)
            pictures.height, pictures.width, pictures.pix_fmt = *SIZE, "yuv420p"
            pictures.gop_size = 12
            pictures.codec_context.options = {"preset": "ultrafast", "tune": "zerolatency"}
            sound = output.add_stream(codec, rate=SOUND_RATE)
            sound.layout = "mono"
            resampler = av.AudioResampler(sound.format, "mono", SOUND_RATE, frame_size=1024)
            index = RATE  # the encoder's first sound is before its time, which must not be below 0
            started_s = time.monotonic() - 1
            while not self._stopped.wait(max(0.0, started_s + index / RATE - time.monotonic())):
                packets = [*pictures.encode(picture_of(index))]
                for ready in resampler.resample(sound_of(index)):
                    packets += sound.encode(ready)
                if not self.paused.is_set():
                    output.mux([p for p in packets if p.stream is pictures or not self.is_mute])
                index += 1


def picture_of(index: int) -> av.VideoFrame:
    frame = av.VideoFrame(SIZE[1], SIZE[0], "yuv420p")
    luma, *chroma = plane_views(frame)
    luma[:] = 235 if index % RATE < FLASH else 40
    for plane in chroma:
        plane[:] = 128
    frame.pts, frame.time_base = index, Fraction(1, RATE)
    return frame


def sound_of(index: int) -> av.AudioFrame:
    count = SOUND_RATE // RATE
    samples = np.zeros((1, count), np.int16)
    if index % RATE == 0:
        samples[0, :24] = 30_000
    frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
    frame.pts, frame.time_base, frame.sample_rate = index * count, Fraction(1, SOUND_RATE), SOUND_RATE
    return frame


def flashes_and_clicks(path: Path | str) -> tuple[list[float], list[float], float]:
    """When flashes begin and clicks are heard, in seconds of the film, and when its last picture is seen."""
    flashes, clicks = [], []
    was_bright = True  # a film may begin in a flash
    time_s = 0.0
    with av.open(str(path)) as film:
        for frame in film.decode():
            time_s = float(frame.pts * frame.time_base)
            if isinstance(frame, av.VideoFrame):
                is_bright = plane_views(frame)[0].mean() > 130
                if is_bright and not was_bright:
                    flashes.append(time_s)
                was_bright, seen_s = is_bright, time_s
            else:
                level = np.abs(frame.to_ndarray().astype(np.float64)).reshape(-1)
                level /= 32_768 if frame.format.name.startswith("s16") else 1
                at_s = time_s + int(level.argmax()) / frame.sample_rate
                if level.max() > 0.15 and (not clicks or at_s - clicks[-1] > 0.3):
                    clicks.append(at_s)
    return flashes, clicks, seen_s


def assert_in_step(path: Path | str, at_least: int) -> None:
    """Each flash has its click, but for one at the very beginning or end."""
    flashes, clicks, end_s = flashes_and_clicks(path)
    inner = [flash_s for flash_s in flashes if flash_s < end_s - 0.2]
    assert len(inner) >= at_least, (flashes, clicks)
    off_s = [min((abs(flash_s - click_s) for click_s in clicks), default=9.0) for flash_s in inner]
    assert max(off_s, default=0.0) < IN_STEP_S, (flashes, clicks)


class Run:
    """A source read by the test's own thread: its frames go to sinks until as much of its time has passed as asked."""

    def __init__(self, url: str) -> None:
        self._source = open_lasting(url, OPTIONS)
        buffer: FrameBuffer[Frame] = FrameBuffer(["cam"], 2, drop_oldest=True)
        self._feed = Feed("cam", self._source, buffer, Painter(Style()), lambda _: None)
        self._frames = self._feed.frames()
        self.first = next(self._frames)

    @property
    def info(self) -> SourceInfo:
        return self._feed.info

    @property
    def losses(self) -> int:
        return self._feed.reconnects

    def write(self, sinks: list[Sink], until_s: float, *, gap: tuple[float, float] = (0, 0)) -> None:
        """Pictures within `gap` are dropped, as by a busy machine."""
        for frame in self._frames:
            base = make_result(0, 0)
            if not gap[0] <= frame.time < gap[1]:
                for sink in sinks:
                    picture = Picture(frame.image, np.zeros((0, 4), np.int32))
                    sink.write(Result(frame, base.tracks, base.poses), picture)
            if frame.time >= until_s:
                return

    def close(self) -> None:
        self._frames.close()
        self._feed.close()


def segments_of(path: Path, info: SourceInfo, segment_s: float) -> Segments:
    def open_film(path: Path, info: SourceInfo, origin_s: float) -> VideoSink:
        return VideoSink(path, info, origin_s=origin_s)

    return Segments(path, info, open_film, recording=RecordingOptions(segment_s=segment_s))


def stream_of(output: str, info: SourceInfo, said: list[str] | None = None, *, sound: bool = True) -> Sink:
    options = VideoOptions(encoder="libx264", sound=sound)
    say = (lambda _: None) if said is None else said.append
    return publish(
        output, lambda: info, options, Meter(), AgeLimit(), say,
        stopped=threading.Event(), overwrite=True,
    )  # fmt: skip


@contextmanager
def closing_all(*sinks: Sink) -> Iterator[list[Sink]]:
    """The sinks, whose threads end with the context."""
    with ExitStack() as stack:
        for sink in sinks:
            stack.callback(sink.close)
        yield list(sinks)


def udp_url() -> str:
    return f"udp://{HOST}:{free_ports(1, socket.SOCK_DGRAM)[0]}"


LOST_S, END_S = 3.3, 8.2
ENDINGS = ("mkv", "mp4", "ts", "webm")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recordings of one camera that is lost for a while: films, segments, a playlist."""
    folder, url = tmp_path_factory.mktemp("recorded"), udp_url()
    with Clapper(f"{url}?pkt_size=1316", "mpegts") as camera, ExitStack() as stack:
        run = Run(url)
        stack.callback(run.close)
        with closing_all(
            *(VideoSink(folder / f"film.{ending}", run.info) for ending in ENDINGS),
            segments_of(folder / "part.mp4", run.info, 2),
            stream_of(str(folder / "hls" / "live.m3u8"), run.info),
        ) as sinks:
            run.write(sinks, LOST_S, gap=(1.3, 1.8))
            camera.paused.set()
            threading.Timer(1.5, camera.paused.clear).start()
            run.write(sinks, END_S)
        assert run.losses == 1
    return folder


@pytest.mark.parametrize("ending", ENDINGS)
def test_click_and_flash_stay_together_in_a_recording_also_after_a_loss(recorded: Path, ending: str) -> None:
    assert_in_step(recorded / f"film.{ending}", 5)


def test_sound_is_copied_where_the_container_takes_it(recorded: Path) -> None:
    codecs = {}
    for ending in ENDINGS:
        with av.open(str(recorded / f"film.{ending}")) as film:
            codecs[ending] = film.streams.audio[0].codec_context.codec.canonical_name
    assert codecs == {"mkv": "aac", "mp4": "aac", "ts": "aac", "webm": "opus"}


def test_pictures_that_are_dropped_take_no_sound_along(recorded: Path) -> None:
    with av.open(str(recorded / "film.mkv")) as film:
        pictures, sound = [], []
        for packet in film.demux():
            if packet.pts is not None:
                (pictures if packet.stream.type == "video" else sound).append(float(packet.pts * packet.time_base))
    assert max(np.diff([at_s for at_s in pictures if at_s < LOST_S - 0.2])) > 0.45
    assert max(np.diff([at_s for at_s in sound if at_s < LOST_S - 0.2])) < 0.025


def test_every_segment_is_in_step(recorded: Path) -> None:
    parts = sorted(recorded.glob("part-*.mp4"))
    assert len(parts) >= 4
    for part in parts[:-1]:
        assert_in_step(part, 0)
    assert sum(len(flashes_and_clicks(part)[1]) for part in parts) >= 5


def test_a_stream_out_is_in_step_also_after_a_loss(recorded: Path) -> None:
    assert_in_step(recorded / "hls" / "live.m3u8", 4)


def record_stream(url: str, path: Path, seconds: float) -> None:
    """Record what another run sends, as a run of its own would."""
    run = Run(url)
    with closing_all(VideoSink(path, run.info)) as sinks:
        run.write(sinks, seconds)
    run.close()


@pytest.mark.parametrize("codec", ["aac", "mp2"])
def test_sound_goes_over_rtmp_and_out_by_udp(codec: str, tmp_path: Path) -> None:
    require_nginx()
    out, said = udp_url(), []
    with NginxServer(tmp_path / "nginx") as server, ExitStack() as stack:
        source = server.rtmp_url() if codec == "aac" else udp_url()
        stack.enter_context(Clapper(source, "flv" if codec == "aac" else "mpegts", codec=codec))
        run = Run(source)
        stack.callback(run.close)
        target = server.rtmp_url("out") if codec == "mp2" else out
        watcher = threading.Thread(target=record_stream, args=(target, tmp_path / "seen.mkv", 3.5))
        watcher.start()
        with closing_all(stream_of(target, run.info, said)) as sinks:
            run.write(sinks, 6.5)
        watcher.join()
    assert_in_step(tmp_path / "seen.mkv", 2)
    assert said == [f"{target}: connected, encoder: libx264"]


def test_sound_that_is_announced_and_never_comes_delays_nothing(tmp_path: Path) -> None:
    url = udp_url()
    with Clapper(f"{url}?pkt_size=1316", "mpegts", is_mute=True), ExitStack() as stack:
        begun_s = time.monotonic()
        run = Run(url)
        stack.callback(run.close)
        assert time.monotonic() - begun_s < 2.5
        films = (VideoSink(tmp_path / f"film.{ending}", run.info) for ending in ("mp4", "mkv", "ts"))
        with closing_all(*films) as sinks:
            run.write(sinks, 2.0)
    for sink in sinks:
        assert sink.warnings == ("sound is missing (none came in the first 1 s); the pictures are whole",)
    for ending in ("mp4", "mkv", "ts"):
        with av.open(str(tmp_path / f"film.{ending}")) as film:
            assert not film.streams.audio
            assert sum(1 for _ in film.decode(video=0)) >= 49


def test_sound_that_ends_leaves_the_pictures_alone(tmp_path: Path) -> None:
    url = udp_url()
    with Clapper(f"{url}?pkt_size=1316", "mpegts") as camera, ExitStack() as stack:
        run = Run(url)
        stack.callback(run.close)
        with closing_all(VideoSink(tmp_path / "film.mp4", run.info)) as sinks:
            run.write(sinks, 1.5)
            camera.is_mute = True
            run.write(sinks, 4.0)
    with av.open(str(tmp_path / "film.mp4")) as film:
        times_s = [float(frame.time) for frame in film.decode(video=0)]
    assert max(np.diff(times_s)) < 0.1
    assert math.isclose(times_s[-1], 4.0, abs_tol=0.1)
    assert sinks[0].warnings == ()


def test_sound_is_left_out_where_it_is_not_wanted(tmp_path: Path) -> None:
    url = udp_url()
    with Clapper(f"{url}?pkt_size=1316", "mpegts"), ExitStack() as stack:
        run = Run(url)
        stack.callback(run.close)
        with closing_all(
            VideoSink(tmp_path / "film.mp4", run.info, VideoOptions(sound=False)),
            stream_of(str(tmp_path / "live.m3u8"), run.info, sound=False),
        ) as sinks:
            run.write(sinks, 1.5)
    for path in (tmp_path / "film.mp4", tmp_path / "live.m3u8"):
        with av.open(str(path)) as film:
            assert not film.streams.audio
