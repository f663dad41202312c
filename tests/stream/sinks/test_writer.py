"""A thread around a slow sink."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import replace

import pytest
from fakes import FakeSink, make_result

from stream.age import AgeLimit
from stream.meter import Meter
from stream.sinks.writer import QUEUE, Writer


def test_everything_arrives_in_order_and_the_sink_is_closed_once() -> None:
    sink, meter = FakeSink(), Meter()
    writer = Writer(sink, "out.mp4", meter)
    for index in range(20):
        writer.write(make_result(index), None)
    writer.close()
    assert sink.indices == list(range(20))
    assert sink.closed == 1
    assert [(stage.name, stage.calls) for stage in meter.stages()] == [("write out.mp4", 20)]


def test_a_slow_sink_makes_the_caller_wait_and_loses_nothing() -> None:
    gate = threading.Event()
    sink = FakeSink(gate=gate)
    writer = Writer(sink, "slow", Meter())
    queued = threading.Semaphore(0)

    def produce() -> None:
        for index in range(QUEUE + 5):
            writer.write(make_result(index), None)
            queued.release()

    producer = threading.Thread(target=produce)
    producer.start()
    for _ in range(QUEUE):
        assert queued.acquire(timeout=5)
    assert sink.indices == []
    gate.set()
    producer.join(5)
    writer.close()
    assert sink.indices == list(range(QUEUE + 5))


def test_a_frame_that_grew_too_old_in_the_queue_never_reaches_the_sink() -> None:
    results = [make_result(index) for index in range(3)]
    too_old = replace(results[1], frame=replace(results[1].frame, captured_ns=results[1].frame.captured_ns - 10**9))
    sink, meter = FakeSink(), Meter()
    now_ns = results[0].frame.captured_ns + 500_000_000
    writer = Writer(sink, "out.mp4", meter, AgeLimit(0.8, lambda: now_ns))
    for result in (results[0], too_old, results[2]):
        writer.write(result, None)
    writer.close()
    assert sink.indices == [0, 2]
    assert writer.warnings == ("out.mp4: 1 frame left out, older than 800 ms in its queue",)
    assert meter.age_at("out.mp4").count == 2
    assert meter.age_at("out.mp4").percentile_s(50) == pytest.approx(0.5, rel=0.02)


def test_without_a_limit_nothing_is_left_out() -> None:
    old = make_result(0)
    sink = FakeSink()
    writer = Writer(sink, "out.mp4", Meter())
    writer.write(replace(old, frame=replace(old.frame, captured_ns=0)), None)
    writer.close()
    assert sink.indices == [0]
    assert writer.warnings == ()


def write_twenty(sink: FakeSink) -> None:
    with ExitStack() as stack:
        writer = Writer(sink, "full", Meter())
        stack.callback(writer.close)
        for index in range(20):
            writer.write(make_result(index), None)


@pytest.mark.parametrize("fail_at", [2, 19])
def test_an_error_of_the_sink_is_raised_in_whoever_writes_or_closes_and_the_sink_is_closed(fail_at: int) -> None:
    sink = FakeSink(fail_at=fail_at)
    with pytest.raises(OSError, match="disk full"):
        write_twenty(sink)
    assert sink.indices == list(range(fail_at))
    assert sink.closed == 1
