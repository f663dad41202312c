"""Streams to real servers and sockets, read back by FFmpeg: every picture carries its number."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from fakes import make_result
from servers.nginx import NginxServer, require_nginx
from servers.numbered import read_number, write_number
from servers.process import HOST, free_ports, skip_for_want_of
from servers.rtsp import RtspRelay, require_rtsp_server

from stream.age import AgeLimit
from stream.color import color_of, frame_to_bgr
from stream.frame import Color, Frame
from stream.meter import Meter
from stream.pipeline import Result
from stream.sinks.base import Picture
from stream.sinks.publish import PublishSink
from stream.sinks.target import target_of
from stream.sinks.transmitter import ProcessTransmitter, RefusedError
from stream.sinks.video import VideoOptions
from stream.source import SourceInfo

RATE = 25
SIZE = (120, 160)
TICK = Fraction(1, 1000)
LONGEST_S = 20.0
"""Whatever is waited for takes less, on however busy a machine."""
LONGEST_WRITE_S = 0.04
"""One frame's time: what a server does must not be felt by the pipeline for longer."""
QUICK_LOOK = {"fflags": "nobuffer", "flags": "low_delay", "fpsprobesize": "2", "analyzeduration": "300000"}


def info_of(size: tuple[int, int] = SIZE, *, live: bool = True) -> SourceInfo:
    return SourceInfo("cam", "cam", size, TICK, Fraction(RATE), live=live, color=Color(1, 1, 1, 1))


