"""Several sources in one run: each with its thread, its outputs and its faults."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import pytest
from fakes import FakeDetector, FakeEstimator, FakeSink, FakeSource, FakeTracker, make_frame

from stream.age import AgeLimit, Drops
from stream.buffer import FrameBuffer
from stream.build import _leave
from stream.delivery import Delivery, side_by_side
from stream.feed import Feed, State
from stream.frame import Frame
from stream.meter import Meter
from stream.pace import DetectionPace
from stream.painter import Painter
from stream.pipeline import Pipeline
from stream.reconnect import ReconnectingSource
from stream.render import Style
from stream.session import Session
from stream.sinks.writer import Writer
from stream.source import Source, SourceOptions, StreamError
from stream.turns import Turns

WAIT_S = 10.0


class Rig:
    """A session of sources a, b, …, each with a sink of its own, and one sink for all unless `alone`."""

    def __init__(self, *sources: Source, gate: threading.Event | None = None, alone: bool = False) -> None:
        names = "abcdef"[: len(sources)]
        self.said: list[str] = []
        self.unfinished: list[Exception] = []
        self.connected: list[str] = []
        self.buffer: FrameBuffer[Frame] = FrameBuffer(names, 2, drop_oldest=False)
        self.shared = FakeSink()
        self.sinks = [FakeSink(gate=gate) for _ in sources]
        meter = Meter()
        self.feeds = tuple(
            Feed(
                name, source, self.buffer, Painter(Style()), lambda feed: self.connected.append(feed.name),
                several=len(sources) > 1,
            )
            for name, source in zip(names, sources, strict=True)
        )  # fmt: skip
        self.delivery = Delivery()
        if not alone:
            self.delivery.add(self.shared)
        for feed, sink in zip(self.feeds, self.sinks, strict=True):
            feed.outputs.add(Writer(sink, feed.name, meter))
        self.session = Session(
            feeds=self.feeds,
            meter=meter,
            notes=(),
            outputs=(),
            models="",
            _most=1,
            _buffer=self.buffer,
            _pipeline=Pipeline(FakeDetector(), FakeEstimator(), FakeTracker, lambda _: None, meter),
            _shared=self.delivery,
            _screen=None,
            _stopped=threading.Event(),
            _limit=AgeLimit(),
            _pace=DetectionPace(1, 8),
            _turns=Turns(len(sources)),
            _say=self.said.append,
        )

    @contextmanager
    def run(self) -> Iterator[Session]:
        try:
            yield self.session
        finally:
            for feed in self.feeds:
                feed.interrupt()
            side_by_side(feed.capture.close for feed in self.feeds)
            self.unfinished = [error for feed in self.feeds for error in feed.finish()]
            assert self.delivery.close() == []


def frames_of(session: Session, most: int | None = None) -> dict[str, list[int]]:
    """The indices of the frames that come, by their source."""
    found: dict[str, list[int]] = {}
    for result in islice(session, most):
        found.setdefault(result.frame.source_id, []).append(result.frame.index)
    return found


def test_each_source_fills_its_own_outputs_and_all_fill_those_for_all() -> None:
    rig = Rig(FakeSource(5), FakeSource(3), FakeSource(0))
    with rig.run() as session:
        assert frames_of(session) == {"a": [0, 1, 2, 3, 4], "b": [0, 1, 2]}
    assert session.is_at_end
    assert not session.damaged
    assert [sink.indices for sink in rig.sinks] == [[0, 1, 2, 3, 4], [0, 1, 2], []]
    assert len(rig.shared.indices) == 8
    assert [sink.closed for sink in rig.sinks] == [1, 1, 1]
    assert [(s.name, s.state, s.frames, s.people, s.people_seen, s.identities) for s in session.states()] == [
        ("a", State.ENDED, 5, 0, 5, 1), ("b", State.ENDED, 3, 0, 3, 1), ("c", State.ENDED, 0, 0, 0, 0)
    ]  # fmt: skip
    assert rig.connected == []  # what needs no connection was known before


def test_a_source_that_fails_ends_alone_and_is_told() -> None:
    rig = Rig(FakeSource(2, error=StreamError("cable pulled")), FakeSource(30))
    with rig.run() as session:
        assert frames_of(session) == {"a": [0, 1], "b": list(range(30))}
    assert rig.said == ["source a has failed, the others go on: cable pulled"]
    assert session.warnings == ("a: cable pulled",)
    assert session.damaged
    assert [sink.closed for sink in rig.sinks] == [1, 1]
    assert [state.state for state in session.states()] == [State.FAILED, State.ENDED]


def test_the_last_of_several_to_fail_is_the_error_of_the_run() -> None:
    rig = Rig(FakeSource(1, error=StreamError("a is gone")), FakeSource(9, error=StreamError("b is gone")))
    with pytest.raises(StreamError, match="b is gone"), rig.run() as session:
        frames_of(session)
    assert rig.said == ["source a has failed, the others go on: a is gone"]
    assert [sink.closed for sink in rig.sinks] == [1, 1]


def test_a_source_that_fails_after_another_came_to_its_end_fails_alone() -> None:
    rig = Rig(FakeSource(1), FakeSource(9, error=StreamError("b is gone")))
    with rig.run() as session:
        assert frames_of(session) == {"a": [0], "b": list(range(9))}
    assert session.damaged


def test_the_only_source_to_fail_is_the_error_of_the_run() -> None:
    rig = Rig(FakeSource(1, error=StreamError("cable pulled")))
    with pytest.raises(StreamError, match="cable pulled"), rig.run() as session:
        frames_of(session)
    assert rig.said == []


def test_a_source_that_freezes_holds_up_no_other() -> None:
    frozen = FakeSource(2, block=True)
    rig = Rig(frozen, FakeSource(40))
    with rig.run() as session:
        assert frames_of(session, 42) == {"a": [0, 1], "b": list(range(40))}
        frozen.close()


def test_the_outputs_of_a_source_that_ended_are_finished_without_holding_up_the_others() -> None:
    gate = threading.Event()
    rig = Rig(FakeSource(1), FakeSource(3), gate=gate)
    with rig.run() as session:
        assert frames_of(session) == {"a": [0], "b": [0, 1, 2]}
        assert rig.sinks[0].closed == 0  # still waits for its slow disk
        gate.set()
    assert [sink.closed for sink in rig.sinks] == [1, 1]


def fails(rig: Rig, source: int, error: Exception) -> None:
    """Let one more output of a source fail when it is finished."""
    sink = FakeSink()

    def close(*, failed: bool = False) -> None:
        raise error

    sink.close = close  # type: ignore[method-assign]
    rig.feeds[source].outputs.add(sink)


def test_an_output_of_one_source_among_several_that_cannot_be_finished_is_told_at_once() -> None:
    rig = Rig(FakeSource(1), FakeSource(3))
    fails(rig, 0, StreamError("disk full"))
    with rig.run() as session:
        assert len(frames_of(session)["b"]) == 3
    assert rig.said == ["an output could not be finished: disk full"]
    assert (rig.unfinished, session.warnings, session.damaged) == ([], ("disk full",), True)


def test_an_output_of_the_only_source_that_cannot_be_finished_is_told_to_who_finishes() -> None:
    rig = Rig(FakeSource(1))
    error = StreamError("disk full")
    fails(rig, 0, error)
    with rig.run() as session:
        frames_of(session)
    assert rig.unfinished == [error]
    assert (rig.said, session.warnings) == ([], ())


def test_an_output_that_fails_ends_alone_while_there_are_others() -> None:
    rig = Rig(FakeSource(20), FakeSource(20))
    broken = FakeSink(fail_at=5)
    rig.feeds[0].outputs.add(broken)
    with rig.run() as session:
        assert frames_of(session) == {"a": list(range(20)), "b": list(range(20))}
    assert rig.said == ["this output ends, the others go on: disk full"]
    assert (session.warnings, session.damaged) == (("disk full",), True)
    assert (broken.indices, broken.closed) == ([0, 1, 2, 3, 4], 1)
    assert rig.sinks[0].indices == list(range(20))


def test_a_source_ends_with_the_last_output_that_it_has() -> None:
    rig = Rig(FakeSource(20), FakeSource(20), alone=True)
    rig.sinks[0]._fail_at = 5
    with rig.run() as session:
        found = frames_of(session)
    assert found["b"] == list(range(20))
    assert len(found["a"]) < 20
    assert rig.said == ["source a has failed, the others go on: disk full"]
    assert (session.warnings, session.damaged) == (("a: disk full",), True)
    assert [state.state for state in session.states()] == [State.FAILED, State.ENDED]


def test_the_run_fails_with_the_last_output_of_all() -> None:
    rig = Rig(FakeSource(1000), FakeSource(1000), alone=True)
    broken = FakeSink(fail_at=5)
    for feed in rig.feeds:
        feed.outputs.close()  # they have nothing of their own
    rig.delivery.add(broken)
    with pytest.raises(OSError, match="disk full"), rig.run() as session:
        frames_of(session)
    assert (rig.said, session.warnings) == ([], ())  # it is raised, and not told as well


def test_an_error_of_the_run_is_no_warning_as_well() -> None:
    rig = Rig(FakeSource(1, error=StreamError("cable pulled")))
    with pytest.raises(StreamError, match="cable pulled"), rig.run() as session:
        frames_of(session)
    assert session.warnings == ()


def test_a_source_that_fails_once_the_run_was_stopped_does_not_fail_it() -> None:
    rig = Rig(FakeSource(3, error=StreamError("cut off")))
    with rig.run() as session:
        for result in session:
            if result.frame.index == 2:
                session._stopped.set()
    assert not session.is_at_end


def test_nobody_goes_on_after_the_last() -> None:
    rig = Rig(FakeSource(1), FakeSource(9, error=StreamError("b is gone")))
    with rig.run() as session:
        frames_of(session)
    assert rig.said == ["source b has failed: b is gone"]


class Shots(FakeSource):
    """Still pictures, which bear their own names."""

    def frames(self) -> Iterator[Frame]:
        for index in range(self.count):
            yield make_frame(index, source_id=f"{index}.jpg", still=True)


def test_pictures_of_several_sources_are_told_apart_and_those_of_one_keep_their_names() -> None:
    for sources, names in ((2, ["a/0.jpg", "b/0.jpg"]), (1, ["0.jpg"])):
        rig = Rig(*(Shots(1) for _ in range(sources)))
        with rig.run() as session:
            assert sorted(frames_of(session)) == names


def test_outputs_that_hang_are_finished_side_by_side() -> None:
    all_wait = threading.Barrier(4)

    class Slow(FakeSink):
        def close(self, *, failed: bool = False) -> None:
            all_wait.wait(WAIT_S)  # breaks unless all four are being finished at once

    delivery = Delivery()
    for _ in range(4):
        delivery.add(Slow())
    assert delivery.close() == []
    assert delivery.close() == []


def test_a_run_finishes_all_that_hangs_side_by_side() -> None:
    all_wait = threading.Barrier(5)

    class Slow(FakeSink):
        def close(self, *, failed: bool = False) -> None:
            all_wait.wait(WAIT_S)

    class Stuck(FakeSource):
        def close(self) -> None:
            all_wait.wait(WAIT_S)

    rig = Rig(Stuck(0), Stuck(0))
    rig.delivery.add(Slow())
    for feed in rig.feeds:
        feed.outputs.add(Slow())
    _leave(rig.feeds, rig.delivery, rig.said.append, None, None, None)
    assert rig.said == []


class Camera:
    """Connections one after another: each gives two frames, then fails, until `gone`; then it hangs until closed."""

    def __init__(self, lasts: int) -> None:
        self.left = lasts
        self.last: FakeSource | None = None
        self.is_gone = threading.Event()

    def connect(self) -> Source:
        self.left -= 1
        if self.left < 0:
            self.is_gone.set()
            raise StreamError("fake: nobody answers")
        self.last = FakeSource(2, live=True)
        return self.last


def connecting(lasts: int) -> tuple[ReconnectingSource, Camera, list[str]]:
    camera, said = Camera(lasts), []
    return ReconnectingSource(camera.connect, "fake:", SourceOptions(), said.append), camera, said


def test_a_camera_that_never_answers_holds_up_no_other_and_says_so_by_its_state() -> None:
    source, camera, _ = connecting(0)
    rig = Rig(source, FakeSource(40))
    with rig.run() as session:
        assert frames_of(session, 40) == {"b": list(range(40))}
        assert camera.is_gone.wait(WAIT_S)
        state = session.states()[0]
        assert (state.state, state.size, state.live, state.drops) == (State.CONNECTING, None, True, Drops())
    assert rig.connected == []
    assert rig.sinks[0].closed == 1


def test_a_camera_is_known_with_its_first_frame_and_its_losses_are_counted() -> None:
    source, camera, said = connecting(2)
    rig = Rig(source)
    with rig.run() as session:
        assert not rig.feeds[0].is_known
        with pytest.raises(StreamError, match="nothing is known of it before it is connected"):
            _ = rig.feeds[0].info
        assert frames_of(session, 4) == {"a": [0, 1, 2, 3]}
        assert camera.is_gone.wait(WAIT_S)
        state = session.states()[0]
        assert (state.state, state.size, state.frames) == (State.LOST, (48, 64), 4)
        assert state.reconnects == 2
        assert rig.feeds[0].info.source_id == "a"
    assert rig.connected == ["a"]
    assert [line.partition(":")[0] for line in said[:2]] == ["connection lost, trying again", "fake"]
