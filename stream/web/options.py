"""Where the web page is, who may see it, and how many at once."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

DEFAULT_ADDRESS = "127.0.0.1:8080"
"""Loopback: nobody but the users of this machine."""
TOKEN_VARIABLE = "POSESTREAM_TOKEN"
SHORTEST_TOKEN = 8
"""Characters: a shorter one is guessed."""
TOKEN_BYTES = 16
"""Randomness of a token that is made here."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Whether there is a web page and where: `address` is HOST:PORT, PORT or HOST; None serves none.

    `token` must be known by whoever asks for anything; where the address is not of the loopback and none is given, not
    even by the environment's POSESTREAM_TOKEN, one is made. At most `max_clients` may watch or listen at once. The
    machine counts as silent, and not healthy, when no live source had a frame for `silent_s`.
    """

    address: str | None = None
    token: str | None = None
    max_clients: int = 32
    silent_s: float = 10.0

    def __post_init__(self) -> None:
        if self.address is not None:
            parse_address(self.address)
        if self.token is not None and len(self.token) < SHORTEST_TOKEN:
            raise ValueError(f"a token has {SHORTEST_TOKEN} characters or more, got {len(self.token)}")
        if self.max_clients < 1:
            raise ValueError(f"max_clients must be 1 or more, got {self.max_clients}")
        if not self.silent_s > 0:
            raise ValueError(f"silent_s must be above 0, got {self.silent_s}")


def parse_address(address: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, `PORT` or `HOST`; what is left out is that of `DEFAULT_ADDRESS`."""
    default_host, _, default_port = DEFAULT_ADDRESS.partition(":")
    text = f":{address}" if address.isdecimal() else address
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname or default_host, int(default_port) if parts.port is None else parts.port
    except ValueError as error:
        raise ValueError(f"no address to serve at: {address!r}; write HOST:PORT, as {DEFAULT_ADDRESS}") from error
    if parts.netloc != text or "@" in text:
        raise ValueError(f"no address to serve at: {address!r}; write HOST:PORT, as {DEFAULT_ADDRESS}")
    return host, port


def bind(address: str) -> socket.socket:
    """A socket that listens at an address; OSError, in one line, where that cannot be."""
    host, port = parse_address(address)
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":  # A port that was just let go may be taken again at once.
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(place)
            listening.listen()
        except BaseException:
            listening.close()
            raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(f"--serve {address}: cannot listen there ({reason}); give another HOST:PORT") from error
    return listening


def is_loopback(listening: socket.socket) -> bool:
    """Whether only this machine can reach a socket."""
    return ipaddress.ip_address(listening.getsockname()[0]).is_loopback


def token_for(
    options: ServeOptions, *, loopback: bool, environment: Mapping[str, str] = os.environ
) -> tuple[str | None, bool]:
    """The token that whoever asks must know, None for none, and whether it was made here and is to be told."""
    given = options.token or environment.get(TOKEN_VARIABLE) or None
    if given is not None and len(given) < SHORTEST_TOKEN:
        raise ValueError(f"{TOKEN_VARIABLE} must have {SHORTEST_TOKEN} characters or more, got {len(given)}")
    if given is not None or loopback:
        return given, False
    return secrets.token_urlsafe(TOKEN_BYTES), True


def url_of(listening: socket.socket) -> str:
    """The page's address as a browser takes it; for a socket at every address of the machine, by its name."""
    host, port = listening.getsockname()[:2]
    number = ipaddress.ip_address(host)
    shown = socket.gethostname() if number.is_unspecified else f"[{host}]" if number.version == 6 else host
    return f"http://{shown}:{port}/"
