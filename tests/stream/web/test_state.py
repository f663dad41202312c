"""What is told of the sources."""

from __future__ import annotations

import time

import pytest
from servers.page import make_state, result_of

from stream.feed import State
from stream.web.board import Board
from stream.web.metrics import RunMetrics
from stream.web.state import is_healthy, state_json


def test_the_json_of_a_source_holds_its_figures_and_nothing_else() -> None:
    assert state_json([make_state("door")]) == {
        "version": 1,
        "sources": [
            {
                "name": "door",
                "state": "playing",
                "live": True,
                "width": 64,
                "height": 48,
                "frames": 7,
                "fps": 24.96,
                "age_ms": {"latest": 48.0, "p50": 45.0, "p95": 80.0, "p99": 120.0},
                "people": 2,
                "people_seen": 11,
                "identities": 3,
                "dropped": {"newer": 5, "before_detection": 2, "before_output": 1, "total": 8},
                "reconnects": 4,
            }
        ],
    }


def test_a_source_that_was_never_there_has_no_size() -> None:
    (source,) = state_json([make_state("door", State.CONNECTING, size=None)])["sources"]
    assert (source["state"], source["width"], source["height"]) == ("connecting", None, None)


LOST, ENDED, PLAYING = State.LOST, State.ENDED, State.PLAYING


@pytest.mark.parametrize(
    ("states", "fresh", "healthy"),
    [
        ({"a": PLAYING}, {"a"}, True),
        ({"a": PLAYING}, set(), False),  # it says that it plays, but nothing comes
        ({"a": LOST, "b": PLAYING}, {"b"}, True),
        ({"a": LOST, "b": PLAYING}, set(), False),
        ({"a": ENDED}, set(), True),
        ({"a": State.FAILED, "b": LOST}, set(), False),
        ({"a": LOST}, {"a"}, True),  # lost just now
    ],
)
def test_all_is_well_while_one_live_source_has_frames(states: dict[str, State], fresh: set[str], healthy: bool) -> None:
    board = Board(tuple(states), str)
    for name in fresh:
        board.pin(name, result_of(name))
    an_hour_ago = time.monotonic_ns() - 3600 * 10**9
    assert is_healthy([make_state(*pair) for pair in states.items()], board, an_hour_ago, 60.0) is healthy


def test_a_live_source_has_as_long_to_come_as_to_be_silent() -> None:
    board, connecting = Board(("a",), str), [make_state("a", State.CONNECTING)]
    assert is_healthy(connecting, board, time.monotonic_ns(), 60.0)


def test_a_file_may_take_as_long_as_it_likes() -> None:
    board = Board(("a",), str)
    assert is_healthy([make_state("a", live=False)], board, 0, 1e-9)


def test_the_metrics_are_those_of_each_source() -> None:
    text = RunMetrics(lambda: [make_state("door"), make_state("yard", State.LOST, frames=0)], lambda: 3).text().decode()
    lines = text.splitlines()
    for line in (
        'posestream_frames_total{source="door"} 7.0',
        'posestream_people_seen_total{source="door"} 11.0',
        'posestream_identities_total{source="door"} 3.0',
        'posestream_reconnects_total{source="door"} 4.0',
        'posestream_fps{source="door"} 24.96',
        'posestream_people{source="door"} 2.0',
        'posestream_source_up{source="door"} 1.0',
        'posestream_source_up{source="yard"} 0.0',
        'posestream_frames_dropped_total{cause="newer",source="door"} 5.0',
        'posestream_frames_dropped_total{cause="before_detection",source="door"} 2.0',
        'posestream_frames_dropped_total{cause="before_output",source="door"} 1.0',
        "# TYPE posestream_frame_age_seconds summary",
        'posestream_frame_age_seconds{quantile="0.95",source="door"} 0.08',
        'posestream_frame_age_seconds_count{source="door"} 7.0',
        "posestream_web_clients 3.0",
    ):
        assert line in lines
    assert not [line for line in lines if line.startswith("posestream_frame_age_seconds") and "yard" in line]
