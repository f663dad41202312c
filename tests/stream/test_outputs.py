"""Outputs that cannot be what they are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.outputs import check_outputs, files_of, place_of
from stream.streams_file import NamedSource


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with clips and pictures."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "b.part.mp4", "shots/1.jpg", "shots/2.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "drawn").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("source", "outputs", "message"),
    [
        ("a.mp4", ["x.mp4", "./x.mp4"], "two outputs to .*x.mp4"),
        ("a.mp4", ["./a.mp4"], "is the source"),
        ("b.part.mp4", ["b.mp4"], "would be written over it"),
        ("shots", ["shots/"], "holds the source's own pictures"),
        ("shots/*.jpg", ["shots"], "holds the source's own pictures"),
        ("shots/1.jpg", ["./shots/"], "holds the source's own pictures"),
        ("a.mp4", [""], "an output has no name"),
        ("a.mp4", ["ftp://me:SECRET@host/b"], "ftp://host/b: nothing is sent to ftp://"),
    ],
)
def test_what_would_destroy_or_collide_is_refused(here: Path, source: str, outputs: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        check_outputs([NamedSource("a", source)], outputs)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "outputs"),
    [
        ("a.mp4", ["x.mp4", "x.mkv", "x.jsonl", "drawn/"]),
        ("shots/*.jpg", ["drawn", "x.coco.json"]),
        ("a.mp4", ["shots/"]),
        ("0", ["x.mp4"]),
        ("rtsp://host/a.mp4", ["a.mp4"]),
        ("missing.mp4", ["x.mp4"]),
    ],
)
def test_what_can_be_passes(here: Path, source: str, outputs: list[str]) -> None:
    check_outputs([NamedSource("a", source)], outputs)


SEVERAL = [NamedSource("front", "rtsp://cam/front"), NamedSource("walk", "a.mp4")]


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (["out.mp4"], r"out.mp4: one output for 2 sources, and each needs its own; write {source}-out.mp4"),
        (["d/out.mkv"], r"write d/{source}-out.mkv"),
        (["drawn/"], r"write drawn/{source}/"),
        (["out.coco.json"], r"its rows do not name their source; write {source}-out.coco.json"),
        (["out.mot.txt"], r"its rows do not name their source; write {source}-out.mot.txt"),
        (["rtsp://me:SECRET@host/live"], r"rtsp://host/live: one address for 2 sources"),
        (["rtsp://host/live?a=b"], r"write rtsp://host/live/{source}\?a=b"),
        (["rtmp://host/live"], r"one address for 2 sources, and each needs its own; write rtmp://host/live/{source}"),
        (["rtmp://host/"], "rtmp://host/: the address names no stream"),
        (["UDP://host:5000"], "run the program once for each source"),
        (["{source}.mp4", "front.mp4"], "front.mp4: one output for 2 sources"),
        (["{source}.mp4", "./{source}.mp4"], r"two outputs to .*front.mp4"),
        (["{source}.jsonl", "front.jsonl"], r"two outputs to .*front.jsonl"),
        (["a{source}.mp4", "a.jsonl", "a.jsonl"], r"two outputs to .*a.jsonl"),
    ],
)
def test_several_sources_need_outputs_that_can_be_told_apart(here: Path, outputs: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        check_outputs(SEVERAL, outputs)
    assert "SECRET" not in str(caught.value)


def test_several_sources_share_records_that_name_their_source_and_servers(here: Path) -> None:
    check_outputs(SEVERAL, ["all.jsonl", "all.csv", "{source}.mp4", "{source}.mot.txt", "p/{source}/", "rtsp://host/"])


def test_records_of_several_sources_are_not_cut(here: Path) -> None:
    with pytest.raises(ValueError, match=r"all.csv: segments are those of one source.*; write d/{source}-all.csv"):
        check_outputs(SEVERAL, ["d/all.csv"], is_cut=True)
    check_outputs(SEVERAL, ["{source}.csv"], is_cut=True)
    check_outputs(SEVERAL[:1], ["all.csv"], is_cut=True)


@pytest.mark.parametrize(
    ("output", "place"),
    [
        ("out.mp4", "out.mp4"),
        ("{source}/a-{source}.mp4", "yard/a-yard.mp4"),
        ("rtsp://host:8554/", "rtsp://host:8554/yard"),
        ("rtsp://host:8554", "rtsp://host:8554/yard"),
        ("rtsp://host:8554?token=abc", "rtsp://host:8554/yard?token=abc"),
        ("rtmp://host/live/{source}", "rtmp://host/live/yard"),
        ("udp://host:5000", "udp://host:5000"),
    ],
)
def test_the_name_of_the_source_stands_where_it_is_asked_for(output: str, place: str) -> None:
    assert place_of(output, "yard") == place


def test_the_files_of_a_run_are_what_it_reads_and_what_it_writes(here: Path) -> None:
    files = files_of(SEVERAL, ["{source}.mp4", "drawn/{source}/", "all.jsonl"])
    own = {"a.mp4", "front.mp4", "walk.mp4", "drawn/front/", "drawn/walk/", "all.jsonl"}
    assert files == {f"{here.resolve()}/{name}" for name in own}
