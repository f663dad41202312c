"""The files of a recording that is cut: names, what is found, what is deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.sinks.archive import STUB_BYTES, Archive
from stream.sinks.keep import Keep, Recording
from stream.sinks.utc import UtcClock
from stream.source import StreamError

NOON = 1_795_348_800_000_000_000
"""2026-11-22T12:00:00Z in nanoseconds."""
MS = 1_000_000


def clock() -> UtcClock:
    """It is noon, and the monotonic clock stands at 0."""
    return UtcClock(lambda: (NOON, 0))


def archive(path: Path, keep: Keep | None = None) -> Archive:
    return Archive(path, keep, clock())


def put(folder: Path, *names: str, size: int = 10) -> None:
    for name in names:
        (folder / name).write_bytes(b"x" * size)


def put_text(folder: Path, **texts: str) -> list[str]:
    """Parts of recordings called by the keys, with _ for the dot of their ending; their names once they are whole."""
    names = [name.replace("_", "-20261122T120000.000Z.part.", 1).replace("_", ".") for name in texts]
    for name, text in zip(names, texts.values(), strict=True):
        (folder / name).write_text(text, newline="")
    return [name.replace(".part", "") for name in names]


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_name_is_the_utc_of_the_beginning(tmp_path: Path) -> None:
    files = archive(tmp_path / "cam 1.mp4")
    assert files.next_path(250 * MS).name == "cam 1-20261122T120000.250Z.mp4"
    assert files.next_path(60_250 * MS).name == "cam 1-20261122T120100.250Z.mp4"
    assert archive(tmp_path / "a.coco.json").next_path(0).name == "a-20261122T120000.000Z.coco.json"


def test_no_two_files_have_one_name_and_later_ones_sort_behind(tmp_path: Path) -> None:
    put(tmp_path, "a-20261122T120000.000Z.mp4", "a-20261122T120000.001Z.part.mp4")
    files = archive(tmp_path / "a.mp4")
    names = [files.next_path(moment).name for moment in (0, 0, -5 * MS, 900 * MS)]
    assert names == [f"a-20261122T120000.{ms}Z.mp4" for ms in ("002", "003", "004", "900")]
    assert names == sorted(names)


def test_only_files_of_this_recording_are_found_the_oldest_first(tmp_path: Path) -> None:
    put(
        tmp_path, "a-20261122T120000.000Z.mp4", "a-20251122T120000.000Z.mp4", "a.mp4", "a-2.mp4",
        "a-20261122T120000.000Z.mkv", "b-20261122T120000.000Z.mp4", "aa-20261122T120000.000Z.mp4",
        "a-20261122T120000.000Z.part.mp4", "a-20261122T120000.000Z-2.mp4", "a-20269922T120000.000Z.mp4",
        "a-a-20261122T120000.000Z.mp4",
    )  # fmt: skip
    (tmp_path / "a-20271122T120000.000Z.mp4").mkdir()
    found = [recording.path.name for recording in archive(tmp_path / "a.mp4").finished()]
    assert found == ["a-20251122T120000.000Z.mp4", "a-20261122T120000.000Z.mp4"]


def test_tidying_deletes_the_oldest_of_this_recording_and_nothing_else(tmp_path: Path) -> None:
    ours = [f"a-2026111{day}T120000.000Z.mp4" for day in range(4)]
    others = ["a.mp4", "a-20201122T120000.000Z.mkv", "b-20201122T120000.000Z.mp4", "a-20201122T120000.000Z.part.mp4"]
    put(tmp_path, *ours, *others)
    archive(tmp_path / "a.mp4").tidy()
    assert left(tmp_path) == sorted(ours + others)
    archive(tmp_path / "a.mp4", Keep(max_bytes=30)).tidy()
    assert left(tmp_path) == sorted(ours[2:] + others)
    archive(tmp_path / "a.mp4", Keep(max_age_s=0)).tidy()
    assert left(tmp_path) == sorted(others)


def test_records_that_a_killed_run_left_get_their_names_and_empty_ones_go(tmp_path: Path) -> None:
    put_text(tmp_path, a_jsonl="{}\n", b_jsonl="{}\n")
    put(tmp_path, "a-20261122T120001.000Z.part.jsonl", size=0)
    put(tmp_path, "a-20261122T120002.000Z.part.jsonl")
    adopted = archive(tmp_path / "a.jsonl").adopt(writing=tmp_path / "a-20261122T120002.000Z.jsonl")
    assert [path.name for path in adopted] == ["a-20261122T120000.000Z.jsonl"]
    assert left(tmp_path) == ["a-20261122T120000.000Z.jsonl", "a-20261122T120002.000Z.part.jsonl",
                              "b-20261122T120000.000Z.part.jsonl"]  # fmt: skip


@pytest.mark.parametrize(
    ("ending", "text", "whole"),
    [
        ("jsonl", '{"a":1}\n{"a":2}\n', '{"a":1}\n{"a":2}\n'),
        ("jsonl", '{"a":1}\n{"a":', '{"a":1}\n'),
        ("csv", "id,x\r\n1,2\r\n1,", "id,x\r\n1,2\r\n"),
        ("mot.txt", "1,1,0\n2,1", "1,1,0\n"),
        ("jsonl", '{"a":', None),
        ("coco.json", '[\n{"a":1},\n{"a":2}', '[\n{"a":1},\n{"a":2}\n]\n'),
        ("coco.json", '[\n{"a":1},\n{"a":{"b":', '[\n{"a":1}\n]\n'),
        ("coco.json", '[\n{"a":1},', '[\n{"a":1}\n]\n'),
        ("coco.json", '[\n{"a":1}\n]\n', '[\n{"a":1}\n]\n'),
        ("coco.json", '[\n{"a":', None),
        ("coco.json", "[", None),
    ],
)
def test_half_written_records_are_cut_back_to_what_is_whole(
    tmp_path: Path, ending: str, text: str, whole: str | None
) -> None:
    (name,) = put_text(tmp_path, **{f"a_{ending.replace('.', '_')}": text})
    adopted = archive(tmp_path / f"a.{ending}").adopt()
    assert [path.read_bytes().decode() for path in adopted] == ([] if whole is None else [whole])
    assert left(tmp_path) == ([] if whole is None else [name])


def test_a_file_that_cannot_be_deleted_is_told_of_once_and_the_next_oldest_goes(tmp_path: Path) -> None:
    path, said = tmp_path / "a.jsonl", []
    names = [f"a-2026112{day}T120000.000Z.jsonl" for day in range(4)]
    put(tmp_path, *names)

    class Stubborn(Archive):
        def finished(self) -> list[Recording]:
            """With two that are folders by now, which cannot be unlinked."""
            found = super().finished()
            for recording in found[:2]:
                if recording.path.is_file():
                    recording.path.unlink()
                    recording.path.mkdir()
            return found

    files = Stubborn(path, Keep(max_bytes=1000), clock(), said.append)
    assert files.make_room(writing=None)
    assert left(tmp_path) == [*names[:2], names[3]]
    assert len(said) == 2
    assert said[0].startswith(f"{path}: {names[0]} cannot be deleted (")
    assert said[1] == f"{path}: the disk is full; {names[2]}, the oldest of it, is deleted"


def test_a_folder_that_is_gone_ends_nothing(tmp_path: Path) -> None:
    files = Archive(tmp_path / "gone" / "a.mp4", Keep(max_bytes=1), clock(), (said := []).append)
    files.tidy()
    assert not files.make_room(writing=None)
    assert said == [
        f"{tmp_path / 'gone' / 'a.mp4'}: the folder cannot be read (No such file or directory); it is passed by"
    ]


def test_a_part_never_takes_the_place_of_a_file(tmp_path: Path) -> None:
    put(tmp_path, "a-20261122T120000.000Z.part.jsonl", "a-20261122T120000.000Z.jsonl")
    assert archive(tmp_path / "a.jsonl").adopt() == []
    assert len(left(tmp_path)) == 2


@pytest.mark.parametrize(("size", "stays"), [(STUB_BYTES, False), (STUB_BYTES + 1, True)])
def test_a_film_that_cannot_be_read_goes_where_it_can_only_be_a_header(tmp_path: Path, size: int, stays: bool) -> None:
    put(tmp_path, "a-20261122T120000.000Z.part.mp4", size=size)
    assert archive(tmp_path / "a.mp4").adopt() == []
    assert left(tmp_path) == (["a-20261122T120000.000Z.part.mp4"] if stays else [])


def test_a_second_run_of_the_name_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.mp4"
    with archive(path).held():
        with pytest.raises(StreamError, match="another run is recording under this name"), archive(path).held():
            pass
        with archive(tmp_path / "new" / "b.mp4").held():
            pass
    with archive(path).held():
        pass
