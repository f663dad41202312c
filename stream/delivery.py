"""Results to several outputs at once, of which one that fails ends alone, and all of which are finished together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from stream.pipeline import Result
from stream.sinks.base import Picture, Sink
from stream.source import StreamError

FAILURES = (StreamError, OSError, ValueError)
"""What an output raises that cannot go on: a full disk, a refused stream, a name that is taken."""


class Delivery:
    """The outputs of one source, or those of all sources.

    An output whose `write` fails is left and finished on the side; its error is handed to whoever writes, once, and
    kept in `failures`. Whoever opens a sink adds it, so that `close` finishes all that were opened.
    """

    def __init__(self) -> None:
        self.failures: list[Exception] = []
        self._sinks: list[Sink] = []
        self._left: list[Sink] = []
        self._finishing: list[threading.Thread] = []

    @property
    def is_open(self) -> bool:
        """Whether there is an output that goes on."""
        return bool(self._sinks)

    @property
    def needs_picture(self) -> bool:
        """Whether an output wants results drawn."""
        return any(sink.needs_picture for sink in self._sinks)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the outputs left out, a line each."""
        return tuple(line for sink in (*self._sinks, *self._left) for line in sink.warnings)

    def add(self, sink: Sink) -> None:
        """From now on the sink gets every result, and is finished by `close`."""
        self._sinks.append(sink)

    def write(self, result: Result, picture: Picture | None) -> list[Exception]:
        """Hand a result to all that go on; the errors of those that end by it."""
        errors: list[Exception] = []
        for sink in tuple(self._sinks):
            try:
                sink.write(result, picture if sink.needs_picture else None)
            except FAILURES as error:
                errors.append(error)
                self._leave(sink)
        self.failures += errors
        return errors

    def close(self, *, failed: bool = False) -> list[Exception]:
        """Finish all outputs, side by side, as the run left them; the errors of those that could not be finished.

        May be called again, and does nothing then.
        """
        sinks, self._sinks = self._sinks, []
        self._left += sinks
        errors = side_by_side(_closing(sink, failed=failed) for sink in sinks)
        for thread in self._finishing:
            thread.join()
        return errors

    def _leave(self, sink: Sink) -> None:
        """Finish an output that failed, while the others go on; that it failed is known already."""
        self._sinks.remove(sink)
        self._left.append(sink)
        close = _closing(sink, failed=True)
        thread = threading.Thread(target=lambda: side_by_side([close]), name="finish an output that failed")
        self._finishing.append(thread)
        thread.start()


def side_by_side(tasks: Iterable[Callable[[], object]]) -> list[Exception]:
    """Run all tasks at once, each on a thread of its own, and wait for them; what they raised, in their order."""
    errors: dict[int, Exception] = {}

    def run(number: int, task: Callable[[], object]) -> None:
        try:
            task()
        except Exception as error:  # noqa: BLE001 - not handled here, but handed to whoever waits
            errors[number] = error

    threads = [threading.Thread(target=run, args=pair, name=f"task {pair[0]}") for pair in enumerate(tasks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [errors[number] for number in sorted(errors)]


def _closing(sink: Sink, *, failed: bool) -> Callable[[], None]:
    return lambda: sink.close(failed=failed)
