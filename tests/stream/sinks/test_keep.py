"""Which files of a recording are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.cli.play import duration
from stream.config import load_config
from stream.sinks.keep import Keep, Recording, RecordingOptions, surplus

DAY_NS = 86_400 * 10**9
ROOMY = 10**12
"""Bytes free on a disk that is never full."""


def recordings(*sizes: int) -> list[Recording]:
    """Files of these sizes, that began on day 0, 1, 2, …"""
    return [Recording(Path(f"{day}.mp4"), day * DAY_NS, size) for day, size in enumerate(sizes)]


def gone(files: list[Recording], keep: Keep, *, day: float = 0, free: int = ROOMY) -> list[str]:
    return [recording.path.stem for recording in surplus(files, keep, round(day * DAY_NS), free)]


@pytest.mark.parametrize(("sizes", "limit", "wanted"), [
    ((), 100, []),
    ((10, 10, 10), 40, []),  # the next one makes it 40
    ((10, 10, 10), 39, ["0"]),
    ((10, 10, 10), 20, ["0", "1"]),
    ((10, 10, 10), 5, ["0", "1", "2"]),
    ((5, 30, 10), 70, ["0"]),  # 45 and a next one as large as the largest: 75
    ((5, 30, 10), 75, []),
    ((100, 10), 100, ["0", "1"]),
])  # fmt: skip
def test_the_oldest_make_room_for_one_more(sizes: tuple[int, ...], limit: int, wanted: list[str]) -> None:
    assert gone(recordings(*sizes), Keep(max_bytes=limit)) == wanted


@pytest.mark.parametrize(("day", "wanted"), [(2, []), (2.01, ["0"]), (3.5, ["0", "1"]), (99, ["0", "1", "2"])])
def test_what_began_longer_ago_goes(day: float, wanted: list[str]) -> None:
    assert gone(recordings(10, 10, 10), Keep(max_age_s=2 * 86_400), day=day) == wanted


@pytest.mark.parametrize(("free", "wanted"), [(10, []), (9, ["0"]), (0, ["0"])])
def test_on_a_disk_that_is_nearly_full_the_oldest_make_room_whatever_is_kept(free: int, wanted: list[str]) -> None:
    assert gone(recordings(10, 10, 10), Keep(max_age_s=1e9), free=free) == wanted
    assert gone(recordings(10, 10, 10), Keep(max_bytes=10**9), free=free) == wanted


@pytest.mark.parametrize(("text", "wanted"), [
    ("10GB", Keep(max_bytes=10 * 10**9)), ("500MB", Keep(max_bytes=500 * 10**6)),
    ("1.5 TB", Keep(max_bytes=1500 * 10**9)),
    ("7d", Keep(max_age_s=7 * 86_400)), ("36h", Keep(max_age_s=129_600)), ("90m", Keep(max_age_s=5400)),
    ("45s", Keep(max_age_s=45)),
])  # fmt: skip
def test_amounts_and_times_are_read(text: str, wanted: Keep) -> None:
    assert Keep.parse(text) == wanted


@pytest.mark.parametrize("text", ["", "10", "GB", "-1GB", "0d", "10gb", "7 weeks", "10GB 7d"])
def test_anything_else_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(ValueError, match="write 10GB or 7d"):
        Keep.parse(text)


def test_keeping_needs_segments() -> None:
    with pytest.raises(ValueError, match="give --segment 60s too"):
        RecordingOptions(keep="7d")
    assert RecordingOptions(segment_s=60, keep="7d").keep == "7d"


@pytest.mark.parametrize("segment_s", [0.5, 0, -60, float("nan"), float("inf")])
def test_a_segment_lasts_a_second_at_least(segment_s: float) -> None:
    with pytest.raises(ValueError, match="1 s or more"):
        RecordingOptions(segment_s=segment_s)


@pytest.mark.parametrize(("text", "seconds"), [
    ("60s", 60), ("10m", 600), ("1.5h", 5400), ("200ms", 0.2), ("0.2", 0.2), ("60", 60),
])  # fmt: skip
def test_lengths_are_read_with_their_units(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


def test_the_configuration_has_both_and_says_what_is_wrong() -> None:
    flags = {"recording.segment_s": 60.0, "recording.keep": "7d"}
    assert load_config(None, [], flags).recording == RecordingOptions(60, "7d")
    with pytest.raises(ValueError, match="recording: keep must be an amount or a time, got '7x'"):
        load_config(None, ["recording.keep=7x"], {"recording.segment_s": 60.0})