def numbered(index: int, size: tuple[int, int] = SIZE, *, noisy: bool = False) -> tuple[Result, Picture]:
    image = np.full((*size, 3), 128, np.uint8)
    if noisy:
        image[:] = np.random.default_rng(index).integers(0, 256, image.shape, np.uint8)
    write_number(image, index)
    base = make_result(index)
    frame = Frame(image, index, index * 1000 // RATE, TICK, "cam", time.monotonic_ns())
    return Result(frame, base.tracks, base.poses), Picture(image, np.zeros((0, 4), np.int32))


class Camera:
    """Writes numbered pictures into a sink in real time, on a thread of its own, while the context is open.

    `longest_s` is the longest that a write took.
    """

    def __init__(self, sink: PublishSink, size: tuple[int, int] = SIZE, *, noisy: bool = False) -> None:
        self.sink = sink
        self.size = size
        self.longest_s = 0.0
        self.error: Exception | None = None
        self._noisy = noisy
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Camera:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.sink.close()

    def _run(self) -> None:
        index = 0
        while not self._stop.wait(1 / RATE):
            result, picture = numbered(index, self.size, noisy=self._noisy)
            begun_s = time.monotonic()
            try:
                self.sink.write(result, picture)
            except RefusedError as error:
                self.error = error
                return
            self.longest_s = max(self.longest_s, time.monotonic() - begun_s)
            index += 1


class Said:
    """Lines that were said, which may be waited for."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()

    def __call__(self, line: str) -> None:
        with self._changed:
            self.lines.append(line)
            self._changed.notify_all()

    def wait_for(self, words: str) -> None:
        with self._changed:
            found = self._changed.wait_for(lambda: any(words in line for line in self.lines), LONGEST_S)
        assert found, self.lines


class Signalling(ProcessTransmitter):
    """Tells of each picture that is sent, with `has_sent`."""

    has_sent: threading.Semaphore | None = None

    def send(self, frame: Frame, picture: Picture) -> None:
        super().send(frame, picture)
        if self.has_sent is not None:
            self.has_sent.release()


def open_sink(
    output: str,
    said: Said,
    *,
    info: SourceInfo | None = None,
    open_s: float = 5,
    write_s: float = 5,
    has_sent: threading.Semaphore | None = None,
) -> PublishSink:
    target, info = target_of(output), info or info_of()
    options = VideoOptions(encoder="libx264")
    transmitter = Signalling(target, options, open_s=open_s, write_s=write_s)
    transmitter.has_sent = has_sent
    is_kept = target.playlist is not None
    return PublishSink(transmitter, target.shown, lambda: info, Meter(), AgeLimit(), said, is_kept=is_kept)


def read_back(url: str, count: int, **options: str) -> list[tuple[int | None, int]]:
    """Numbers and time stamps of the next `count` pictures of a stream."""
    return [(read_number(bgr(frame)), frame.pts) for frame in decoded(url, count, **options)]


def decoded(url: str, count: int, **options: str) -> Iterator[av.VideoFrame]:
    until_s = time.monotonic() + LONGEST_S
    while True:
        try:
            container = av.open(url, options=QUICK_LOOK | options, timeout=(LONGEST_S, LONGEST_S))
            break
        except av.FFmpegError:  # nothing there yet
            assert time.monotonic() < until_s
    with closing(container):
        for _, frame in zip(range(count), container.decode(video=0), strict=False):
            yield frame


def bgr(frame: av.VideoFrame) -> np.ndarray:
    return frame_to_bgr(frame, color_of(frame))


def assert_rising(pictures: list[tuple[int | None, int]], count: int) -> None:
    assert len(pictures) == count
    assert all(number is not None for number, _ in pictures)
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(pictures)), pictures


@contextmanager
def udp_port() -> Iterator[str]:
    (port,) = free_ports(1, socket.SOCK_DGRAM)
    yield f"udp://{HOST}:{port}"


def test_udp_carries_every_picture_with_its_number_and_rising_times() -> None:
    with udp_port() as url:
        said = Said()
        with Camera(open_sink(url, said)) as camera:
            pictures = read_back(url, 40)
        assert_rising(pictures, 40)
        numbers = [number for number, _ in pictures]
        assert numbers == list(range(numbers[0], numbers[0] + 40))
        assert {b[1] - a[1] for a, b in pairwise(pictures)} == {90_000 // RATE}
        assert camera.longest_s < LONGEST_WRITE_S
        assert said.lines == [f"{url}: connected, encoder: libx264"]


def test_another_size_goes_on_in_the_same_stream() -> None:
    with udp_port() as url:
        said = Said()
        with Camera(open_sink(url, said)) as camera:
            sizes, numbers = [], []
            for frame in decoded(url, 200):
                sizes.append((frame.height, frame.width))
                numbers.append(read_number(bgr(frame)))
                if len(sizes) == 10:
                    camera.size = (180, 240)
                if sizes.count((180, 240)) == 5:
                    break
        assert sizes[0] == SIZE
        assert sizes[-1] == (180, 240)
        assert all(a < b for a, b in pairwise(n for n in numbers if n is not None))
        assert said.lines[1:] == [f"{url}: the pictures are 240x180 now; the stream begins anew"]


def test_a_live_playlist_holds_the_last_segments_which_all_play(tmp_path: Path) -> None:
    playlist = tmp_path / "hls" / "live.m3u8"
    playlist.parent.mkdir()
    said, has_sent = Said(), threading.Semaphore(0)
    sink = open_sink(str(playlist), said, info=info_of(), has_sent=has_sent)
    sink.write(*numbered(0))
    said.wait_for("connected")
    for index in range(1, 500):  # 20 s of film, as fast as it goes
        sink.write(*numbered(index))
        assert has_sent.acquire(timeout=LONGEST_S)
    sink.close()
    text = playlist.read_text()
    segments = [line for line in text.splitlines() if line.endswith(".ts")]
    assert len(segments) <= 6
    assert "#EXT-X-INDEPENDENT-SEGMENTS" in text
    assert "#EXT-X-PROGRAM-DATE-TIME:" in text
    assert len(list(playlist.parent.iterdir())) <= 8  # the playlist, and one segment that was deleted from it
    numbers = [read_number(bgr(frame)) for frame in av.open(str(playlist)).decode(video=0)]
    assert numbers[-1] == 499
    assert all(a + 1 == b for a, b in pairwise(numbers))
    for name in segments:
        with av.open(str(playlist.with_name(name))) as segment:
            assert next(segment.demux(video=0)).is_keyframe


def test_a_file_becomes_a_folder_of_hls_without_loss(tmp_path: Path) -> None:
    playlist = tmp_path / "film.m3u8"
    sink = open_sink(str(playlist), Said(), info=info_of(live=False))
    for index in range(130):
        sink.write(*numbered(index))
    sink.close()
    with av.open(str(playlist)) as film:
        assert [read_number(bgr(frame)) for frame in film.decode(video=0)] == list(range(130))
    text = playlist.read_text()
    assert [line for line in text.splitlines() if line.startswith("#EXTINF")] == [
        "#EXTINF:2.000000,", "#EXTINF:2.000000,", "#EXTINF:1.200000,",
    ]  # fmt: skip
    assert text.rstrip().endswith("#EXT-X-ENDLIST")
    assert sink.warnings == ()


def test_ffprobe_sees_size_colours_and_no_reordering(tmp_path: Path) -> None:
    playlist = tmp_path / "film.m3u8"
    sink = open_sink(str(playlist), Said(), info=info_of(live=False))
    for index in range(60):
        sink.write(*numbered(index))
    sink.close()
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_streams", "-show_packets", str(playlist)]
    try:
        seen = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    except FileNotFoundError:
        skip_for_want_of("ffprobe", "ffmpeg")
    (stream,) = seen["streams"]
    wanted = {
        "codec_name": "h264", "width": 160, "height": 120, "pix_fmt": "yuv420p", "has_b_frames": 0,
        "color_space": "bt709", "color_range": "tv", "color_primaries": "bt709", "color_transfer": "bt709",
    }  # fmt: skip
    assert {key: stream[key] for key in wanted} == wanted
    assert all(packet["pts"] == packet["dts"] for packet in seen["packets"])
    assert [i for i, p in enumerate(seen["packets"]) if p["flags"].startswith("K")] == [0, 50]


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[NginxServer]:
    require_nginx()
    with NginxServer(tmp_path / "nginx") as server:
        yield server


def test_rtmp_is_read_back_and_survives_that_the_server_is_killed_and_started(nginx: NginxServer) -> None:
    url, said = nginx.rtmp_url("cam"), Said()
    with Camera(open_sink(url, said)) as camera:
        said.wait_for("connected, encoder: libx264")
        before = read_back(url, 15)
        nginx.kill()
        said.wait_for("connection lost, trying again")
        nginx.start()
        started_s = time.monotonic()
        said.wait_for("back after")
        recovery_s = time.monotonic() - started_s
        after = read_back(url, 15)
    assert_rising(before, 15)
    assert_rising(after, 15)
    assert after[0][0] > before[-1][0]
    assert recovery_s < 3
    assert camera.longest_s < LONGEST_WRITE_S
    assert "lost once" in camera.sink.warnings[0]


def test_a_server_that_freezes_is_left_and_found_again(nginx: NginxServer) -> None:
    """Noise fills the buffers of the network; then a write hangs in FFmpeg, which no time-out of its own ends."""
    url, said = nginx.rtmp_url("cam"), Said()
    sink = open_sink(url, said, open_s=1, write_s=0.5)
    with Camera(sink, (360, 640), noisy=True) as camera:
        said.wait_for("connected, encoder: libx264")
        nginx.freeze()
        said.wait_for("broke off (no answer in 0.5 s)")
        nginx.thaw()
        said.wait_for("back after")
    assert camera.longest_s < LONGEST_WRITE_S


@pytest.mark.parametrize("scheme", ["rtsp", "rtmp"])
def test_a_server_that_accepts_and_says_nothing_does_not_stall_the_pipeline(scheme: str) -> None:
    with socket.create_server((HOST, 0)) as silent:
        url, said = f"{scheme}://{HOST}:{silent.getsockname()[1]}/live/cam", Said()
        sink = open_sink(url, said, open_s=0.7)
        with pytest.raises(Exception, match="nothing was sent"), Camera(sink) as camera:
            said.wait_for("cannot be connected (no answer in 0.7 s)")
    assert camera.longest_s < LONGEST_WRITE_S
    assert sink.frames_sent == 0


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RtspRelay]:
    require_rtsp_server()
    with RtspRelay(tmp_path, "cam") as server:
        yield server


def test_rtsp_is_read_back_and_survives_that_the_server_is_killed_and_started(relay: RtspRelay) -> None:
    said = Said()
    with Camera(open_sink(relay.publish_url("cam"), said)) as camera:
        said.wait_for("connected, encoder: libx264")
        before = read_back(relay.play_url("cam"), 15, rtsp_transport="tcp")
        relay.kill()
        said.wait_for("connection lost, trying again")
        relay.start()
        said.wait_for("back after")
        after = read_back(relay.play_url("cam"), 15, rtsp_transport="tcp")
    assert_rising(before, 15)
    assert_rising(after, 15)
    assert after[0][0] > before[-1][0]
    assert camera.longest_s < LONGEST_WRITE_S


def test_a_wrong_password_is_said_plainly_and_never_printed(tmp_path: Path) -> None:
    require_rtsp_server()
    with RtspRelay(tmp_path, "cam", login="me:right") as relay:
        said = Said()
        with Camera(open_sink(relay.url_for("me:wr0ng", relay.publish_url("cam")), said)) as camera:
            camera._thread.join(LONGEST_S)
        assert isinstance(camera.error, RefusedError)
        assert "Unauthorized" in str(camera.error) or "401" in str(camera.error)
        assert "check the address, the server, and user and password" in str(camera.error)
        assert "wr0ng" not in str(camera.error)
        with Camera(open_sink(relay.url_for("me:right", relay.publish_url("cam")), said)):
            said.wait_for("connected, encoder: libx264")
