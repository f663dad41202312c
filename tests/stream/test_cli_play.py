"""The main job's flags, and the figures that it prints at the end."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from stream.age import Drops
from stream.cli.main import main
from stream.cli.play import duration
from stream.cli.summary import ages_text, dropped_text
from stream.meter import Histogram

TEST_DEVICE = "lavfi:testsrc2=size=320x240:rate=20:duration=1,realtime"


@pytest.fixture
def models(assets: Path) -> list[str]:
    """Flags that name two models by path."""
    folder = assets / "models"
    return ["--detector", str(folder / "yolox_nano.onnx"), "--pose", str(folder / "tinypose_256x192_dyn.onnx")]


@pytest.mark.parametrize(
    ("text", "seconds"), [("200ms", 0.2), ("0.2", 0.2), ("0.2s", 0.2), ("2", 2.0), ("1500ms", 1.5), ("-1", -1.0)]
)
def test_a_duration_is_read_in_seconds_and_milliseconds(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "ms", "s", "soon", "1m", "200 ms later"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="could not convert"):
        duration(text)


@pytest.mark.parametrize(
    ("age", "message"),
    [
        ("0", "live: max_age_s must be above 0, got 0.0"),
        ("-1s", "live: max_age_s must be above 0, got -1.0"),
    ],
)
def test_an_age_that_no_frame_can_keep_is_a_usage_error(
    age: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-s", "0", "--show", f"--max-age={age}"]) == 2
    assert message in capsys.readouterr().err


def test_an_age_that_is_none_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["-s", "0", "--show", "--max-age", "soon"])
    assert "argument --max-age: invalid duration value: 'soon'" in capsys.readouterr().err


def test_the_age_is_a_key_of_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-s", "0", "--show", "--max-age", "200ms", "--print-config"]) == 0
    assert "live:\n  max_age_s: 0.2\n  slowest_detection: 8\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("drops", "text"),
    [
        (Drops(), "0"),
        (Drops(newer=12), "12 (12 for newer ones)"),
        (Drops(12, 3, 1), "16 (12 for newer ones, 3 too old before detection, 1 too old before the output)"),
        (Drops(0, 0, 2), "2 (2 too old before the output)"),
    ],
)
def test_drops_are_told_by_their_causes(drops: Drops, text: str) -> None:
    assert dropped_text(drops) == text


def test_ages_are_told_in_milliseconds() -> None:
    ages = Histogram()
    for index in range(100):
        ages.add(0.05 if index < 90 else 0.2)
    assert re.fullmatch(r"(49|50|51) / (19[789]|20[0123]) ms \(p50 / p95\)", ages_text(ages, (50, 95)))


def test_the_promise_is_told_before_and_the_drops_after_the_run(
    tmp_path: Path, models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    records = tmp_path / "out.jsonl"
    assert main(["-s", TEST_DEVICE, "-o", str(records), *models, "--max-age", "5s"]) == 0
    told = capsys.readouterr()
    assert "(live: the newest frame wins, none older than 5 s)" in told.err
    frames = len(records.read_text(encoding="utf-8").splitlines())
    dropped = re.search(r"dropped +(\d+)", told.out)
    assert dropped is not None
    assert frames + int(dropped[1]) == 20
    assert re.search(r"frame age +\d+ / \d+ / \d+ ms \(p50 / p95 / p99\)", told.out)


def test_a_run_that_was_too_slow_for_every_frame_fails_and_says_why(
    tmp_path: Path, models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    records = tmp_path / "out.jsonl"
    assert main(["-s", TEST_DEVICE, "-o", str(records), *models, "--max-age", "0.001ms"]) == 1
    assert re.search(r"warning: no frame was shown: all \d+ were too old", capsys.readouterr().err)


def test_of_a_file_every_frame_is_shown_whatever_age_was_promised(
    assets: Path, tmp_path: Path, models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    records = tmp_path / "out.jsonl"
    clip = str(assets / "video" / "mmaction2_demo_skeleton.mp4")
    assert main(["-s", clip, "-o", str(records), *models, "--end", "0.2", "--max-age", "1ms"]) == 0
    assert "every frame, of whatever age: max_age_s is for live sources" in capsys.readouterr().err
    rows = [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()]
    assert [row["frame"] for row in rows] == list(range(6))
