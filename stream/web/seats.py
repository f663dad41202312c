"""How many may watch and listen at once, and their end when the server goes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import hdrs, web

STUCK_S = 20.0
"""A client that takes nothing for so long is gone."""
RETRY_S = 10
"""After so long whoever found no seat may try again."""
SEND_BUFFER = 128 << 10
"""Bytes that the system may hold for a client; as much as it would by itself were seconds of old pictures."""


class Seats:
    """Gives a seat to each request that lasts, at most `most`; `clear` ends all of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._tasks: set[asyncio.Task[object]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """A seat for the task at hand; 503 where there is none, and a quiet end for a client that leaves."""
        task = asyncio.current_task()
        if task is None or len(self._tasks) >= self._most:
            raise web.HTTPServiceUnavailable(
                text=f"all {self._most} seats are taken\n", headers={hdrs.RETRY_AFTER: str(RETRY_S)}
            )
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)

    def clear(self) -> None:
        """Cancel all."""
        for task in self._tasks:
            task.cancel()


async def send(request: web.Request, response: web.StreamResponse, data: bytes) -> bool:
    """Write to a client and wait until the system has taken it; False where the client is gone or takes nothing."""
    try:
        async with asyncio.timeout(STUCK_S):
            await response.write(data)
            await request.writer.drain()  # Writing alone waits only now and then.
    except ConnectionError:
        return False
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        return False
    return True


def hold_little(request: web.Request) -> None:
    """Let little wait on the way to a client, so that what it gets is new."""
    transport = request.transport
    if transport is None:
        return
    if isinstance(transport, asyncio.WriteTransport):
        transport.set_write_buffer_limits(high=0)
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
