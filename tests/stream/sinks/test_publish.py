"""Sending pictures to a server that may be slow, away or dead, by a transmitter that does as it is told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from fakes import make_frame, make_result

from stream.age import AgeLimit
from stream.frame import Frame
from stream.meter import Meter
from stream.pipeline import Result
from stream.sinks.base import Picture
from stream.sinks.publish import PublishSink, publish
from stream.sinks.target import check_free, clear, target_of
from stream.sinks.transmitter import RefusedError
from stream.sinks.video import VideoOptions
from stream.source import SourceInfo, StreamError

INFO = SourceInfo("fake", "fake:", (48, 64), Fraction(1, 25), Fraction(25), live=True)
FILM = replace(INFO, live=False)


class FakeTransmitter:
    """Goes through `connects` and `sends`, each an error to raise or None; what is beyond them works.

    With a `gate`, sending waits for it, or for `kill`.
    """

    def __init__(
        self,
        connects: list[Exception | None] | None = None,
        sends: list[Exception | None] | None = None,
        gate: threading.Event | None = None,
        *,
        leaves_badly: bool = False,
    ) -> None:
        self._leaves_badly = leaves_badly
        self._connects, self._sends, self._gate = connects or [], sends or [], gate
        self.sizes: list[tuple[int, int]] = []
        self.indices: list[int] = []
        self.disconnects = 0
        self.attempts = 0
        self.is_closed = self.is_killed = False
        self.has_connected = threading.Event()
        self.is_sending = threading.Event()
        self.has_sent = threading.Semaphore(0)

    def connect(self, info: SourceInfo, sound_format: bytes | None) -> str:
        self.attempts += 1
        if self._connects and (error := self._connects.pop(0)):
            raise error
        self.sizes.append(info.size)
        self.has_connected.set()
        return "encoder: fake"

    def send(self, frame: Frame, picture: Picture) -> None:
        self.is_sending.set()
        if self._gate is not None:
            assert self._gate.wait(10)
        if self.is_killed:
            raise StreamError("killed")
        error = self._sends.pop(0) if self._sends else None
        if error is None:
            self.indices.append(frame.index)
        self.has_sent.release()
        if error is not None:
            raise error

    def disconnect(self) -> None:
        self.disconnects += 1
        if self._leaves_badly:
            raise StreamError("no answer")

    def kill(self) -> None:
        self.is_killed = True
        if self._gate is not None:
            self._gate.set()

    def close(self) -> None:
        self.is_closed = True


def picture_of(result: Result) -> Picture:
    return Picture(result.frame.image, np.zeros((0, 4), np.int32))


def write(sink: PublishSink, index: int) -> None:
    result = make_result(index)
    sink.write(result, picture_of(result))


def connected(transmitter: FakeTransmitter, sink: PublishSink) -> None:
    """Write frame 0, which the connection takes its time for."""
    write(sink, 0)
    assert transmitter.has_connected.wait(5)


def write_and_wait(transmitter: FakeTransmitter, sink: PublishSink, index: int) -> None:
    write(sink, index)
    assert transmitter.has_sent.acquire(timeout=5)


def open_sink(
    transmitter: FakeTransmitter, say: Callable[[str], None] = lambda line: None, **options: object
) -> PublishSink:
    info = options.pop("info", INFO)
    return PublishSink(transmitter, "rtsp://host/cam", lambda: info, Meter(), say=say, **options)  # type: ignore[arg-type]


def test_pictures_are_sent_in_order_once_there_is_a_connection() -> None:
    transmitter, said = FakeTransmitter(), []
    sink = open_sink(transmitter, said.append)
    connected(transmitter, sink)
    for index in (1, 2, 3):
        write_and_wait(transmitter, sink, index)
    sink.close()
    assert transmitter.indices == [1, 2, 3]
    assert sink.frames_sent == 3
    assert (transmitter.disconnects, transmitter.is_closed, transmitter.is_killed) == (1, True, False)
    assert said == ["rtsp://host/cam: connected, encoder: fake"]
    assert sink.warnings == ("rtsp://host/cam: 1 frame not sent",)


def test_a_server_that_takes_nothing_never_makes_the_writer_wait() -> None:
    transmitter = FakeTransmitter(gate=threading.Event())
    sink = open_sink(transmitter)
    connected(transmitter, sink)
    write(sink, 1)
    assert transmitter.is_sending.wait(5)
    for index in range(2, 1002):
        write(sink, index)
    sink.close()
    assert transmitter.is_killed
    assert transmitter.is_closed
    assert transmitter.indices == []
    assert sink.warnings == ("rtsp://host/cam: lost once, for 0.0 s in all, 1002 frames not sent",)


def test_the_newest_pictures_win_and_a_slow_server_is_told_of_once() -> None:
    gate, said = threading.Event(), []
    transmitter = FakeTransmitter(gate=gate)
    sink = open_sink(transmitter, said.append)
    connected(transmitter, sink)
    write(sink, 1)
    assert transmitter.is_sending.wait(5)
    for index in range(2, 102):
        write(sink, index)
    gate.set()
    sink.close()
    assert transmitter.indices == [1, 100, 101]
    assert said[1:] == ["rtsp://host/cam: slower than the pictures come; the newest are sent, the others left out"]
    assert sink.warnings == ("rtsp://host/cam: 99 frames not sent",)


def test_a_lost_server_is_connected_again_and_what_failed_is_told_once() -> None:
    away, said = StreamError("rtsp://host/cam: away"), []
    transmitter = FakeTransmitter([None, away, away], [None, StreamError("rtsp://host/cam: broke off")])
    sink = open_sink(transmitter, said.append)
    connected(transmitter, sink)
    transmitter.has_connected.clear()
    write_and_wait(transmitter, sink, 1)
    write_and_wait(transmitter, sink, 2)
    write(sink, 3)
    assert transmitter.has_connected.wait(5)
    write_and_wait(transmitter, sink, 4)
    sink.close()
    assert transmitter.indices == [1, 4]
    assert transmitter.attempts == 4
    assert said[1:3] == [
        "connection lost, trying again: rtsp://host/cam: broke off",
        "no connection yet, trying again: rtsp://host/cam: away",
    ]
    assert said[3].startswith("rtsp://host/cam: back after ")
    assert len(said) == 4
    assert sink.warnings[0].startswith("rtsp://host/cam: lost once, for ")


def test_a_refusal_ends_the_stream_at_once() -> None:
    transmitter = FakeTransmitter([RefusedError("rtsp://host/cam: wrong password")])
    sink = open_sink(transmitter)
    write(sink, 0)
    sink._thread.join(5)
    with pytest.raises(RefusedError, match="wrong password"):
        write(sink, 1)
    sink.close(failed=True)
    assert transmitter.is_closed
    assert transmitter.attempts == 1


def test_a_stream_that_never_was_is_a_failure_unless_the_run_was_stopped() -> None:
    for stopped in (False, True):
        event = threading.Event()
        said = threading.Event()
        transmitter = FakeTransmitter([StreamError("rtsp://host/cam: away")] * 100)
        sink = open_sink(transmitter, lambda line, said=said: said.set(), stopped=event)
        write(sink, 0)
        assert said.wait(5)
        if stopped:
            event.set()
            sink.close()
        else:
            with pytest.raises(StreamError, match="nothing was sent, as rtsp://host/cam: away"):
                sink.close()


def test_a_connection_that_had_no_time_for_a_picture_is_no_failure() -> None:
    transmitter = FakeTransmitter()
    sink = open_sink(transmitter)
    connected(transmitter, sink)
    sink.close()
    assert transmitter.indices == []
    assert sink.warnings == ("rtsp://host/cam: 1 frame not sent",)


def test_a_connection_that_is_not_there_in_time_is_a_failure_but_not_that_we_break_it_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Connecting(FakeTransmitter):
        def connect(self, info: SourceInfo, sound_format: bytes | None) -> str:
            assert gate.wait(10)
            raise StreamError("killed")

    monkeypatch.setattr("stream.sinks.publish.CLOSE_S", 0.01)
    gate = threading.Event()
    sink = open_sink(Connecting(gate=gate))
    write(sink, 0)
    with pytest.raises(StreamError, match="nothing was sent, as there was no connection before the end"):
        sink.close()


def test_what_is_not_live_loses_nothing() -> None:
    transmitter = FakeTransmitter()
    sink = open_sink(transmitter, info=FILM, is_kept=True)
    for index in range(200):
        write(sink, index)
    sink.close()
    assert transmitter.indices == list(range(200))
    assert sink.warnings == ()


def test_what_is_not_live_fails_where_sending_does() -> None:
    transmitter = FakeTransmitter(sends=[None, StreamError("out.m3u8: no space left")])
    sink = open_sink(transmitter, info=FILM, is_kept=True)
    write(sink, 0)
    write(sink, 1)
    with pytest.raises(StreamError, match="no space left"):
        sink.close()
    assert transmitter.attempts == 1


def test_another_size_begins_the_stream_anew() -> None:
    transmitter, said = FakeTransmitter(), []
    sink = open_sink(transmitter, said.append, info=FILM, is_kept=True)
    write(sink, 0)
    larger = make_result(1)
    larger = replace(larger, frame=make_frame(1, size=(96, 128)))
    sink.write(larger, picture_of(larger))
    sink.close()
    assert transmitter.sizes == [(48, 64), (96, 128)]
    assert transmitter.indices == [0, 1]
    assert transmitter.disconnects == 2
    assert said[1:] == ["rtsp://host/cam: the pictures are 128x96 now; the stream begins anew"]


def test_what_grew_too_old_in_the_queue_is_not_sent() -> None:
    transmitter = FakeTransmitter()
    meter = Meter()
    results = [make_result(index) for index in range(3)]
    now_ns = results[0].frame.captured_ns + 500_000_000
    limit = AgeLimit(0.8, lambda: now_ns)
    sink = PublishSink(transmitter, "x", lambda: FILM, meter, limit, is_kept=True)
    results[1] = replace(results[1], frame=replace(results[1].frame, captured_ns=now_ns - 10**9))
    for result in results:
        sink.write(result, picture_of(result))
    sink.close()
    assert transmitter.indices == [0, 2]
    assert meter.age_at("x").count == 2
    assert sink.warnings == ("x: 1 frame not sent",)


@pytest.mark.parametrize("info", [INFO, FILM])
def test_a_server_that_lets_us_not_go_fails_only_what_is_kept(info: SourceInfo) -> None:
    transmitter = FakeTransmitter(leaves_badly=True)
    sink = open_sink(transmitter, info=info, is_kept=True)
    connected(transmitter, sink)
    write_and_wait(transmitter, sink, 1)
    if info.live:
        sink.close()
    else:
        with pytest.raises(StreamError, match="no answer"):
            sink.close()
    assert (transmitter.disconnects, transmitter.is_closed) == (1, True)


def test_a_sink_that_was_never_written_to_is_closed_in_silence() -> None:
    transmitter = FakeTransmitter()
    sink = open_sink(transmitter)
    sink.close()
    assert transmitter.attempts == 0


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (
            "ftp://host/x",
            r"ftp://host/x: nothing is sent to ftp://; there are rtsp, rtsps, rtmp, rtmps, udp and folders",
        ),
        ("udp://127.0.0.1", "udp://127.0.0.1: the address names no port"),
        ("rtsp:///cam", "rtsp:///cam: the address names no host"),
        ("rtmp://host/", "rtmp://host/: the address names no stream; write for example rtmp://127.0.0.1/live/cam"),
        ("a%d/x.m3u8", "a%d/x.m3u8: players would misread a %"),
        ("a/x:y.m3u8", "a/x:y.m3u8: players would misread"),
        ("ftp://me:secret@host/x", "^ftp://host/x"),
    ],
)
def test_an_address_that_cannot_be_is_refused_at_once(output: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_published(output)


def test_an_unknown_encoder_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="encoder h264_magic: not in this FFmpeg"):
        open_published("udp://127.0.0.1:9", VideoOptions(encoder="h264_magic"))


def test_a_playlist_that_exists_is_kept_unless_it_may_be_replaced_with_its_segments(tmp_path: Path) -> None:
    playlist = tmp_path / "live.m3u8"
    for name in ("live.m3u8", "live-000007.ts", "live-2.ts", "other-000007.ts"):
        (tmp_path / name).write_text("x")
    with pytest.raises(FileExistsError, match=r"live.m3u8: exists already; name another output or give --overwrite"):
        open_published(str(playlist))
    open_published(str(playlist), overwrite=True)
    assert len(list(tmp_path.iterdir())) == 4  # nothing is deleted before there is a first picture
    clear(target_of(str(playlist)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["live-2.ts", "other-000007.ts"]


def test_files_with_names_like_segments_are_kept(tmp_path: Path) -> None:
    recording, segment = tmp_path / "cam-20261122.ts", tmp_path / "cam-000001.ts"
    target = target_of(str(tmp_path / "cam.m3u8"))
    recording.touch()
    check_free(target, overwrite=False)
    segment.touch()
    with pytest.raises(FileExistsError, match=r"cam-000001\.ts: exists already"):
        check_free(target, overwrite=False)
    clear(target)
    assert list(tmp_path.iterdir()) == [recording]


def test_a_folder_that_cannot_be_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StreamError, match=r"live.m3u8: cannot be written \(.+\); choose another folder"):
        open_published(str(tmp_path / "file" / "live.m3u8"))


def open_published(output: str, options: VideoOptions | None = None, *, overwrite: bool = False) -> PublishSink:
    return publish(
        output,
        lambda: INFO,
        options or VideoOptions(),
        Meter(),
        AgeLimit(),
        stopped=threading.Event(),
        overwrite=overwrite,
    )
