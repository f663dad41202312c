"""A server as a process of its own: started, frozen, thawed and killed by its own process id."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import pytest

HOST = "127.0.0.1"


class ServerProcess:
    """Runs what `_command` says while the context is open; one that was killed starts again at its address."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start, and return once clients are welcome."""
        raise NotImplementedError

    def kill(self) -> None:
        """Kill the server, as a cut of the power would; its connections break off."""
        if self._process is not None:
            self._process.kill()  # whether it is frozen or not
            self._process.communicate()
            self._process = None

    def freeze(self) -> None:
        """Let the server accept connections and keep them, and neither read nor send anything."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._signal(signal.SIGCONT)

    def _launch(self, command: Sequence[str], is_ready: Callable[[subprocess.Popen[str]], bool]) -> None:
        """Start `command` and wait until `is_ready`, which returns False where the process ended instead."""
        with tempfile.TemporaryFile("w+") as complaints:
            # Not a pipe: nobody reads what is said later, and a full pipe would stop the server.
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, text=True
            )
            if not is_ready(self._process):
                self.kill()
                complaints.seek(0)
                raise RuntimeError(f"{command[0]} did not start: {complaints.read()}")

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "the server does not run"
        self._process.send_signal(number)


def free_ports(count: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> list[int]:
    """Ports of 127.0.0.1 that nobody uses at this moment, all different."""
    sockets = [socket.socket(socket.AF_INET, kind) for _ in range(count)]
    try:
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def skip_for_want_of(what: str, packages: str) -> None:
    """Skip the test, or fail it where REQUIRE_SERVERS=1: what is missing, and the Debian packages that bring it."""
    reason = f"no {what}; apt-get install {packages}"
    if os.environ.get("REQUIRE_SERVERS") == "1":
        pytest.fail(f"REQUIRE_SERVERS=1 but {reason}")
    pytest.skip(reason)
