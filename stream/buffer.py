"""The hand-over between threads: bounded slots under one Condition."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Taken(Generic[T]):
    """What a reader got at once: (slot, item) in the order of the slots, and the slots that ended, with their errors.

    Nothing of either means that all slots have ended.
    """

    items: list[tuple[str, T]]
    ended: dict[str, BaseException | None]


class FrameBuffer(Generic[T]):
    """Bounded slots, one per producer, read by one consumer.

    A full slot makes its producer wait, or with `drop_oldest` loses its oldest item, which is counted; `set_policy`
    says so for one slot. A slot is closed by its producer (its items are still read, then its end and its error, if
    any, are told) or, with all others, by the reader, who wants no more.
    """

    def __init__(self, slots: Sequence[str], capacity: int, *, drop_oldest: bool) -> None:
        if capacity < 1 or not slots:
            raise ValueError(f"a buffer needs a slot and room for an item, got {len(slots)} slots of {capacity}")
        self._slots: dict[str, _Slot[T]] = {slot: _Slot(capacity, drop_oldest) for slot in slots}
        self._changed = threading.Condition()

    def set_policy(self, slot: str, capacity: int, *, drop_oldest: bool) -> None:
        """From now on `slot` holds so many items, and loses the oldest or makes its producer wait."""
        with self._changed:
            self._slots[slot].capacity, self._slots[slot].drop_oldest = capacity, drop_oldest
            self._changed.notify_all()

    def put(self, slot: str, item: T) -> bool:
        """Hand over one item, waiting for room unless the oldest is dropped; False if the slot is closed to it."""
        with self._changed:
            state = self._slots[slot]
            while state.is_open and len(state.items) >= state.capacity:
                if state.drop_oldest:
                    state.items.popleft()
                    state.dropped += 1
                else:
                    self._changed.wait()
            if not state.is_open:
                return False
            state.items.append(item)
            self._changed.notify_all()
            return True

    def get(self, most: int = 1, timeout_s: float | None = None) -> list[T]:
        """Wait for any slot, then take the oldest items, `most` of each slot; empty when all are closed and read.

        Raises a producer's error once every item before it has been read, TimeoutError where nothing came in time.
        """
        return self._wait(lambda: self._items_or_end(most), timeout_s)

    def take(self, most: int = 1, timeout_s: float | None = None, *, slots: int | None = None) -> Taken[T]:
        """Wait for any slot to give items, of which the oldest are taken, `most` of each slot, or to end.

        Of more than `slots` that have items those come first that were served longest ago. Each end is told once.
        Raises TimeoutError where nothing came in time.
        """
        return self._wait(lambda: self._items_and_ends(most, slots), timeout_s)

    def close(self, slot: str, error: BaseException | None = None) -> None:
        """The producer of `slot` is done, or has failed with `error`."""
        with self._changed:
            state = self._slots[slot]
            if state.is_open:
                state.is_open, state.error = False, error
            self._changed.notify_all()

    def abandon(self) -> None:
        """The reader wants no more: what waits is thrown away, and producers that wait are turned away."""
        with self._changed:
            for state in self._slots.values():
                state.is_open, state.is_told, state.error = False, True, None
                state.items.clear()
            self._changed.notify_all()

    def dropped(self, slot: str) -> int:
        """How many items of `slot` were dropped for newer ones."""
        with self._changed:
            return self._slots[slot].dropped

    def _wait(self, found: Callable[[], R | None], timeout_s: float | None) -> R:
        """What `found` gives as soon as it is not None; asked under the lock, after each change."""
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while (result := found()) is None:
                rest_s = None if until_s is None else until_s - time.monotonic()
                if rest_s is not None and rest_s <= 0:
                    raise TimeoutError(f"nothing came in {timeout_s:g} s")
                self._changed.wait(rest_s)
            return result

    def _pop(self, most: int, slots: int | None = None) -> list[tuple[str, T]]:
        """Items of at most so many slots, which stand in the order in which they were served."""
        served = [slot for slot, state in self._slots.items() if state.items][:slots]
        ready = []
        for slot in served:
            state = self._slots[slot] = self._slots.pop(slot)
            ready += [(slot, state.items.popleft()) for _ in range(min(most, len(state.items)))]
        if ready:
            self._changed.notify_all()
        return ready

    def _items_or_end(self, most: int) -> list[T] | None:
        if ready := self._pop(most):
            return [item for _, item in ready]
        for state in self._slots.values():
            if state.error is not None:
                error, state.error = state.error, None
                raise error
        return None if any(state.is_open for state in self._slots.values()) else []

    def _items_and_ends(self, most: int, slots: int | None) -> Taken[T] | None:
        ended: dict[str, BaseException | None] = {}
        for slot, state in self._slots.items():
            if not (state.is_open or state.is_told or state.items):
                ended[slot], state.is_told = state.error, True
        items = self._pop(most, slots)
        is_over = all(state.is_told for state in self._slots.values())
        return Taken(items, ended) if items or ended or is_over else None


@dataclass(slots=True)
class _Slot(Generic[T]):
    """One producer's items, and how it stands with it."""

    capacity: int
    drop_oldest: bool
    items: deque[T] = field(default_factory=deque)
    is_open: bool = True
    is_told: bool = False  # the reader knows that it ended
    error: BaseException | None = None
    dropped: int = 0
