"""The web page as a sink: results go on its board, and whoever watches takes them from there."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from engines.export import Say, silent
from stream.frame import Frame
from stream.pipeline import Result
from stream.render import Style
from stream.sinks.base import Picture
from stream.sinks.record_formats import Jsonl, UtcOf
from stream.source import StreamError
from stream.web.board import Board
from stream.web.options import ServeOptions, bind, is_loopback, token_for, url_of
from stream.web.state import StatesOf

if TYPE_CHECKING:
    from stream.web.server import WebServer

_NEEDED = ("aiohttp", "prometheus_client")


class WebSink:
    """Shows the newest result of every source to whoever watches; `write` never waits and draws nothing."""

    needs_picture = False
    warnings: tuple[str, ...] = ()

    def __init__(self, board: Board, server: WebServer, url: str) -> None:
        self.url = url
        self._board = board
        self._server = server

    def write(self, result: Result, picture: Picture | None) -> None:  # noqa: ARG002 - a sink may be given one
        """Make a result the newest of its source."""
        self._board.pin(self._source_of(result.frame), result)

    def close(self, *, failed: bool = False) -> None:  # noqa: ARG002 - nothing of it stays
        """End the page; those who watch see that it has ended."""
        self._server.close()

    def _source_of(self, frame: Frame) -> str:
        """The source of a frame; a still picture of one among several is called SOURCE/PICTURE."""
        sources = self._board.sources
        return sources[0] if len(sources) == 1 else frame.source_id.partition("/")[0]


def open_web(
    sources: Sequence[str],
    states: StatesOf,
    options: ServeOptions,
    style: Style,
    say: Say = silent,
    utc_of: UtcOf | None = None,
) -> WebSink:
    """Serve the page at `options.address`; `say` is told where it is, and the token where one was made.

    Raises OSError where the address is taken or not of this machine, StreamError where the libraries are missing.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise StreamError(f"--serve needs {' and '.join(missing)}; pip install 'posestream[serve]'")
    from stream.web.server import WebServer  # needs the extra

    listening = bind(options.address or "")
    try:
        is_open = not is_loopback(listening)
        token, is_made = token_for(options, loopback=not is_open)
        url = url_of(listening)
    except BaseException:
        listening.close()
        raise
    board = Board(sources, Jsonl(utc_of).rows)
    server = WebServer(listening, board, states, options, style, token)
    say(f"web page: {url}" + (f"?token={token}" if is_made else ", for those who know the token" if token else ""))
    if is_open:
        say("web page: not encrypted; beyond a network that you trust, put a proxy with TLS before it")
    return WebSink(board, server, url)
