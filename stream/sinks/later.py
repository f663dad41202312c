"""A sink that is opened when its first result comes, as only then its source is known."""

from __future__ import annotations

from collections.abc import Callable

from stream.pipeline import Result
from stream.sinks.base import Picture, Sink


class LaterSink:
    """Opens a sink by `open_sink` on the thread that writes the first result, and passes everything on to it."""

    def __init__(self, open_sink: Callable[[], Sink], *, needs_picture: bool) -> None:
        self.needs_picture = needs_picture
        self._open = open_sink
        self._sink: Sink | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those of the sink."""
        return () if self._sink is None else self._sink.warnings

    def write(self, result: Result, picture: Picture | None) -> None:
        """Pass one result on; raises what opening raises."""
        if self._sink is None:
            self._sink = self._open()
        self._sink.write(result, picture)

    def close(self, *, failed: bool = False) -> None:
        """Finish the output; without a result there is none."""
        if self._sink is not None:
            self._sink.close(failed=failed)
