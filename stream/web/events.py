"""Server-sent events: how it stands with the sources, and the poses of every frame."""

from __future__ import annotations

import asyncio
import json

from aiohttp import hdrs, web

from stream.web.board import Board, Listener
from stream.web.seats import Seats, hold_little, send
from stream.web.state import StatesOf, state_json

STATE_S = 0.5
"""How often the state of the sources is told."""
KINDS = ("state", "result")


class Events:
    """The handler of listeners: each has a bounded queue, and is told how many results it was too slow for."""

    def __init__(self, board: Board, states: StatesOf, seats: Seats) -> None:
        self._board = board
        self._states = states
        self._seats = seats

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Events `state`, `result` and `dropped`; `?kinds=state` for some of them, `?source=NAME` for one source.

        A result is what a line of .jsonl is; `dropped` tells how many of them were left out so far.
        """
        kinds = request.query.get("kinds", ",".join(KINDS)).split(",")
        if not set(kinds) <= set(KINDS):
            raise web.HTTPBadRequest(text=f"kinds are {' and '.join(KINDS)}\n")
        source = request.query.get("source")
        if source is not None and source not in self._board.sources:
            raise web.HTTPNotFound(text="no source of this name\n")
        with self._seats.taken():
            response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "text/event-stream; charset=utf-8"})
            await response.prepare(request)
            hold_little(request)
            listener = Listener(source)
            if "result" in kinds:
                self._board.add(listener)
            try:
                await self._tell(request, response, listener, with_state="state" in kinds)
            finally:
                self._board.remove(listener)
        return response

    async def _tell(
        self, request: web.Request, response: web.StreamResponse, listener: Listener, *, with_state: bool
    ) -> None:
        """Tell one listener until it goes."""
        now_s = asyncio.get_running_loop().time
        is_there, due_s, dropped = True, now_s(), 0
        while is_there:
            text = b""
            if now_s() >= due_s:
                # Where the state is not wanted, a comment: a client that has gone is noticed by it.
                text += (
                    _event("state", json.dumps(state_json(self._states()), ensure_ascii=False))
                    if with_state
                    else b":\n\n"
                )
                due_s = now_s() + STATE_S
            if listener.dropped > dropped:
                dropped = listener.dropped
                text += _event("dropped", json.dumps({"count": dropped}))
            if not text and (told := await listener.take(max(0.0, due_s - now_s()))) is not None:
                text = _event("result", told.text)
            is_there = not text or await send(request, response, text)


def _event(kind: str, data: str) -> bytes:
    return f"event: {kind}\ndata: {data.rstrip()}\n\n".encode()
