"""All that a page shows, by one WebSocket: a browser opens only six connections to one server.

The page says `{"show": {NAME: side in pixels, …}}` and, of each picture that it has drawn, `{"drew": NAME}`. It is sent
pictures: two bytes, the length of a JSON object, that object, and a JPEG.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass

from aiohttp import WSCloseCode, WSMsgType, web

from stream.web.board import Board
from stream.web.pictures import Gallery, Jpeg, Ladder, rung_for
from stream.web.seats import STUCK_S, Seats, hold_little

HEARTBEAT_S = 15.0
"""How often a silent page is asked whether it is still there."""
LONGEST_MESSAGE = 16 << 10
"""Bytes that a page may send at once: the names of a few hundred sources."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """A source that a page shows: how large, whether it has drawn the last picture, and what sends the next."""

    ladder: Ladder
    drawn: asyncio.Event
    task: asyncio.Task[None]


class Live:
    """The handler of pages. Of each source one picture at most is on its way: the next one when that is drawn."""

    def __init__(self, board: Board, gallery: Gallery, seats: Seats) -> None:
        self._board = board
        self._gallery = gallery
        self._seats = seats

    async def live(self, request: web.Request) -> web.StreamResponse:
        """One page, until it goes."""
        with self._seats.taken():
            socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, max_msg_size=LONGEST_MESSAGE, compress=False)
            await socket.prepare(request)
            hold_little(request)
            try:
                async with asyncio.TaskGroup() as tasks:
                    await self._attend(socket, tasks)
            except* (ConnectionError, TimeoutError):
                pass  # The page is gone.
        return socket

    async def _attend(self, socket: web.WebSocketResponse, tasks: asyncio.TaskGroup) -> None:
        """Do what a page says."""
        shown: dict[str, _Shown] = {}
        async for message in socket:
            said = _said(message.data) if message.type is WSMsgType.TEXT else None
            if isinstance(said, str) and said in shown:
                shown[said].drawn.set()
            elif isinstance(said, dict):
                _hide(shown, shown.keys() - said.keys())
                for name in (said.keys() & set(self._board.sources)) - shown.keys():
                    ladder, drawn = Ladder(rung_for(said[name])), asyncio.Event()
                    shown[name] = _Shown(ladder, drawn, tasks.create_task(self._watch(socket, name, ladder, drawn)))
                for name, it in shown.items():
                    it.ladder.want(rung_for(said[name]))
            elif said is None:
                await socket.close(code=WSCloseCode.UNSUPPORTED_DATA)
        _hide(shown, set(shown))

    async def _watch(self, socket: web.WebSocketResponse, source: str, ladder: Ladder, drawn: asyncio.Event) -> None:
        """Send the pictures of one source."""
        number = 0
        while True:
            jpeg = await self._gallery.newer(source, number, lambda: ladder.rung)
            number, begun_s = jpeg.number, time.monotonic()
            drawn.clear()
            await socket.send_bytes(_message(source, jpeg))
            async with asyncio.timeout(STUCK_S):
                await drawn.wait()
            now_s = time.monotonic()
            ladder.sent(now_s - begun_s, now_s)


def _hide(shown: dict[str, _Shown], names: set[str]) -> None:
    """Send no more of these sources."""
    for name in names:
        shown.pop(name).task.cancel()


def _message(source: str, jpeg: Jpeg) -> bytes:
    frame = jpeg.result.frame
    told = {
        "source": source,
        "frame": frame.index,
        "width": jpeg.size[1],
        "height": jpeg.size[0],
        "people": len(jpeg.result.tracks.ids),
        "age_ms": round((time.monotonic_ns() - frame.captured_ns) / 1e6, 1),
    }
    head = json.dumps(told, ensure_ascii=False).encode()
    return len(head).to_bytes(2, "big") + head + jpeg.data


def _said(text: str) -> dict[str, int] | str | None:
    """What a page says: sources and their sizes, the name of one that it drew, or None for anything else."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    sides, drew = said.get("show"), said.get("drew")
    if isinstance(drew, str):
        return drew
    if isinstance(sides, dict) and all(type(side) is int for side in sides.values()):
        return sides
    return None
