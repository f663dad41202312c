"""Live pictures for programs: MJPEG, and single pictures."""

from __future__ import annotations

import asyncio
import time

from aiohttp import hdrs, web

from stream.web.board import Board
from stream.web.pictures import RUNGS, Gallery, Jpeg, Ladder, rung_for
from stream.web.seats import Seats, hold_little, send

SNAPSHOT_S = 5.0
"""How long a picture may be waited for."""
BOUNDARY = "posestream-picture"


class Streams:
    """Handlers of what is watched. A client gets the newest picture when it has taken the one before, never a queue."""

    def __init__(self, board: Board, gallery: Gallery, seats: Seats) -> None:
        self._board = board
        self._gallery = gallery
        self._seats = seats

    async def snapshot(self, request: web.Request) -> web.StreamResponse:
        """The newest picture of a source as JPEG; `?side=` bounds its shorter side."""
        source, best = self._source(request), _best(request)
        with self._seats.taken():
            try:
                async with asyncio.timeout(SNAPSHOT_S):
                    jpeg = await self._gallery.newer(source, 0, lambda: best)
            except TimeoutError as error:
                raise web.HTTPServiceUnavailable(text="no picture yet\n", headers={hdrs.RETRY_AFTER: "5"}) from error
        return web.Response(body=jpeg.data, content_type="image/jpeg")

    async def mjpeg(self, request: web.Request) -> web.StreamResponse:
        """A source as MJPEG (multipart/x-mixed-replace); `?side=` bounds the shorter side of its pictures."""
        source, ladder = self._source(request), Ladder(_best(request))
        with self._seats.taken():
            response = web.StreamResponse(
                headers={hdrs.CONTENT_TYPE: f"multipart/x-mixed-replace; boundary={BOUNDARY}"}
            )
            await response.prepare(request)
            hold_little(request)
            number, is_there = 0, True
            while is_there:
                jpeg = await self._gallery.newer(source, number, lambda: ladder.rung)
                number, begun_s = jpeg.number, time.monotonic()
                is_there = await send(request, response, _part(jpeg))
                now_s = time.monotonic()
                ladder.sent(now_s - begun_s, now_s)
        return response

    def _source(self, request: web.Request) -> str:
        source = request.match_info["source"]
        if source not in self._board.sources:
            raise web.HTTPNotFound(text="no source of this name\n")
        return source


def _best(request: web.Request) -> int:
    """The best rung that a request wants."""
    text = request.query.get("side", str(RUNGS[0].side))
    if not (text.isascii() and text.isdecimal()):
        raise web.HTTPBadRequest(text="side is a number of pixels\n")
    return rung_for(int(text[:6]))


def _part(jpeg: Jpeg) -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg.data)}\r\n\r\n"
    return head.encode() + jpeg.data + b"\r\n"
