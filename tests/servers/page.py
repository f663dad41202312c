"""The web page of sources that need no cameras: their states are set, their results written by the test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from fakes import make_result

from engines.results import Image
from stream.age import Drops
from stream.feed import FeedState, State
from stream.pipeline import Result
from stream.render import Style
from stream.sinks.web import open_web
from stream.web.options import ServeOptions


def make_state(name: str, state: State = State.PLAYING, **changes: Any) -> FeedState:
    begun = FeedState(
        name=name, state=state, live=True, size=(48, 64), frames=7, fps=24.96, age_s=0.048, ages_s=(0.045, 0.08, 0.12),
        people=2, people_seen=11, identities=3, drops=Drops(5, 2, 1), reconnects=4,
    )  # fmt: skip
    return replace(begun, **changes)


def result_of(source: str, index: int = 0, people: int = 1, image: Image | None = None) -> Result:
    """A result of (48, 64) pixels, or of those of `image`: the people are sticks from (12, 6) to (12, 38)."""
    result = make_result(index, people)
    pixels = result.frame.image if image is None else image
    return replace(result, frame=replace(result.frame, source_id=source, image=pixels))


class ServedPage:
    """A page on a free port, its `states`, and what was `said` of it."""

    def __init__(self, *names: str, **options: Any) -> None:
        self.states = {name: make_state(name) for name in names}
        self.said: list[str] = []
        chosen = ServeOptions(**{"address": "127.0.0.1:0", **options})
        self.sink = open_web(names, lambda: tuple(self.states.values()), chosen, Style(), self.said.append)
        self.url = self.sink.url.rstrip("/")

    def show(self, source: str, index: int = 0, people: int = 1, grey: int | None = None) -> None:
        """Write a result, on a picture all `grey` if there is one."""
        image = None if grey is None else np.full((48, 64, 3), grey, np.uint8)
        self.sink.write(result_of(source, index, people, image), None)


Serve = Callable[..., ServedPage]
"""Opens the page of sources of these names, with these options."""
