"""What `bench` prints of a clip."""

from __future__ import annotations

from pathlib import Path

import pytest
from astronaut import write_clip
from rich.console import Console

from stream.bench import Efficiency
from stream.cli.bench import print_efficiency
from stream.cli.main import main
from stream.meter import StageTime

STAGES = (StageTime("detect", 10, 4.0, 5.0, 0.04),)


def printed(found: Efficiency, capsys: pytest.CaptureFixture[str]) -> str:
    print_efficiency(Console(highlight=False, width=120), found)
    return capsys.readouterr().out


def test_efficiency_is_the_bare_time_over_the_time_of_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(Efficiency(100, 4.0, 0.5, 2.0, 0.5, STAGES, ("source: clip.mp4",)), capsys)
    assert out.startswith("source: clip.mp4\n")
    assert "100 frames in 4.00 s: 25.0 fps" in out
    assert "decode 0.50 + inference 2.00 + encode 0.50 = 3.00 s; efficiency 0.75" in out
    assert "copies" not in out


def test_copies_are_told_where_there_were_some(capsys: pytest.CaptureFixture[str]) -> None:
    copies = "copies a frame: 2.00 to the device (6.22 MB), 2.00 from it (24.9 kB)"
    assert f"\n{copies}\n" in printed(Efficiency(100, 4.0, 0.5, 2.0, 0.5, STAGES, (), copies), capsys)


def test_a_clip_is_timed_without_the_encoder_where_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = tmp_path / "short.mp4"
    write_clip(clip, 6)
    assert main(["bench", str(clip), "--no-encode"]) == 0
    out = capsys.readouterr().out
    assert "6 frames in" in out
    assert "encode 0.00" in out
    assert "write" in out
    assert "bench.jsonl" in out
