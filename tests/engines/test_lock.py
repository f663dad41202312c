"""A lock between processes: one at a time, waiting or refused, and let go of by the dead."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from engines.lock import alone

ROOT = Path(__file__).parents[2]
WAIT_S = 20.0
HOLDER = """
import sys
from pathlib import Path
from engines.lock import alone
with alone(Path(sys.argv[1]), lambda: None):
    print("held", flush=True)
    sys.stdin.read()
"""


class BusyError(Exception):
    """Raised where the lock is held."""


def refuse() -> None:
    raise BusyError


def test_a_free_lock_is_taken_again_and_again(tmp_path: Path) -> None:
    for _ in range(2):
        with alone(tmp_path / "lock", refuse):
            assert (tmp_path / "lock").read_bytes() == b""


def test_what_is_raised_within_lets_go_of_it(tmp_path: Path) -> None:
    with pytest.raises(KeyError), alone(tmp_path / "lock", refuse):
        raise KeyError
    with alone(tmp_path / "lock", refuse):
        pass


def test_another_thread_is_told_and_waits(tmp_path: Path) -> None:
    told, order = threading.Event(), list[str]()

    def second() -> None:
        with alone(tmp_path / "lock", told.set):
            order.append("second")

    with alone(tmp_path / "lock", refuse):
        thread = threading.Thread(target=second, name="second")
        thread.start()
        assert told.wait(WAIT_S)
        order.append("first")
    thread.join(WAIT_S)
    assert order == ["first", "second"]


def test_another_process_holds_it_until_it_is_killed(tmp_path: Path) -> None:
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "lock")],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BusyError), alone(tmp_path / "lock", refuse):
            pass
        holder.kill()
        holder.wait(WAIT_S)
        with alone(tmp_path / "lock", refuse):
            pass


def test_a_folder_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), alone(tmp_path / "gone" / "lock", refuse):
        pass
