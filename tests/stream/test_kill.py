"""What a recording is worth after kill -9; bench/kill9.py is the long form."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from bench.kill9 import CONTAINERS, frames_in, killed_run, recorder, records, tail_of

LOST_S = 1.0
"""What may be lacking at the end of a film."""
ENDINGS = {f".{ending}" for ending in (*CONTAINERS, "jsonl")}


def test_every_file_of_a_killed_run_plays_up_to_the_last_second_and_is_found_again(
    tmp_path: Path,
) -> None:
    killed_s = killed_run(tmp_path, 2.2, flags=["--segment", "1s", "--keep", "1GB"])
    rows = records(tmp_path)
    assert len(rows) > 25
    assert all(after["time_s"] > before["time_s"] for before, after in pairwise(rows))
    for ending in CONTAINERS:
        tail = tail_of(tmp_path, ending, killed_s, rows)
        assert tail is not None, ending
        assert tail.lost_s <= LOST_S, ending
    parts = list(tmp_path.glob("*.part.*"))
    assert {path.suffix for path in parts} == ENDINGS
    # In a film that was begun a moment before there may be no frame: then it is none.
    wanted = {part.name.replace(".part", "") for part in parts if part.suffix == ".jsonl" or frames_in(part)}

    source = "lavfi:testsrc2=size=640x360:rate=25:duration=0.4,realtime"
    with recorder(tmp_path, "--segment", "1s", source=source) as process:
        told = process.communicate(timeout=60)[0]
    assert process.returncode == 0, told
    assert told.count("left by a run that was cut off; it has its name now") == len(wanted)
    assert not list(tmp_path.glob("*.part.*"))
    assert wanted < {path.name for path in tmp_path.iterdir()}
    assert all(frames_in(path) for path in tmp_path.glob("out*") if path.suffix != ".jsonl")


@pytest.mark.parametrize("delay_s", [1.1, 1.6, 2.3, 3.1])
def test_a_recording_without_segments_loses_a_second_at_most(tmp_path: Path, delay_s: float) -> None:
    killed_s = killed_run(tmp_path, delay_s)
    rows = records(tmp_path)
    for ending in CONTAINERS:
        tail = tail_of(tmp_path, ending, killed_s, rows)
        assert tail is not None, ending
        assert tail.lost_s <= LOST_S, ending
