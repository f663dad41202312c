"""The hand-over between threads."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from stream.buffer import FrameBuffer, Taken

WAIT_S = 5.0


def in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_items_come_out_in_order_then_the_end() -> None:
    buffer: FrameBuffer[int] = FrameBuffer(["a"], 3, drop_oldest=False)
    assert [buffer.put("a", item) for item in (1, 2, 3)] == [True] * 3
    buffer.close("a")
    assert [buffer.get() for _ in range(5)] == [[1], [2], [3], [], []]


def test_one_item_of_each_source_a_step() -> None:
    buffer: FrameBuffer[str] = FrameBuffer(["a", "b"], 2, drop_oldest=False)
    for slot, item in (("a", "a0"), ("a", "a1"), ("b", "b0")):
        buffer.put(slot, item)
    assert buffer.get() == ["a0", "b0"]
    assert buffer.get() == ["a1"]


def test_several_items_of_each_source_where_asked() -> None:
    buffer: FrameBuffer[str] = FrameBuffer(["a", "b"], 5, drop_oldest=False)
    for slot, item in (("a", "a0"), ("a", "a1"), ("a", "a2"), ("b", "b0")):
        buffer.put(slot, item)
    assert buffer.get(2) == ["a0", "a1", "b0"]
    assert buffer.get(2) == ["a2"]


def test_a_live_source_loses_the_oldest_and_counts_it() -> None:
    buffer: FrameBuffer[int] = FrameBuffer(["a", "b"], 1, drop_oldest=True)
    for item in range(5):
        buffer.put("a", item)
    buffer.put("b", 9)
    assert buffer.get() == [4, 9]
    assert (buffer.dropped("a"), buffer.dropped("b")) == (4, 0)


def test_a_file_waits_for_room_and_loses_nothing() -> None:
    buffer: FrameBuffer[int] = FrameBuffer(["a"], 1, drop_oldest=False)

    def produce() -> None:
        for item in range(200):
            buffer.put("a", item)
        buffer.close("a")

    thread = in_thread(produce)
    read = []
    while items := buffer.get():
        read += items
    thread.join(WAIT_S)
    assert read == list(range(200))
    assert buffer.dropped("a") == 0


def test_an_error_is_raised_after_the_items_before_it() -> None:
    buffer: FrameBuffer[int] = FrameBuffer(["a"], 2, drop_oldest=False)
    buffer.put("a", 1)
    buffer.close("a", OSError("cable pulled"))
    assert buffer.get() == [1]
    with pytest.raises(OSError, match="cable pulled"):
        buffer.get()
    assert buffer.get() == []


def test_a_waiting_producer_is_turned_away_when_the_reader_leaves() -> None:
    buffer: FrameBuffer[int] = FrameBuffer(["a"], 1, drop_oldest=False)
    buffer.put("a", 1)
    taken: list[bool] = []
    waits = threading.Event()

    def produce() -> None:
        waits.set()
        taken.append(buffer.put("a", 2))

    thread = in_thread(produce)
    assert waits.wait(WAIT_S)
    buffer.abandon()
    thread.join(WAIT_S)
    assert taken == [False]
    assert buffer.get() == []


def test_a_waiting_reader_is_woken_by_the_end() -> None:
    buffer: FrameBuffer[int] = FrameBuffer(["a"], 1, drop_oldest=False)
    read: list[list[int]] = []
    thread = in_thread(lambda: read.append(buffer.get()))
    buffer.close("a")
    thread.join(WAIT_S)
    assert read == [[]]


@pytest.mark.parametrize(("slots", "capacity"), [([], 1), (["a"], 0)])
def test_a_buffer_without_room_is_refused(slots: list[str], capacity: int) -> None:
    with pytest.raises(ValueError, match="a buffer needs a slot and room"):
        FrameBuffer(slots, capacity, drop_oldest=False)


def test_a_reader_that_waited_long_enough_is_told() -> None:
    buffer: FrameBuffer[int] = FrameBuffer(["a"], 1, drop_oldest=False)
    with pytest.raises(TimeoutError, match=r"nothing came in 0\.05 s"):
        buffer.get(timeout_s=0.05)
    buffer.put("a", 1)
    assert buffer.get(timeout_s=0) == [1]


def test_items_come_with_their_slots_and_each_end_is_told_once_after_them() -> None:
    buffer: FrameBuffer[int] = FrameBuffer(["a", "b"], 2, drop_oldest=False)
    error = OSError("cable pulled")
    for slot, item in (("a", 1), ("a", 2), ("b", 3)):
        buffer.put(slot, item)
    buffer.close("a", error)
    assert buffer.take() == Taken([("a", 1), ("b", 3)], {})
    assert buffer.take() == Taken([("a", 2)], {})
    assert buffer.take() == Taken([], {"a": error})
    with pytest.raises(TimeoutError):
        buffer.take(timeout_s=0)
    buffer.close("b")
    assert [buffer.take() for _ in range(2)] == [Taken([], {"b": None}), Taken([], {})]


def test_the_end_of_one_is_told_while_another_is_never_empty() -> None:
    buffer: FrameBuffer[int] = FrameBuffer(["a", "b"], 1, drop_oldest=False)
    buffer.close("a", OSError("cable pulled"))
    buffer.put("b", 1)
    taken = buffer.take()
    assert taken.items == [("b", 1)]
    assert list(taken.ended) == ["a"]


def test_of_more_slots_than_may_be_served_those_come_first_that_waited_longest() -> None:
    buffer: FrameBuffer[int] = FrameBuffer(["a", "b", "c"], 1, drop_oldest=True)
    served = []
    for item in range(6):
        for slot in "abc":
            buffer.put(slot, item)
        served.append("".join(slot for slot, _ in buffer.take(slots=2).items))
    assert served == ["ab", "ca", "bc"] * 2
    assert [buffer.dropped(slot) for slot in "abc"] == [1, 2, 2]


def test_a_slot_may_have_a_policy_of_its_own() -> None:
    buffer: FrameBuffer[int] = FrameBuffer(["live", "file"], 1, drop_oldest=True)
    buffer.set_policy("file", 3, drop_oldest=False)
    for item in range(3):
        buffer.put("live", item)
        buffer.put("file", item)
    assert buffer.take(3).items == [("live", 2), ("file", 0), ("file", 1), ("file", 2)]


def test_whoever_wants_no_more_is_told_of_no_end() -> None:
    buffer: FrameBuffer[int] = FrameBuffer(["a", "b"], 1, drop_oldest=False)
    buffer.put("a", 1)
    buffer.close("b", OSError("cable pulled"))
    buffer.abandon()
    assert buffer.take() == Taken([], {})
    assert buffer.get() == []
