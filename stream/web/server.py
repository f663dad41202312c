"""The web server: its routes, and the thread that its loop runs on."""

from __future__ import annotations

import asyncio
import mimetypes
import socket
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.resources import files

from aiohttp import web

from stream.render import Style
from stream.source import StreamError
from stream.web.access import Guard, Handler, harden
from stream.web.board import Board
from stream.web.events import Events
from stream.web.live import Live
from stream.web.metrics import CONTENT_TYPE, RunMetrics
from stream.web.options import ServeOptions
from stream.web.pictures import Gallery
from stream.web.seats import Seats
from stream.web.state import StatesOf, is_healthy, state_json
from stream.web.streams import Streams

PICTURE_THREADS = 2
"""That draw and encode: more would take the cores from the networks."""
LONGEST_LINE = 4096
"""Bytes of a request's first line, and of each of its headers."""
IDLE_S = 15.0
"""How long a connection without a request is kept."""
SHUTDOWN_S = 0.5
"""What is left to requests at the end."""
_PAGE = "index.html"


class WebServer:
    """Serves on `listening`, which it takes over, from the moment it is made until it is closed.

    `states` tells how it stands with the sources, `token` must be known by whoever asks, where there is one.
    """

    def __init__(
        self,
        listening: socket.socket,
        board: Board,
        states: StatesOf,
        options: ServeOptions,
        style: Style,
        token: str | None,
    ) -> None:
        self._listening = listening
        self._board = board
        self._states = states
        self._options = options
        self._style = style
        self._token = token
        self._started_ns = time.monotonic_ns()
        self._up: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = threading.Thread(target=self._run, name="web")
        self._thread.start()
        self._loop, self._end = self._up.result()

    def close(self) -> None:
        """End all requests and stop serving."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            with ThreadPoolExecutor(PICTURE_THREADS, "web pictures") as executor:
                asyncio.run(self._serve(executor))
        finally:
            self._listening.close()
            if not self._up.done():
                self._up.set_exception(StreamError("the web page could not be started"))

    async def _serve(self, executor: ThreadPoolExecutor) -> None:
        loop, end = asyncio.get_running_loop(), asyncio.Event()
        seats = Seats(self._options.max_clients)
        runner = web.AppRunner(
            self._application(seats, Gallery(self._board, self._style, executor)),
            access_log=None,  # It would hold tokens.
            handler_cancellation=True,  # Who leaves frees the seat.
            keepalive_timeout=IDLE_S,
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
            shutdown_timeout=SHUTDOWN_S,
        )
        await runner.setup()
        try:
            await web.SockSite(runner, self._listening).start()
            self._board.attach(loop)
            self._up.set_result((loop, end))
            await end.wait()
        finally:
            self._board.attach(None)
            seats.clear()
            await runner.cleanup()

    def _application(self, seats: Seats, gallery: Gallery) -> web.Application:
        guard = Guard(self._token, self._listening.getsockname()[1])
        application = web.Application(middlewares=[guard.check], client_max_size=LONGEST_LINE)
        application.on_response_prepare.append(harden)
        streams, metrics = Streams(self._board, gallery, seats), RunMetrics(self._states, lambda: len(seats))
        get = application.router.add_get
        for file in files("stream.web").joinpath("static").iterdir():
            get("/" if file.name == _PAGE else f"/{file.name}", _static(file.name, file.read_bytes()))
        get("/api/state", self._state)
        get("/api/events", Events(self._board, self._states, seats).events, allow_head=False)
        get("/api/live", Live(self._board, gallery, seats).live)
        get("/stream/{source:.+}.mjpeg", streams.mjpeg, allow_head=False)
        get("/snapshot/{source:.+}.jpg", streams.snapshot)
        get("/healthz", self._health)

        async def show_metrics(_request: web.Request) -> web.StreamResponse:
            return web.Response(body=metrics.text(), headers={"Content-Type": CONTENT_TYPE})

        get("/metrics", show_metrics)
        return application

    async def _state(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response(state_json(self._states()))

    async def _health(self, _request: web.Request) -> web.StreamResponse:
        is_well = is_healthy(self._states(), self._board, self._started_ns, self._options.silent_s)
        return web.json_response({"status": "ok" if is_well else "silent"}, status=200 if is_well else 503)


def _static(name: str, data: bytes) -> Handler:
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"

    async def serve(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=data, content_type=kind, charset="utf-8")

    return serve
