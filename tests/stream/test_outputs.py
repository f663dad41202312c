"""Outputs that cannot be what they are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.outputs import check_outputs


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
        ("a.mp4", ["rtsp://me:SECRET@host/b"], "rtsp://host/b: streams are not written"),
    ],
)
def test_what_would_destroy_or_collide_is_refused(here: Path, source: str, outputs: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        check_outputs([source], outputs)
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
    check_outputs([source], outputs)
