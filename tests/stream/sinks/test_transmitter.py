"""The process that sends, as it is started and ended."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import pytest

from stream.sinks.target import target_of
from stream.sinks.transmitter import ProcessTransmitter, RefusedError
from stream.sinks.video import VideoOptions
from stream.source import SourceInfo, StreamError

INFO = SourceInfo("cam", "cam", (48, 64), Fraction(1, 1000), Fraction(25), live=True)
NOWHERE = "udp://127.0.0.1:9"


@contextmanager
def transmitter_to(output: str, kind: type[ProcessTransmitter] = ProcessTransmitter) -> Iterator[ProcessTransmitter]:
    transmitter = kind(target_of(output), VideoOptions(encoder="libx264"))
    try:
        yield transmitter
    finally:
        transmitter.close()


def test_nothing_is_imported_from_the_working_folder_and_ctrl_c_does_not_reach_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "av.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    with transmitter_to(NOWHERE) as transmitter:
        assert transmitter.connect(INFO, None) == "encoder: libx264"
        assert transmitter._process is not None
        assert os.getpgid(transmitter._process.pid) == transmitter._process.pid


def test_a_process_that_does_not_start_is_a_failure_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with transmitter_to(NOWHERE) as transmitter, pytest.raises(StreamError, match=r"does not start: No such file"):
        transmitter.connect(INFO, None)


class KilledAtStart(ProcessTransmitter):
    """Is killed by another thread while it starts its process."""

    def _start(self) -> subprocess.Popen[bytes]:
        process = super()._start()
        self.kill()
        return process


def test_what_is_killed_while_it_starts_ends_at_once() -> None:
    with transmitter_to(NOWHERE, KilledAtStart) as transmitter:
        with pytest.raises(StreamError, match="its process ended with -9"):
            transmitter.connect(INFO, None)
        with pytest.raises(StreamError, match="closed"):
            transmitter.connect(INFO, None)


@pytest.mark.parametrize(
    ("output", "remedy"), [("x.m3u8", "check the folder and its disk"), (NOWHERE, "check the address, the server, and")]
)
def test_a_failure_says_where_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, remedy: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with transmitter_to(output) as transmitter:
        transmitter._options = VideoOptions(encoder="libx264", preset="nonsense")
        with pytest.raises(RefusedError, match=f"encoder libx264 does not open .*; {remedy}"):
            transmitter.connect(INFO, None)
