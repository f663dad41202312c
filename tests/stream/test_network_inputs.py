"""Every kind of address, from a server of its kind: numbered frames, in order, on time, no older than they say."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from servers.nginx import NginxServer, require_nginx
from servers.numbered import encode_numbered, read_number, write_number
from servers.process import HOST, free_ports
from servers.publisher import Publisher
from servers.rtsp import RtspServer, require_rtsp_server

from stream.frame import Frame
from stream.reconnect import open_lasting
from stream.source import SourceOptions

RATE, FRAMES = 25, 250
INTERVAL_S = 1 / RATE
OPTIONS = SourceOptions(open_timeout_s=5.0, read_timeout_s=0.6)
SETTLED = 25
"""Frames after which what waited while the stream was looked into has been read."""
BUSY_S = 0.06
"""What a machine with other work to do adds to a time."""


@dataclass(frozen=True)
class Camera:
    """An address that shows numbered frames; `age_s(number, at_ns)` is how long ago one was sent, `time_s` its time."""

    url: str
    age_s: Callable[[int, int], float]
    pause: Callable[[], None] = lambda: None
    resume: Callable[[], None] = lambda: None
    time_s: Callable[[int], float] = lambda number: number / RATE


@contextmanager
def rtsp(folder: Path) -> Iterator[Camera]:
    require_rtsp_server()
    stream = encode_numbered(folder / "camera.h264", frames=FRAMES, rate=RATE)
    with RtspServer(stream, rate=RATE) as server:
        yield Camera(server.url, partial(server.age_s, frames=FRAMES), server.freeze, server.thaw)


@contextmanager
def rtmp(folder: Path) -> Iterator[Camera]:
    require_nginx()
    with NginxServer(folder) as server, Publisher(server.rtmp_url(), container="flv") as publisher:
        yield Camera(server.rtmp_url(), publisher.age_s, publisher.pause, publisher.resume, publisher.time_s)


@contextmanager
def hls(folder: Path) -> Iterator[Camera]:
    require_nginx()
    with NginxServer(folder) as server, Publisher(server.rtmp_url(), container="flv") as publisher:
        yield Camera(server.hls_url(), publisher.age_s, publisher.pause, publisher.resume, publisher.time_s)


@contextmanager
def udp(folder: Path) -> Iterator[Camera]:
    (port,) = free_ports(1, socket.SOCK_DGRAM)
    with Publisher(f"udp://{HOST}:{port}?pkt_size=1316", container="mpegts") as publisher:
        yield Camera(f"udp://{HOST}:{port}", publisher.age_s, publisher.pause, publisher.resume, publisher.time_s)


@contextmanager
def mjpeg(_: Path) -> Iterator[Camera]:
    """A camera that sends one JPEG after another, each with its length, to the one who asks."""
    sent_ns: list[int] = []
    stopped = threading.Event()

    def serve(listener: socket.socket) -> None:
        with listener, listener.accept()[0] as caller:
            caller.recv(10_000)
            caller.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=next\r\n\r\n")
            started_s = time.monotonic()
            while not stopped.wait(max(0.0, started_s + len(sent_ns) / RATE - time.monotonic())):
                picture = np.full((180, 320, 3), 128, np.uint8)
                write_number(picture, len(sent_ns))
                jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
                sent_ns.append(time.monotonic_ns())
                head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                try:
                    caller.sendall(head.encode() + jpeg + b"\r\n")
                except OSError:
                    return  # seen enough

    listener = socket.create_server((HOST, 0))
    port = listener.getsockname()[1]
    thread = threading.Thread(target=serve, args=(listener,), name="MJPEG camera")
    thread.start()
    try:
        yield Camera(f"http://{HOST}:{port}/video.mjpg", lambda number, at_ns: (at_ns - sent_ns[number]) / 1e9)
    finally:
        stopped.set()
        thread.join()


@dataclass(frozen=True)
class Case:
    """A kind of address; the picture that is given out is at most `late_s` old, and says so within `off_s`."""

    serve: Callable[[Path], object]
    late_s: float
    off_s: float = 0.0
    options: SourceOptions = OPTIONS


UDP = SourceOptions(open_timeout_s=5.0, read_timeout_s=0.6, rtsp_transport="udp")
CASES = {
    "rtsp over tcp": Case(rtsp, late_s=INTERVAL_S),
    "rtsp over udp": Case(rtsp, late_s=INTERVAL_S, options=UDP),
    "rtmp": Case(rtmp, late_s=0.0),
    "mpeg-ts over udp": Case(udp, late_s=2 * INTERVAL_S),
    "http mjpeg": Case(mjpeg, late_s=INTERVAL_S),
    # Some segments of half a second or one; what lies with the server is no part of the age.
    "hls": Case(hls, late_s=4.0, off_s=4.0),
}


@pytest.mark.parametrize("name", CASES)
def test_frames_come_in_order_and_on_time_and_know_their_age(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    with ExitStack() as stack:
        camera = stack.enter_context(case.serve(tmp_path))
        source = open_lasting(camera.url, case.options)
        stack.callback(source.close)
        frames, seen_ns = _watch(source.frames(), SETTLED + 20)
        numbers = [number_on(frame) for frame in frames]
        steps_s = np.diff([camera.time_s(number) for number in numbers]) % (FRAMES / RATE)
        ages_s = [camera.age_s(*each) for each in zip(numbers, seen_ns, strict=True)]
        true_s = [camera.age_s(number, frame.captured_ns) for number, frame in zip(numbers, frames, strict=True)]
    assert source.info.live
    assert set(np.diff(numbers) % FRAMES) == {1}
    np.testing.assert_allclose(np.diff([frame.time for frame in frames]), steps_s, atol=0.002)
    assert np.median(ages_s[SETTLED:]) < case.late_s + BUSY_S
    # When a frame says that it arrived, it had just been sent.
    assert np.median(true_s[SETTLED:]) < case.off_s + BUSY_S
    assert np.median(true_s[SETTLED:]) > -BUSY_S


@pytest.mark.parametrize("name", ["rtsp over tcp", "rtsp over udp", "rtmp", "mpeg-ts over udp"])
def test_a_camera_that_falls_silent_is_noticed_and_its_last_picture_is_not_fresh(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    lost_ns: list[int] = []

    def hear(line: str) -> None:
        if line.startswith("connection lost"):
            lost_ns.append(time.monotonic_ns())
            camera.resume()

    with ExitStack() as stack:
        camera = stack.enter_context(case.serve(tmp_path))
        source = open_lasting(camera.url, case.options, hear)
        stack.callback(source.close)
        before, _ = _watch(frames := source.frames(), SETTLED)
        camera.pause()
        silent_ns = time.monotonic_ns()
        after, seen_ns = _watch(frames, SETTLED + 15)
        check = [
            (frame, camera.age_s(number_on(frame), frame.captured_ns))
            for frame, at_ns in zip(after, seen_ns, strict=True)
            if at_ns < lost_ns[0] or frame is after[-1]
        ]
    assert len(lost_ns) == 1
    assert (lost_ns[0] - silent_ns) / 1e9 < case.options.read_timeout_s + 0.5
    # Whatever came out of FFmpeg meanwhile, and the newest at the end, had been sent when it says that it arrived.
    assert [age_s for _, age_s in check] == pytest.approx([0.0] * len(check), abs=BUSY_S)
    everything = [frame.captured_ns for frame in (*before, *after)]
    assert everything == sorted(everything)


def number_on(frame: Frame) -> int:
    number = read_number(frame.image)
    assert number is not None
    return number


def _watch(frames: Iterator[Frame], count: int) -> tuple[list[Frame], list[int]]:
    """The next frames, and when each was there."""
    seen = [(frame, time.monotonic_ns()) for frame in islice(frames, count)]
    return [frame for frame, _ in seen], [at_ns for _, at_ns in seen]
