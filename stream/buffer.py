"""The hand-over between threads: bounded slots under one Condition."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class FrameBuffer(Generic[T]):
    """Bounded slots, one per producer, read by one consumer.

    A full slot makes its producer wait, or with `drop_oldest` loses its oldest item, which is counted. A slot is closed
    by its producer (its items are still read, then its error, if any, is raised in the reader) or, with all others, by
    the reader, who wants no more.
    """

    def __init__(self, slots: Sequence[str], capacity: int, *, drop_oldest: bool) -> None:
        if capacity < 1 or not slots:
            raise ValueError(f"a buffer needs a slot and room for an item, got {len(slots)} slots of {capacity}")
        self._capacity = capacity
        self._drop_oldest = drop_oldest
        self._items: dict[str, deque[T]] = {slot: deque() for slot in slots}
        self._open = set(slots)
        self._errors: dict[str, BaseException] = {}
        self._dropped = dict.fromkeys(slots, 0)
        self._changed = threading.Condition()

    def put(self, slot: str, item: T) -> bool:
        """Hand over one item, waiting for room unless the oldest is dropped; False if the slot is closed to it."""
        with self._changed:
            items = self._items[slot]
            while slot in self._open and len(items) >= self._capacity:
                if self._drop_oldest:
                    items.popleft()
                    self._dropped[slot] += 1
                else:
                    self._changed.wait()
            if slot not in self._open:
                return False
            items.append(item)
            self._changed.notify_all()
            return True

    def get(self, most: int = 1, timeout_s: float | None = None) -> list[T]:
        """Wait for any slot, then take the oldest items, `most` of each slot; empty when all are closed and read.

        Raises a producer's error once every item before it has been read, TimeoutError where nothing came in time.
        """
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while True:
                ready = [items.popleft() for items in self._items.values() for _ in range(min(most, len(items)))]
                if ready:
                    self._changed.notify_all()
                    return ready
                if self._errors:
                    raise self._errors.pop(next(iter(self._errors)))
                if not self._open:
                    return []
                rest_s = None if until_s is None else until_s - time.monotonic()
                if rest_s is not None and rest_s <= 0:
                    raise TimeoutError(f"nothing came in {timeout_s:g} s")
                self._changed.wait(rest_s)

    def close(self, slot: str, error: BaseException | None = None) -> None:
        """The producer of `slot` is done, or has failed with `error`."""
        with self._changed:
            if slot in self._open:
                self._open.discard(slot)
                if error is not None:
                    self._errors[slot] = error
            self._changed.notify_all()

    def abandon(self) -> None:
        """The reader wants no more: what waits is thrown away, and producers that wait are turned away."""
        with self._changed:
            self._open.clear()
            self._errors.clear()
            for items in self._items.values():
                items.clear()
            self._changed.notify_all()

    def dropped(self, slot: str) -> int:
        """How many items of `slot` were dropped for newer ones."""
        with self._changed:
            return self._dropped[slot]
