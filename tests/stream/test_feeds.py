"""Several sources in one run: each with its thread, its outputs and its faults."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import islice

import pytest
from fakes import FakeDetector, FakeEstimator, FakeSink, FakeSource, FakeTracker

from stream.age import AgeLimit, Drops
from stream.buffer import FrameBuffer
from stream.build_sinks import close_sink
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
    """A session of sources a, b, …, each with a sink of its own, and one sink for all."""

    def __init__(self, *sources: Source, gate: threading.Event | None = None) -> None:
        names = "abcdef"[: len(sources)]
        self.said: list[str] = []
        self.connected: list[str] = []
        self.buffer: FrameBuffer[Frame] = FrameBuffer(names, 2, drop_oldest=False)
        self.shared = FakeSink()
        self.sinks = [FakeSink(gate=gate) for _ in sources]
        meter = Meter()
        self.feeds = tuple(
            Feed(name, source, self.buffer, Painter(Style()), lambda feed: self.connected.append(feed.name))
            for name, source in zip(names, sources, strict=True)
        )
        for feed, sink in zip(self.feeds, self.sinks, strict=True):
            writer = Writer(sink, feed.name, meter)
            feed.sinks = (writer,)
            feed.outputs.push(partial(close_sink, writer))
        self.session = Session(
            feeds=self.feeds,
            meter=meter,
            notes=(),
            outputs=(),
            _most=1,
            _buffer=self.buffer,
            _pipeline=Pipeline(FakeDetector(), FakeEstimator(), FakeTracker, lambda _: None, meter),
            _shared=(self.shared,),
            _screen=None,
            _stopped=threading.Event(),
            _limit=AgeLimit(),
            _pace=DetectionPace(1, 8),
            _turns=Turns(len(sources)),
            _say=self.said.append,
        )

    @contextmanager
    def run(self) -> Iterator[Session]:
        with ExitStack() as stack:
            for feed in self.feeds:
                stack.callback(feed.capture.close)
                stack.callback(feed.interrupt)
                stack.enter_context(feed)
            yield self.session


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
        ("a", State.ENDED, 5, 1, 5, 1), ("b", State.ENDED, 3, 1, 3, 1), ("c", State.ENDED, 0, 0, 0, 0)
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


def test_an_output_that_cannot_be_finished_fails_the_run() -> None:
    rig = Rig(FakeSource(1), FakeSource(3))

    def full() -> None:
        raise StreamError("disk full")

    rig.feeds[0].outputs.callback(full)
    with pytest.raises(StreamError, match="disk full"), rig.run() as session:
        assert len(frames_of(session)["b"]) == 3


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
