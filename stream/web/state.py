"""What is told of the sources: as JSON, and whether all is well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from stream.feed import FeedState, State
from stream.web.board import Board

VERSION = 1
"""Of what the JSON looks like; keys may be added without a new one."""
_OVER = (State.ENDED, State.FAILED)

StatesOf = Callable[[], Sequence[FeedState]]
"""How it stands with each source; any thread may ask."""


def state_json(states: Sequence[FeedState]) -> dict[str, Any]:
    """All that is told of a run: no address, no path, no credential."""
    return {"version": VERSION, "sources": [_source_json(state) for state in states]}


def is_healthy(states: Sequence[FeedState], board: Board, since_ns: int, silent_s: float) -> bool:
    """Whether frames come of one live source at least, or of no live source any are to come.

    A source was silent from `since_ns`, the start of the server, to its first frame.
    """
    live = [state for state in states if state.live and state.state not in _OVER]
    return not live or any(board.silent_s(state.name, since_ns) <= silent_s for state in live)


def _source_json(state: FeedState) -> dict[str, Any]:
    p50, p95, p99 = (_ms(age_s) for age_s in state.ages_s)
    return {
        "name": state.name,
        "state": str(state.state),
        "live": state.live,
        "width": state.size[1] if state.size else None,
        "height": state.size[0] if state.size else None,
        "frames": state.frames,
        "fps": round(state.fps, 2),
        "age_ms": {"latest": _ms(state.age_s), "p50": p50, "p95": p95, "p99": p99},
        "people": state.people,
        "people_seen": state.people_seen,
        "identities": state.identities,
        "dropped": {
            "newer": state.drops.newer,
            "before_detection": state.drops.before_detection,
            "before_output": state.drops.before_output,
            "total": state.drops.total,
        },
        "reconnects": state.reconnects,
    }


def _ms(age_s: float) -> float:
    return round(age_s * 1e3, 1)
