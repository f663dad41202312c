"""The network between a client and a server, with its faults: cut, half-open, silent, garbage.

with Proxy(port_of_server) as proxy:
    proxy.port                      # 127.0.0.1:PORT answers as the server does
    proxy.cut()                     # every connection breaks off, in the middle of whatever is being sent
    proxy.half_open()               # every connection stays, and nothing comes through it; new ones are good
    proxy.garble(100_000)           # so many random bytes on every connection, then the stream goes on
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from servers.process import HOST

CHUNK = 65_536


@dataclass
class _Connection:
    """A client, the server's end for it, and what is done to what passes."""

    client: socket.socket
    server: socket.socket
    is_dead: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def close(self) -> None:
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Proxy:
    """Passes on what clients and a server on `port` of loopback say to each other, on threads of its own."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listening = socket.create_server((HOST, 0))
        self.port = self._listening.getsockname()[1]
        self._connections: list[_Connection] = []
        self._threads = [threading.Thread(target=self._accept, name="proxy")]

    def __enter__(self) -> Proxy:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()
        for thread in self._threads:
            thread.join(5)

    def cut(self) -> None:
        """Break off every connection."""
        for connection in self._taken():
            connection.close()

    def half_open(self) -> None:
        """From now on nothing passes through the connections there are, and neither end is told."""
        for connection in self._connections:
            connection.is_dead = True

    def garble(self, count: int) -> None:
        """Send every client so many random bytes in the middle of its stream."""
        garbage = np.random.default_rng(count).integers(0, 256, count, np.uint8).tobytes()
        for connection in self._connections:
            with connection.lock, suppress(OSError):
                connection.client.sendall(garbage)

    def _taken(self) -> list[_Connection]:
        taken, self._connections = self._connections, []
        return taken

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            try:
                server = socket.create_connection((HOST, self._server_port), timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            connection = _Connection(client, server)
            self._connections.append(connection)
            for source, target in ((client, server), (server, client)):
                thread = threading.Thread(target=_pass_on, args=(connection, source, target), name="proxy passes on")
                self._threads.append(thread)
                thread.start()


def _pass_on(connection: _Connection, source: socket.socket, target: socket.socket) -> None:
    """Everything that one end says, to the other, until either has gone."""
    with suppress(OSError):
        while data := source.recv(CHUNK):
            if connection.is_dead:
                continue
            with connection.lock:
                target.sendall(data)
    if not connection.is_dead:
        connection.close()
