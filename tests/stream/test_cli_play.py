"""The main job's flags, and the figures that it prints at the end."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from astronaut import DETECTOR, POSE

from stream.age import Drops
from stream.cli.main import main
from stream.cli.play import duration
from stream.cli.summary import ages_text, dropped_text
from stream.meter import Histogram

TEST_DEVICE = "lavfi:testsrc2=size=320x240:rate=20:duration=1,realtime"


@pytest.fixture
def models() -> list[str]:
    """Flags that name two models by path."""
    return ["--detector", str(DETECTOR), "--pose", str(POSE)]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("200ms", 0.2),
        ("0.2", 0.2),
        ("0.2s", 0.2),
        ("2", 2.0),
        ("1500ms", 1.5),
        ("-1", -1.0),
        ("10m", 600.0),
        ("1h", 3600.0),
    ],
)
def test_a_duration_is_read_in_seconds_and_milliseconds(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "ms", "s", "soon", "1d", "200 ms later"])
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
    astronaut_clip: Path, tmp_path: Path, models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    records = tmp_path / "out.jsonl"
    assert main(["-s", str(astronaut_clip), "-o", str(records), *models, "--end", "0.2", "--max-age", "1ms"]) == 0
    assert "every frame, of whatever age: max_age_s is for live sources" in capsys.readouterr().err
    rows = [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()]
    assert [row["frame"] for row in rows] == list(range(5))


def rows_of(records: Path) -> dict[str, list[int]]:
    """The frames in a JSONL file, by their source."""
    found: dict[str, list[int]] = {}
    for line in records.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found.setdefault(row["source"], []).append(row["frame"])
    return found


def test_several_sources_run_together_and_one_that_is_dead_holds_up_none(
    astronaut_clip: Path, tmp_path: Path, models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    listing = tmp_path / "all.streams"
    text = f"dead = rtsp://me:Sesame7@127.0.0.1:9/live\nclip = {astronaut_clip}\n{TEST_DEVICE}\n{TEST_DEVICE}\n"
    listing.write_text(text, encoding="utf-8")
    films, records = tmp_path / "films" / "{source}.mkv", tmp_path / "all.jsonl"
    flags = ["-s", str(listing), "-o", str(films), "-o", str(records), *models, "--end", "0.5", "--retries", "1"]
    assert main(flags) == 1
    told = capsys.readouterr()
    found = rows_of(records)
    assert found.pop("clip") == list(range(12))
    assert sorted(found) == ["lavfi", "lavfi-2"]
    assert all(frames == sorted(set(frames)) for frames in found.values())
    assert sorted(path.name for path in films.parent.iterdir()) == [
        "clip.mkv", "lavfi-2.mkv", "lavfi.mkv"
    ]  # fmt: skip
    assert "source dead has failed, the others go on: rtsp://127.0.0.1:9/live: " in told.err
    assert "given up, as --retries 1 allows no more" in told.err
    assert "source lavfi-2: lavfi:testsrc2" in told.err
    assert "Sesame7" not in told.err + told.out
    assert re.search(r"clip +12 +\d+ +0 +0 +0 +\d+/\d+/\d+ +0 +ended", told.out)
    assert re.search(r"dead +0 +0 +0 +0 +0 +- +0 +failed", told.out)


def test_a_film_in_real_time_is_live_and_plays_as_often_as_asked(
    astronaut_clip: Path, tmp_path: Path, models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    records = tmp_path / "out.jsonl"
    flags = ["--end", "0.3", "--realtime", "--loop", "3", "--policy", "every"]
    assert main(["-s", str(astronaut_clip), "-o", str(records), *models, *flags]) == 0
    told = capsys.readouterr()
    assert "(live: every frame, however old it grows)" in told.err
    assert rows_of(records) == {"astronaut.mp4": list(range(24))}


def test_a_camera_that_is_not_there_leaves_no_output(tmp_path: Path, models: list[str]) -> None:
    flags = ["-s", "rtsp://127.0.0.1:9/live", "--retries", "0", *models]
    outputs = [str(tmp_path / name) for name in ("a.mp4", "a.jsonl", "a.coco.json")]
    assert main([*flags, *(word for output in outputs for word in ("-o", output))]) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("output", "flags", "message"),
    [
        ("out.xyz", [], "no video file written here"),
        ("out.mp4", ["--encoder", "nonsense"], "encoder nonsense: not in this FFmpeg"),
        ("taken.mp4", [], "exists already"),
        ("taken.jsonl", [], "exists already"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_a_camera_is_asked(
    tmp_path: Path, output: str, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("taken.mp4", "taken.jsonl"):
        (tmp_path / name).write_text("mine")
    before = sorted(tmp_path.iterdir())
    assert main(["-s", "rtsp://127.0.0.1:9/live", "-o", str(tmp_path / output), *flags]) == 2
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_a_promise_of_age_and_of_every_frame_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-s", "0", "--show", "--max-age", "1s", "--policy", "every"]) == 2
    assert "the policy every shows all frames, and max_age_s drops some" in capsys.readouterr().err
