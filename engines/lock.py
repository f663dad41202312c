"""One process at a time: a lock on a file, which the system lets go of when its holder dies."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def alone(lock: Path, on_busy: Callable[[], None]) -> Iterator[None]:
    """Hold the file `lock` while the block runs, against other processes and threads.

    Where another holds it `on_busy` is called, and then it is waited for; what `on_busy` raises ends the wait before
    it begins. The empty file stays: removing it could let two in. Raises OSError where the file cannot be made.
    """
    with lock.open("ab") as file:
        if not _try_lock(file):
            on_busy()
            _lock(file)
        yield


if sys.platform == "win32":
    import errno
    import msvcrt

    def _try_lock(file: IO[bytes]) -> bool:
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def _lock(file: IO[bytes]) -> None:
        while True:
            try:
                return msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
            except OSError as error:  # it gives up after ten tries in ten seconds
                if error.errno != errno.EDEADLK:
                    raise

else:
    import fcntl

    def _try_lock(file: IO[bytes]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _lock(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX)
