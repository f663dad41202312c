"""Fetching a model: verified, and put in its place whole or not at all. Prints nothing."""

from __future__ import annotations

import errno
import hashlib
import shutil
import urllib.parse
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from engines.backends.base import CHECKPOINTS, EngineError
from engines.backends.onnx_file import describe
from engines.cards import ModelCard, SourceRef
from engines.lock import alone
from engines.transfer import Progress, TransferError, check_space, forget, plain_url, transfer

TIMEOUT_S = 20.0
"""Longest wait for a connection, and for the next bytes."""
UNPACKED = ".unpacked"
"""The ending of what came out of a zip, until it is known to be a model."""
PICKLES = (b"PK\x03\x04", b"\x80\x02")
"""How torch's checkpoints begin: a zip, before torch 1.6 a pickle of protocol 2."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A model in its place; `remark` says in words how far its content could be verified."""

    path: Path
    remark: str


def fetch(card: ModelCard, folder: Path, progress: Progress, timeout_s: float = TIMEOUT_S) -> Fetched:
    """Put the model of `card` into `folder` as NAME.onnx, unless it is there; a checkpoint as NAME.pth.

    A download cut short stays as NAME.part and is gone on with next time. The SHA-256 of what came is compared with
    the card's (as many digits as it has), else with the one noted in NAME.sha256 at the first download. Raises
    EngineError in one line, with what to do without a network.
    """
    if Path(card.name).name != card.name:
        raise EngineError(f"{card.name}: a model's name must do as a file's name")
    source = card.source or SourceRef()
    target = folder / f"{card.name}{_ending(source)}"
    if target.is_file():
        return Fetched(target, "was there already; to fetch it again, delete it first")
    if source.url is None:
        raise EngineError(f"{card.name}: its card says no source.url; copy the file to {target}")
    url = source.url
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise EngineError(f"{card.name}: source.url must begin with http:// or https://, got {plain_url(url)}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder / f".{card.name}.lock", lambda: _refuse(folder)):
            return _fetch(source, url, target, progress, timeout_s)
    except TransferError as error:
        raise EngineError(
            f"{card.name}: {error}; run it again to go on; without a network, download it elsewhere and put its"
            f" {target.suffix} to {target}, or into a folder named by POSESTREAM_MODELS"
        ) from error
    except EngineError as error:
        raise EngineError(f"{card.name}: {error}") from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = "the disk is full; make room and run it again to go on" if full else error.strerror or str(error)
        raise EngineError(f"{card.name}: cannot write to {folder}: {what}") from error


def _ending(source: SourceRef) -> str:
    """Of the model's file: .onnx, unless the address, or what is wanted of its zip, ends as a checkpoint does."""
    name = source.member or urllib.parse.urlsplit(source.url or "").path
    ending = PurePosixPath(name).suffix
    return ending if ending in CHECKPOINTS else ".onnx"


def _refuse(folder: Path) -> None:
    raise EngineError(f"another process is fetching it into {folder}; wait for that one")


def _fetch(source: SourceRef, url: str, target: Path, progress: Progress, timeout_s: float) -> Fetched:
    if target.is_file():  # another process was quicker
        return Fetched(target, "was fetched by another process")
    part = target.with_suffix(".part")
    transfer(url, part, progress, timeout_s)
    note = target.with_suffix(".sha256")
    try:
        digest, remark = _verify(part, source.sha256, note)
        model = part if source.member is None else _extract(part, source.member)
        _check_kind(model, target.suffix)
    except EngineError as error:
        forget(part)
        part.with_suffix(UNPACKED).unlink(missing_ok=True)
        raise EngineError(f"{plain_url(url)}: {error}; nothing was kept") from error
    if source.sha256 is None:
        # As sha256sum writes it; the name is that of the file at the URL.
        note.write_text(f"{digest}  {urllib.parse.urlsplit(url).path.rpartition('/')[2]}\n", encoding="utf-8")
    model.replace(target)
    forget(part)
    return Fetched(target, remark)


def _verify(part: Path, wanted: str | None, note: Path) -> tuple[str, str]:
    """The SHA-256 of `part`, and in words with what it was compared; EngineError where it is another."""
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    noted = note.read_text(encoding="utf-8").split() if note.is_file() else []
    known, whose = (wanted, "its card") if wanted else (noted[0], str(note)) if noted else ("", "")
    if not digest.startswith(known):
        raise EngineError(
            f"SHA-256 begins {digest[:16]}, {whose} wants {known[:16]}; try again, or find out which is right"
        )
    if not known:
        return digest, f"SHA-256 {digest[:8]} is published nowhere: noted in {note.name} for later downloads"
    if not wanted:
        return digest, f"SHA-256 {digest[:8]} is that of the first download"
    return digest, "SHA-256 verified" if len(known) == 64 else f"SHA-256 begins {known}, as published"


def _check_kind(model: Path, ending: str) -> None:
    """Raise EngineError where a file is not what its ending will say: the sign-in page of some network."""
    if ending == ".onnx":
        describe(model)
    elif ending != ".weights":  # darknet's begin with numbers of a version and are read as a whole
        with model.open("rb") as file:
            begin = file.read(len(PICKLES[0]))
        if not begin.startswith(PICKLES):
            raise EngineError(f"no checkpoint of torch, it begins with {begin!r}")


def _extract(part: Path, member: str) -> Path:
    """The only file called `member` of the zip `part`, in whatever folder of it, written beside it."""
    model = part.with_suffix(UNPACKED)
    try:
        with zipfile.ZipFile(part) as archive:
            found = [info for info in archive.infolist() if info.filename.rpartition("/")[2] == member]
            if len(found) != 1:
                raise EngineError(f"the zip must hold one {member}, got {len(found)}")
            check_space(part.parent, found[0].file_size)
            with archive.open(found[0]) as packed, model.open("wb") as file:
                shutil.copyfileobj(packed, file)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise EngineError(f"no sound zip ({error})") from error
    except OSError as error:
        # What a zip without its beginning makes zipfile do: seek before the start of the file.
        if error.errno != errno.EINVAL:
            raise
        raise EngineError("no sound zip (its beginning is missing)") from error
    return model
