"""SIGINT and SIGTERM end a training in good order."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def stopped_by_signals(halt: Callable[[], None]) -> Iterator[None]:
    """While open, the first of these signals calls `halt`; the second does what it did before."""
    before: dict[signal.Signals, Any] = {}

    def receive(_number: int, _frame: object) -> None:
        halt()
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, receive)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
