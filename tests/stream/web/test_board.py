"""The hand-over from the session to the server."""

from __future__ import annotations

import asyncio
import json
import threading

from servers.page import result_of

from stream.pipeline import Result
from stream.web.board import CLIENT_QUEUE, INBOX, Board, Listener, Told


def _board(*sources: str) -> Board:
    return Board(sources or ("door",), lambda result: json.dumps(result.frame.index))


def test_the_newest_result_replaces_the_one_before() -> None:
    board = _board("door", "yard")
    for index in range(3):
        board.pin("door", result_of("door", index))
    newest = board.newest("door")
    assert newest is not None
    assert (newest.number, newest.result.frame.index) == (3, 2)
    assert board.newest("yard") is None


def test_who_waits_gets_what_another_thread_pins() -> None:
    async def wait() -> tuple[int, int]:
        board = _board()
        board.attach(asyncio.get_running_loop())
        waiting = asyncio.create_task(board.newer("door", 0))
        await asyncio.sleep(0)
        threading.Thread(target=board.pin, args=("door", result_of("door", 5))).start()
        first = await waiting
        again = asyncio.create_task(board.newer("door", first.number))
        threading.Thread(target=board.pin, args=("door", result_of("door", 9))).start()
        return first.result.frame.index, (await again).result.frame.index

    assert asyncio.run(wait()) == (5, 9)


def test_a_listener_hears_every_result_of_its_source_without_pixels() -> None:
    sizes: list[int] = []

    def note_size(result: Result) -> str:
        sizes.append(result.frame.image.size)
        return str(result.frame.index)

    async def listen() -> list[Told | None]:
        board = Board(("door", "yard"), note_size)
        board.attach(asyncio.get_running_loop())
        listener = Listener("door")
        board.add(listener)
        for index in range(3):
            board.pin("door", result_of("door", index))
            board.pin("yard", result_of("yard", 10 + index))
        return [await listener.take(1.0) for _ in range(3)]

    assert asyncio.run(listen()) == [Told("door", "0"), Told("door", "1"), Told("door", "2")]
    assert set(sizes) == {3}


def test_a_listener_that_is_slow_loses_the_oldest_and_counts_them() -> None:
    listener = Listener()
    for index in range(CLIENT_QUEUE + 5):
        listener.hear(Told("door", str(index)))
    assert listener.dropped == 5
    assert asyncio.run(listener.take(1.0)) == Told("door", "5")


def test_a_listener_is_told_when_there_is_nothing() -> None:
    assert asyncio.run(Listener().take(0.001)) is None


def test_a_loop_that_hangs_holds_a_bounded_number_of_results_and_one_call() -> None:
    async def hang() -> tuple[int, Told | None]:
        board = _board()
        calls = CountingLoop(asyncio.get_running_loop())
        board.attach(calls)  # type: ignore[arg-type]
        listener = Listener()
        board.add(listener)
        for index in range(INBOX + 44):  # in one go: the loop does not come to run
            board.pin("door", result_of("door", index))
        made = calls.count
        return made, await listener.take(1.0)

    calls, first = asyncio.run(hang())
    assert calls == 1
    assert first == Told("door", str(INBOX + 44 - CLIENT_QUEUE))


class CountingLoop:
    """Passes calls on to a loop and counts them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.count = 0
        self._loop = loop

    def call_soon_threadsafe(self, call: object) -> None:
        self.count += 1
        self._loop.call_soon_threadsafe(call)  # type: ignore[arg-type]
