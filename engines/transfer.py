"""One file over HTTP, resumed where it was cut short. Prints nothing."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

from engines.backends.base import EngineError

CHUNK = 1 << 18
"""Bytes read at a time: a progress bar moves several times a second on a slow line."""
AGENT = "posestream"


class TransferError(EngineError):
    """The network or the server failed; what has come is kept."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What is about to come: `size` in bytes of the whole, None where the server does not say; `have` are here."""

    url: str
    size: int | None
    have: int


class Progress(Protocol):
    """Is told of a transfer: `start` before its first byte is read, `advance` after every few."""

    def start(self, offer: Offer) -> None: ...

    def advance(self, count: int) -> None: ...


def transfer(url: str, part: Path, progress: Progress, timeout_s: float) -> None:
    """Bring the file `part` to the whole content of `url`; `forget` it once it was used.

    What is there of it is gone on with if the server vouches (ETag or date) for its being the same file; else it is
    begun anew. `timeout_s` is the longest wait for a connection and for the next bytes. Raises TransferError, and
    OSError where `part` cannot be written.
    """
    response = _ask(url, part, timeout_s)
    if response is None:
        return
    with response:
        have = part.stat().st_size if response.status == HTTPStatus.PARTIAL_CONTENT else 0
        length = response.headers.get("Content-Length", "")
        size = have + int(length) if length.isdigit() else None
        progress.start(Offer(plain_url(url), size, have))
        if have == 0:
            part.write_bytes(b"")
            _note_version(part, url, response.headers)
        check_space(part.parent, (size or 0) - have)
        with part.open("ab") as file:
            for chunk in _chunks(url, response, timeout_s):
                file.write(chunk)
                progress.advance(len(chunk))
                have += len(chunk)
            file.flush()
            os.fsync(file.fileno())
    if size not in (None, have):
        raise TransferError(f"{plain_url(url)}: the connection broke off at {have} of {size} bytes")


def forget(part: Path) -> None:
    """Remove a part and what was noted of it."""
    part.unlink(missing_ok=True)
    _version_file(part).unlink(missing_ok=True)


def check_space(folder: Path, wanted: int) -> None:
    """Raise EngineError where the disk of `folder` has no room for `wanted` more bytes."""
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise EngineError(f"{folder}: {wanted / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free; make room")


def plain_url(url: str) -> str:
    """A URL without user, password and query, fit to be printed."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _ask(url: str, part: Path, timeout_s: float) -> http.client.HTTPResponse | None:
    """The open answer, to the rest of the file (206) or to all of it (200); None where `part` is whole already."""
    headers = {"User-Agent": AGENT}
    have = part.stat().st_size if part.is_file() else 0
    version = _noted_version(part, url)
    if have and version:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    try:
        request = urllib.request.Request(url, headers=headers)
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        with error:
            if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise TransferError(f"{plain_url(url)}: {error.code} {error.reason}") from error
            whole = error.headers.get("Content-Range") == f"bytes */{have}"
        return None if whole else _ask_anew(url, part, timeout_s)
    except urllib.error.URLError as error:
        raise TransferError(f"{plain_url(url)}: {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise TransferError(f"{plain_url(url)}: {error or type(error).__name__}") from error
    resumed = response.status == HTTPStatus.PARTIAL_CONTENT
    if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        response.close()
        return _ask_anew(url, part, timeout_s)
    return response


def _ask_anew(url: str, part: Path, timeout_s: float) -> http.client.HTTPResponse | None:
    forget(part)
    return _ask(url, part, timeout_s)


def _chunks(url: str, response: http.client.HTTPResponse, timeout_s: float) -> Iterator[bytes]:
    """The body a piece at a time; the network's errors become TransferError, those of the disk stay what they are."""
    while True:
        try:
            chunk = response.read1(CHUNK)
        except TimeoutError as error:
            raise TransferError(f"{plain_url(url)}: nothing came for {timeout_s:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise TransferError(f"{plain_url(url)}: the connection broke off ({error})") from error
        if not chunk:
            return
        yield chunk


def _version_file(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _note_version(part: Path, url: str, headers: http.client.HTTPMessage) -> None:
    """Remember which version of the file the part belongs to: its strong ETag, else its date, else nothing."""
    etag = headers.get("ETag", "")
    version = etag if etag.startswith('"') else headers.get("Last-Modified")
    _version_file(part).write_text(json.dumps({"url": url, "version": version}), encoding="utf-8")


def _noted_version(part: Path, url: str) -> str | None:
    try:
        noted = json.loads(_version_file(part).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    version = noted.get("version") if isinstance(noted, dict) and noted.get("url") == url else None
    return version if isinstance(version, str) else None
