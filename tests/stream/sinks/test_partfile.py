from __future__ import annotations

from pathlib import Path

import pytest

from stream.sinks.partfile import PartFile, part_path
from stream.source import StreamError


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("clip.mp4", "clip.part.mp4"),
        ("out.coco.json", "out.part.coco.json"),
        ("out.MOT.txt", "out.part.MOT.txt"),
        ("out.jsonl", "out.part.jsonl"),
        ("a.b.csv", "a.b.part.csv"),
        ("bare", "bare.part"),
        (".coco.json", ".part.coco.json"),
    ],
)
def test_part_stands_before_the_ending(name: str, part: str) -> None:
    assert part_path(Path("folder") / name) == Path("folder") / part


def test_finish_gives_the_final_name(tmp_path: Path) -> None:
    file = PartFile(tmp_path / "new" / "out.csv")
    file.part.write_text("whole")
    assert not file.path.exists()
    file.finish()
    assert file.path.read_text() == "whole"
    assert not file.part.exists()


def test_existing_target_is_refused_and_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    target.write_text("precious")
    with pytest.raises(FileExistsError, match=r"out\.csv: exists already; .* --overwrite"):
        PartFile(target)
    assert [p.name for p in tmp_path.iterdir()] == ["out.csv"]


def test_overwrite_replaces_only_when_finished(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    target.write_text("old")
    file = PartFile(target, overwrite=True)
    file.part.write_text("new")
    assert target.read_text() == "old"
    file.finish()
    assert target.read_text() == "new"


def test_a_part_with_something_in_it_is_kept_unless_told(tmp_path: Path) -> None:
    part = tmp_path / "out.part.csv"
    part.write_text("from a killed run")
    wanted = r"out\.csv: out\.part\.csv is there already, .*; rename or delete it, or give --overwrite"
    with pytest.raises(FileExistsError, match=wanted):
        PartFile(tmp_path / "out.csv")
    assert part.read_text() == "from a killed run"
    assert PartFile(tmp_path / "out.csv", overwrite=True).part.read_text() == ""


def test_an_empty_part_is_used_again(tmp_path: Path) -> None:
    (tmp_path / "out.part.csv").write_text("")
    assert PartFile(tmp_path / "out.csv").part.read_text() == ""


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="is a folder"):
        PartFile(tmp_path, overwrite=True)


def test_unwritable_place_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StreamError, match=r"out\.csv: cannot be written .* choose another folder"):
        PartFile(tmp_path / "file" / "out.csv")


def test_discard_leaves_nothing(tmp_path: Path) -> None:
    file = PartFile(tmp_path / "out.csv")
    file.discard()
    file.discard()
    assert list(tmp_path.iterdir()) == []
