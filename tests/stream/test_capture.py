"""One source, one thread, one slot."""

from __future__ import annotations

import threading

import pytest
from fakes import FakeSource

from stream.buffer import FrameBuffer
from stream.capture import Capture
from stream.frame import Frame
from stream.source import StreamError


def read_all(buffer: FrameBuffer[Frame]) -> list[int]:
    indices: list[int] = []
    while frames := buffer.get():
        indices += [frame.index for frame in frames]
    return indices


def test_every_frame_of_a_file_arrives_and_the_source_is_closed() -> None:
    source = FakeSource(50)
    buffer: FrameBuffer[Frame] = FrameBuffer(["fake"], 2, drop_oldest=False)
    with Capture(source, buffer, "fake") as capture:
        capture.start()
        assert read_all(buffer) == list(range(50))
        assert not source.closed.is_set()
    assert source.closed.is_set()


def test_an_error_of_the_source_reaches_the_reader_after_its_frames() -> None:
    buffer: FrameBuffer[Frame] = FrameBuffer(["fake"], 5, drop_oldest=False)
    with Capture(FakeSource(3, error=StreamError("cable pulled")), buffer, "fake") as capture:
        capture.start()
        assert [buffer.get()[0].index for _ in range(3)] == [0, 1, 2]
        with pytest.raises(StreamError, match="cable pulled"):
            buffer.get()


def test_leaving_early_ends_the_thread() -> None:
    source = FakeSource(10_000)
    buffer: FrameBuffer[Frame] = FrameBuffer(["fake"], 1, drop_oldest=False)
    with Capture(source, buffer, "fake") as capture:
        capture.start()
        assert buffer.get()[0].index == 0
        assert "capture fake" in [thread.name for thread in threading.enumerate()]
    assert "capture fake" not in [thread.name for thread in threading.enumerate()]
    assert source.closed.is_set()


def test_a_capture_that_was_never_started_closes_its_source() -> None:
    source = FakeSource(1)
    with Capture(source, FrameBuffer(["fake"], 1, drop_oldest=False), "fake"):
        pass
    assert source.closed.is_set()


def test_a_thread_that_hangs_is_left_behind_with_its_source_open() -> None:
    source = FakeSource(1, block=True)
    buffer: FrameBuffer[Frame] = FrameBuffer(["fake"], 1, drop_oldest=False)
    with Capture(source, buffer, "fake") as capture:
        capture.start()
        assert buffer.get()[0].index == 0
    assert capture.abandoned
    assert not source.closed.is_set()
    source.close()  # lets the thread go, for the next test
