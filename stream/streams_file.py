"""Which sources a run has and what each is called: addresses, and .streams files that list some."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stream.source import TEST_DEVICE, is_device, is_network, local_path, network_name, safe_name

ENDING = ".streams"
"""A file so named lists sources, one a line: `URL` or `NAME = URL`; # begins a comment."""

_NAMED = re.compile(r"([\w.-]+)\s*=\s*(.*)")
"""A name has no colon and no slash, so that no address is taken for one."""
_COMMENT = re.compile(r"(?:^|\s)#.*")
"""A # within an address is a part of it."""


@dataclass(frozen=True, slots=True)
class NamedSource:
    """One source of a run: its address, and its name, which no other has and which may stand in a path."""

    name: str
    url: str
    is_named: bool = False
    """Whether the name was given, and not made of the address."""


def read_sources(addresses: Sequence[str]) -> tuple[NamedSource, ...]:
    """The sources that addresses name, those of .streams files in their place.

    Raises OSError for a list that cannot be read, ValueError for a line that is none and for a name given twice.
    """
    found = [pair for address in addresses for pair in _listed(address)]
    given = [name for name, _ in found if name is not None]
    if twice := sorted({name for name in given if given.count(name) > 1}):
        raise ValueError(f"two sources are called {twice[0]}; give each a name of its own")
    taken = set(given)
    return tuple(
        NamedSource(_free(name_of(url), taken), url) if name is None else NamedSource(name, url, is_named=True)
        for name, url in found
    )


def name_of(url: str) -> str:
    """The name of a source that is given none: camera0, the host and the path of a stream, the name of a file."""
    if url.startswith(TEST_DEVICE):
        return "lavfi"
    if is_device(url):
        return f"camera{''.join(c for c in url if c.isdecimal())}"
    if not is_network(url):
        return safe_name(local_path(url).stem) or "source"
    return network_name(url) or "source"


def _listed(address: str) -> Iterator[tuple[str | None, str]]:
    """Name, if any, and address of each source that an address stands for."""
    if is_network(address) or is_device(address) or not address.lower().endswith(ENDING):
        yield None, address
        return
    path = local_path(address)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such list of sources; check the path") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: no list of sources: it is not UTF-8 text") from error
    entries = [_entry(line, f"{path}:{number}", path.parent) for number, line in enumerate(lines, 1)]
    if not any(entries):
        raise ValueError(f"{path}: lists no source; write one a line, as `door = rtsp://camera/live`")
    yield from filter(None, entries)


def _entry(line: str, where: str, folder: Path) -> tuple[str | None, str] | None:
    """One line of a list; a file is looked for where the list is."""
    text = _COMMENT.sub("", line).strip()
    if not text:
        return None
    match = _NAMED.fullmatch(text)
    name, url = (match[1], match[2]) if match else (None, text)
    if not url:
        raise ValueError(f"{where}: {name} has no address; write NAME = URL")
    if name is not None and not name.strip("."):
        raise ValueError(f"{where}: {name!r} is no name; use letters, digits, . _ -")
    if url.lower().endswith(ENDING) and not is_network(url):
        raise ValueError(f"{where}: a list in a list; write its lines here")
    if is_network(url) or is_device(url):
        return name, url
    return name, str(folder / local_path(url))


def _free(name: str, taken: set[str]) -> str:
    """The name, or NAME-2, NAME-3, …, that is not taken; it is then."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    taken.add(free)
    return free
