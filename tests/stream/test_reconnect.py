"""Sources that fail in every way, over real sockets on loopback, and come back."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeSource

from stream.frame import Frame
from stream.reconnect import LONGEST_WAIT_S, ReconnectingSource, open_lasting, pause_s
from stream.source import Source, SourceOptions, StreamError

MakeClip = Callable[..., Path]
Serve = Callable[[socket.socket, threading.Event], None]
"""What a camera does with a caller; the event tells that the camera is gone."""
OPTIONS = SourceOptions(open_timeout_s=1.0, read_timeout_s=0.5)


class Camera:
    """A server of one port of loopback that answers one caller after another, each as the next of `answers` says.

    The last answer serves for all that follow. Leaving the context kills it.
    """

    def __init__(self, *answers: Serve, port: int = 0) -> None:
        self._answers = list(answers)
        self._gone = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", port))
        self._threads = [threading.Thread(target=self._accept, name="camera")]
        self.port = self._listening.getsockname()[1]
        self.url = f"tcp://127.0.0.1:{self.port}"
        self._threads[0].start()

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, *_: object) -> None:
        self._gone.set()
        # Wakes the thread that accepts: closing alone would not.
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listening.accept()
            except OSError:
                return
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            self._threads.append(threading.Thread(target=self._answer, args=(caller, answer), name="camera answer"))
            self._threads[-1].start()

    def _answer(self, caller: socket.socket, answer: Serve) -> None:
        with caller, suppress(OSError):
            answer(caller, self._gone)


def sends(content: bytes, *, freezes: bool = False) -> Serve:
    """An answer that sends something, then breaks off or, where it `freezes`, says nothing more."""

    def answer(caller: socket.socket, gone: threading.Event) -> None:
        caller.sendall(content)
        if freezes:
            gone.wait(20)

    return answer


@pytest.fixture
def film(make_clip: MakeClip) -> bytes:
    """Ten frames in MPEG-TS, 64x48."""
    return make_clip("small.ts").read_bytes()


@pytest.fixture
def big_film(make_clip: MakeClip) -> bytes:
    return make_clip("big.ts", size=(96, 128)).read_bytes()


@contextmanager
def lasting(url: str, options: SourceOptions = OPTIONS) -> Iterator[tuple[ReconnectingSource, list[str]]]:
    """A source that is connected when it is read, and what it says."""
    said: list[str] = []
    source = open_lasting(url, options, said.append)
    assert isinstance(source, ReconnectingSource)
    try:
        yield source, said
    finally:
        source.close()


def check_one_time_line(frames: list[Frame]) -> None:
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert all(a.pts < b.pts for a, b in pairwise(frames))
    assert {frame.time_base for frame in frames} == {Fraction(1, 90_000)}
    assert len({frame.source_id for frame in frames}) == 1


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_camera_that_is_not_there_yet_is_waited_for_and_that_is_told_once(film: bytes) -> None:
    port, said, cameras = free_port(), [], []

    def say(line: str) -> None:
        said.append(line)
        if len(said) == 1:
            cameras.append(Camera(sends(film, freezes=True), port=port))

    source = open_lasting(f"tcp://127.0.0.1:{port}", OPTIONS, say)
    frames = list(islice(source.frames(), 5))
    source.close()
    for camera in cameras:
        camera.__exit__()
    check_one_time_line(frames)
    assert len(said) == 2
    assert said[0].startswith("no connection yet, trying again until there is one (Ctrl-C ends it): tcp://127.0.0.1:")
    assert "Connection refused" in said[0]
    assert "connected after" in said[1]
    assert source.damage is None


def test_a_connection_that_breaks_off_is_made_again_and_time_goes_on(film: bytes) -> None:
    with Camera(sends(film), sends(film, freezes=True)) as camera, lasting(camera.url) as (source, said):
        frames = list(islice(source.frames(), 18))
    check_one_time_line(frames)
    values = [int(frame.image[0, 0, 0]) for frame in frames]
    again = next(i for i in range(1, 18) if values[i] < values[i - 1])
    assert again in (9, 10)
    gap_s = (frames[again].captured_ns - frames[again - 1].captured_ns) / 1e9
    assert frames[again].time - frames[again - 1].time == pytest.approx(gap_s, abs=0.05)
    np.testing.assert_allclose(np.diff([frame.time for frame in frames[again:]]), 1 / 25, atol=1e-9)
    assert [line.partition(":")[0] for line in said] == ["connection lost, trying again", "tcp"]
    assert "the stream ended" in said[0]
    assert "back after" in said[1]
    assert source.damage is not None
    assert source.damage.startswith(f"{camera.url}: lost once, for 0.")


def test_a_killed_camera_is_asked_again_until_it_is_back(film: bytes) -> None:
    first = Camera(sends(film[: len(film) // 2], freezes=True))
    with lasting(first.url) as (source, said):
        frames = source.frames()
        before = [next(frames)]
        first.__exit__()
        back = threading.Timer(0.5, lambda: cameras.append(Camera(sends(film, freezes=True), port=first.port)))
        cameras: list[Camera] = []
        back.start()
        before += islice(frames, 12)
        back.join()
    for camera in cameras:
        camera.__exit__()
    check_one_time_line(before)
    assert before[-1].time - before[0].time > 0.5
    lost, refused, returned = said
    assert lost.startswith(f"connection lost, trying again: {first.url}: ")
    assert refused.startswith(f"still no connection: {first.url}: cannot be opened (Connection refused)")
    assert returned.startswith(f"{first.url}: back after ")


def test_a_frozen_camera_is_left_after_the_time_out(film: bytes) -> None:
    with Camera(sends(film, freezes=True)) as camera, lasting(camera.url) as (source, said):
        started_s = time.monotonic()
        frames = list(islice(source.frames(), 15))
        took_s = time.monotonic() - started_s
    check_one_time_line(frames)
    assert 0.4 < took_s < 2.5
    assert "connection lost" in said[0]


def test_garbage_in_the_middle_and_instead_of_a_stream_is_survived(film: bytes) -> None:
    garbage = np.random.default_rng(0).integers(0, 256, 300_000, np.uint8).tobytes()
    answers = [sends(garbage), sends(film + garbage), sends(garbage), sends(film, freezes=True)]
    with Camera(*answers) as camera, lasting(camera.url) as (source, said):
        frames = list(islice(source.frames(), 18))
    check_one_time_line(frames)
    assert said[0].startswith("no connection yet")
    assert "back after" in said[-1]


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
def test_a_refused_password_ends_at_once_and_is_not_told(status: str) -> None:
    reply = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
    said: list[str] = []

    def refuse(caller: socket.socket, _: threading.Event) -> None:
        caller.recv(10_000)
        caller.sendall(reply)

    with Camera(refuse) as camera:
        url = f"http://me:secret@127.0.0.1:{camera.port}/live.ts"
        with pytest.raises(StreamError, match=f"{status[:3]}.*user and password") as caught:
            next(open_lasting(url, OPTIONS, said.append).frames())
    assert "secret" not in str(caught.value)
    assert said == []


def test_another_size_comes_in_its_own_size(film: bytes, big_film: bytes) -> None:
    with Camera(sends(film), sends(big_film, freezes=True)) as camera, lasting(camera.url) as (source, _):
        frames = list(islice(source.frames(), 16))
    check_one_time_line(frames)
    sizes = [frame.image.shape[:2] for frame in frames]
    assert sizes[0] == source.info.size == (48, 64)
    assert sizes[-1] == (96, 128)
    assert sizes == sorted(sizes)


def test_attempts_that_are_used_up_are_an_error() -> None:
    url, said = f"tcp://127.0.0.1:{free_port()}", []
    with pytest.raises(StreamError, match=r"Connection refused.*; given up, as --retries 2 allows no more"):
        next(open_lasting(url, SourceOptions(retries=2), said.append).frames())
    assert len(said) == 1
    with pytest.raises(StreamError, match="Connection refused") as caught:
        next(open_lasting(url, SourceOptions(retries=0), said.append).frames())
    assert "given up" not in str(caught.value)
    assert len(said) == 1


def test_without_retries_the_end_of_a_stream_is_the_end(film: bytes) -> None:
    options = SourceOptions(retries=0, read_timeout_s=0.5)
    with Camera(sends(film)) as camera, lasting(camera.url, options) as (source, said):
        frames = list(source.frames())
    assert len(frames) == 10
    assert said == []
    assert source.damage is None


def test_start_and_end_are_moments_of_the_joined_time_line(film: bytes) -> None:
    options = SourceOptions(start_s=0.2, end_s=0.6, read_timeout_s=0.5)
    with Camera(sends(film)) as camera, lasting(camera.url, options) as (source, _):
        frames = list(source.frames())
    check_one_time_line(frames)
    assert frames[0].time == pytest.approx(0.2)
    assert 0.35 < frames[-1].time < 0.6


@pytest.mark.parametrize("fault", ["frozen", "gone"])
def test_whoever_waits_is_woken_at_once(film: bytes, fault: str) -> None:
    options = SourceOptions(open_timeout_s=30.0, read_timeout_s=30.0)
    long = film * 70  # of a few frames it would wait for more, to know how old they are
    with Camera(sends(long, freezes=fault == "frozen")) as camera, lasting(camera.url, options) as (source, _):
        frames = source.frames()
        assert next(frames).index == 0
        if fault == "gone":
            camera.__exit__()
        timer = threading.Timer(0.3, source.interrupt)
        timer.start()
        started_s = time.monotonic()
        assert len(list(frames)) < 700
        assert time.monotonic() - started_s < 3
        timer.join()


class Hanging:
    """A source whose first connections block in spite of their time-outs, as where FFmpeg hangs."""

    def __init__(self, hanging: int) -> None:
        self.made: list[FakeSource] = []
        self._hanging = hanging

    def connect(self) -> Source:
        self.made.append(FakeSource(2, block=True, live=True) if len(self.made) < self._hanging else FakeSource(4))
        return self.made[-1]


def test_a_read_that_hangs_is_left_behind_and_counted() -> None:
    cameras, said = Hanging(1), []
    options = SourceOptions(open_timeout_s=0.1, read_timeout_s=0.1)
    source = ReconnectingSource(cameras.connect, "fake:", options, said.append)
    frames = list(islice(source.frames(), 5))
    source.close()
    hung, good = cameras.made
    assert not hung.closed.is_set()
    assert good.closed.wait(5)
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert "nothing came in 2.1 s" in said[0]
    assert source.damage is not None
    assert "reads that hung and were left behind: 1" in source.damage
    hung.close()  # lets its thread go


def test_a_camera_that_never_was_there_is_an_error_at_once_and_one_that_was_is_waited_for() -> None:
    with pytest.raises(FileNotFoundError, match="no camera 987"):
        next(open_lasting("987", OPTIONS).frames())
    answers: list[Source | Exception] = [FakeSource(2), FileNotFoundError("no camera 0"), FakeSource(3)]

    def connect() -> Source:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    said: list[str] = []
    source = ReconnectingSource(connect, "camera 0", OPTIONS, said.append)
    frames = list(islice(source.frames(), 5))
    source.close()
    assert [frame.index for frame in frames] == list(range(5))
    assert [line.partition(":")[0] for line in said] == ["connection lost, trying again", "still no connection",
                                                         "camera 0"]  # fmt: skip


def test_an_address_of_no_known_kind_and_what_does_not_last_are_as_ever(make_clip: MakeClip) -> None:
    with pytest.raises(ValueError, match="unknown kind of address"):
        open_lasting("ftp://host/a", OPTIONS)
    for url in (str(make_clip()), "lavfi:testsrc2=size=64x48:rate=30:duration=0.2"):
        source = open_lasting(url, OPTIONS)
        assert not isinstance(source, ReconnectingSource)
        assert len(list(source.frames())) in (6, 10)
        source.close()


@pytest.mark.parametrize(
    ("failures", "longest_s"), [(1, 0.2), (2, 0.4), (3, 0.8), (4, LONGEST_WAIT_S), (10**6, LONGEST_WAIT_S)]
)
def test_pauses_double_up_to_the_longest_and_are_shortened_by_chance(failures: int, longest_s: float) -> None:
    assert pause_s(failures, 0.0) == pytest.approx(longest_s)
    assert pause_s(failures, 1.0) == pytest.approx(longest_s / 2)


def test_retries_below_none_are_refused() -> None:
    with pytest.raises(ValueError, match=r"retries must be 0 \(none\) or more, got -1"):
        SourceOptions(retries=-1)


def test_a_live_stream_that_changes_its_size_without_a_break_is_followed(film: bytes, big_film: bytes) -> None:
    with Camera(sends(film + big_film, freezes=True)) as camera, lasting(camera.url) as (source, said):
        frames = list(islice(source.frames(), 16))
    check_one_time_line(frames)
    assert [frame.image.shape[:2] for frame in frames][::15] == [(48, 64), (96, 128)]
    assert said == []
