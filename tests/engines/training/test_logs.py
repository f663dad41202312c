"""The table of a run: written, gone on with after a kill, and shown by TensorBoard."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from engines.training.logs import TABLE, Log, read_log


def run(folder: Path, steps: range, step: int = 0) -> None:
    with Log(folder, step) as log:
        for number in steps:
            log.write(number, {"loss": 1 / number, "score": 0.5 if number % 2 == 0 else math.nan})


def test_a_row_is_on_the_disk_once_it_is_written(tmp_path: Path) -> None:
    with Log(tmp_path / "run") as log:
        log.write(10, {"loss": 0.123456789, "score": math.nan})
        log.write(20, {"score": 0.5})
        assert (tmp_path / "run" / TABLE).read_text() == "step,loss,score\n10,0.123457,\n20,,0.5\n"
    assert read_log(tmp_path / "run" / TABLE) == [{"step": 10, "loss": 0.123457}, {"step": 20, "score": 0.5}]


def test_a_resumed_run_goes_on_where_it_was_cut_back_to(tmp_path: Path) -> None:
    run(tmp_path, range(1, 6))
    with (tmp_path / TABLE).open("a") as file:
        file.write("6,0.1")  # what a kill left of a row
    run(tmp_path, range(4, 8), step=3)
    rows = read_log(tmp_path / TABLE)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert rows[5] == {"step": 6, "loss": pytest.approx(1 / 6, abs=1e-6), "score": 0.5}
    with (
        Log(tmp_path, 7) as log,
        pytest.raises(ValueError, match=r"log\.csv: has no column lr, only step, loss, score"),
    ):
        log.write(8, {"lr": 1.0})


def test_a_run_from_the_start_begins_its_table_anew(tmp_path: Path) -> None:
    run(tmp_path, range(1, 6))
    with Log(tmp_path) as log:
        log.write(1, {"other": 2.0})
    assert (tmp_path / TABLE).read_text() == "step,other\n1,2\n"


def test_a_run_resumed_without_its_table_begins_one(tmp_path: Path) -> None:
    run(tmp_path, range(4, 5), step=3)
    assert [row["step"] for row in read_log(tmp_path / TABLE)] == [4]


def test_tensorboard_gets_what_the_table_gets(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(tmp_path, range(1, 6))
    run(tmp_path, range(4, 8), step=3)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4, 5, 6, 7]
    assert [event.value for event in events.Scalars("score")] == [0.5, 0.5, 0.5]
