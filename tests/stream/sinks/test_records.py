"""Records, to the letter of what others read."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import make_result

from engines.results import Poses
from stream.frame import Frame
from stream.pipeline import Result
from stream.sinks.record_formats import Jsonl, image_id
from stream.sinks.records import RecordSink, record_sink

NUMBER = (int, float)


def write(path: Path, results: list[Result]) -> str:
    sink = record_sink(path)
    assert sink is not None
    for result in results:
        sink.write(result, None)
    sink.close()
    return path.read_text(encoding="utf-8")


def named(result: Result, source_id: str) -> Result:
    return replace(result, frame=replace(result.frame, source_id=source_id))


def test_jsonl_has_one_object_per_frame(tmp_path: Path) -> None:
    lines = write(tmp_path / "out.jsonl", [make_result(3, 2), make_result(4, 0)]).splitlines()
    assert json.loads(lines[0]) == {
        "source": "fake", "frame": 3, "pts": 3, "time_s": 0.12,
        "people": [
            {"id": i, "box": [4, 4, 20, 40], "score": 1, "keypoints": [[12, 6, 1], [12, 38, 1]]} for i in (1, 2)
        ],
    }  # fmt: skip
    assert json.loads(lines[1])["people"] == []
    assert len(lines) == 2


def test_jsonl_of_a_still_picture_has_neither_time_nor_identity(tmp_path: Path) -> None:
    record = json.loads(write(tmp_path / "out.jsonl", [make_result(0, 1, still=True)]))
    assert (record["pts"], record["time_s"], record["people"][0]["id"]) == (None, None, None)


def test_every_line_is_on_the_disk_before_the_next_frame(tmp_path: Path) -> None:
    sink = record_sink(tmp_path / "out.jsonl")
    assert sink is not None
    for index in range(3):
        sink.write(make_result(index), None)
        written = (tmp_path / "out.part.jsonl").read_text().splitlines()
        assert [json.loads(line)["frame"] for line in written] == list(range(index + 1))
    sink.close()
    assert not (tmp_path / "out.part.jsonl").exists()


@pytest.mark.parametrize("people", [[0], [0, 0], [1], [2, 0, 3]])
def test_coco_is_an_array_of_results(tmp_path: Path, people: list[int]) -> None:
    results = [make_result(index, count) for index, count in enumerate(people)]
    elements: list[dict[str, Any]] = json.loads(write(tmp_path / "out.coco.json", results))
    assert [element["image_id"] for element in elements] == [i for i, count in enumerate(people) for _ in range(count)]
    for element in elements:
        assert set(element) == {"image_id", "category_id", "keypoints", "score"}
        assert element["category_id"] == 1
        assert element["keypoints"] == [12, 6, 1, 12, 38, 1]
        assert element["score"] == 1


def test_a_coco_score_is_the_boxes_times_the_mean_of_the_sure_joints(tmp_path: Path) -> None:
    result = make_result(0, 1)
    poses = Poses(result.poses.keypoints, np.array([[0.6, 0.1]], np.float32), result.poses.skeleton)
    tracks = replace(result.tracks, scores=np.array([0.5], np.float32))
    (element,) = json.loads(write(tmp_path / "out.coco.json", [replace(result, poses=poses, tracks=tracks)]))
    assert element["score"] == 0.3


@pytest.mark.parametrize(
    ("name", "still", "wanted"),
    [("000000000139.jpg", True, 139), ("img_12_v3b.png", True, 3), ("bus.jpg", True, 5), ("cam1", False, 5)],
)
def test_the_image_id_is_the_number_in_a_pictures_name_else_the_index(name: str, still: bool, wanted: int) -> None:
    assert image_id(named(make_result(5, still=still), name).frame) == wanted


def test_mot_counts_frames_from_one(tmp_path: Path) -> None:
    text = write(tmp_path / "out.mot.txt", [make_result(0, 1), make_result(1, 0), make_result(2, 2)])
    assert text.splitlines() == [
        "1,1,4.00,4.00,16.00,36.00,1.0000,-1,-1,-1",
        "3,1,4.00,4.00,16.00,36.00,1.0000,-1,-1,-1",
        "3,2,4.00,4.00,16.00,36.00,1.0000,-1,-1,-1",
    ]


def test_mot_of_still_pictures_is_refused(tmp_path: Path) -> None:
    sink = record_sink(tmp_path / "out.mot.txt")
    assert sink is not None
    with pytest.raises(ValueError, match="need identities"):
        sink.write(make_result(still=True), None)
    sink.close()
    assert list(tmp_path.iterdir()) == []


class Failing(Jsonl):
    """JSONL that fails with `error` at the frame `at`, or at the end where it is -1."""

    def __init__(self, error: BaseException, at: int) -> None:
        super().__init__()
        self._error, self._at = error, at

    def rows(self, result: Result) -> str:
        if result.frame.index == self._at:
            raise self._error
        return super().rows(result)

    def end(self) -> str:
        if self._at == -1:
            raise self._error
        return super().end()


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()])
def test_after_any_failure_the_records_stay_a_part(tmp_path: Path, error: BaseException) -> None:
    sink = RecordSink(tmp_path / "out.jsonl", Failing(error, 1))
    sink.write(make_result(0), None)
    with pytest.raises(type(error)):
        sink.write(make_result(1), None)
    sink.close()
    assert [path.name for path in tmp_path.iterdir()] == ["out.part.jsonl"]
    assert json.loads((tmp_path / "out.part.jsonl").read_text())["frame"] == 0


def test_a_failure_at_the_end_closes_the_file_and_leaves_a_part(tmp_path: Path) -> None:
    sink = RecordSink(tmp_path / "out.jsonl", Failing(RuntimeError("no"), -1))
    sink.write(make_result(0), None)
    opened = open_files(tmp_path)
    with pytest.raises(RuntimeError, match="no"):
        sink.close()
    assert (opened, open_files(tmp_path)) == (["out.part.jsonl"], [])
    assert [path.name for path in tmp_path.iterdir()] == ["out.part.jsonl"]


def open_files(folder: Path) -> list[str]:
    """The names of the files of a folder that this process has open."""
    targets = [Path(os.path.realpath(link)) for link in Path("/proc/self/fd").iterdir()]
    return [target.name for target in targets if target.parent == folder]


# A child whose files may not grow beyond 10 kB.
CHILD = """
import resource, sys
from pathlib import Path
sys.path[:0] = {paths!r}
from fakes import make_result
from stream.sinks.records import record_sink
from stream.source import StreamError
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
sink = record_sink(Path(sys.argv[1]))
try:
    for index in range(1000):
        sink.write(make_result(index, 3), None)
except StreamError as error:
    print(error)
sink.close()
print("closed")
"""


def test_a_full_disk_is_told_once_and_leaves_a_part(tmp_path: Path) -> None:
    tests = Path(__file__).parents[2]
    script = CHILD.format(paths=[str(tests), str(tests.parent)])
    child = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "out.jsonl")], capture_output=True, text=True, check=False
    )
    assert child.stderr == ""
    assert child.stdout.splitlines() == [
        f"{tmp_path / 'out.jsonl'}: cannot be written any further (File too large); make room or go elsewhere",
        "closed",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["out.part.jsonl"]


def test_csv_has_a_header_and_one_row_per_person(tmp_path: Path) -> None:
    odd = named(make_result(1, 1), 'cam "a", left')
    text = write(tmp_path / "out.csv", [make_result(0, 0), odd, make_result(2, 2, still=True)])
    rows = list(csv.reader(text.splitlines()))
    assert rows[0] == ["source", "frame", "time_s", "id", "x1", "y1", "x2", "y2", "score",
                       "top_x", "top_y", "top_score", "bottom_x", "bottom_y", "bottom_score"]  # fmt: skip
    assert rows[1][:4] == ['cam "a", left', "1", "0.04", "1"]
    assert rows[1][4:] == ["4.0", "4.0", "20.0", "40.0", "1.0", "12.0", "6.0", "1.0", "12.0", "38.0", "1.0"]
    assert [row[2:4] for row in rows[2:]] == [["", ""], ["", ""]]


@pytest.mark.parametrize("name", ["out.jsonl", "out.coco.json"])
def test_joints_that_are_nowhere_keep_the_json_valid(tmp_path: Path, name: str) -> None:
    result = make_result(0, 1)
    keypoints = np.array([[[np.nan, 6], [np.inf, 38]]], np.float32)
    result = replace(result, poses=Poses(keypoints, result.poses.scores, result.poses.skeleton))
    text = write(tmp_path / name, [result])
    assert "NaN" not in text
    assert "Infinity" not in text
    json.loads(text)


@pytest.mark.parametrize("name", ["out.mp4", "out.png", "folder"])
def test_other_names_are_no_records(tmp_path: Path, name: str) -> None:
    assert record_sink(tmp_path / name) is None


@pytest.mark.parametrize("name", ["out.json", "out.txt"])
def test_a_name_that_leaves_the_format_open_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="which records"):
        record_sink(tmp_path / name)


def test_an_existing_file_is_kept_unless_told(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("old")
    with pytest.raises(FileExistsError, match="--overwrite"):
        record_sink(tmp_path / "out.csv")
    sink = record_sink(tmp_path / "out.csv", overwrite=True)
    assert sink is not None
    sink.write(make_result(0, 1), None)
    assert (tmp_path / "out.csv").read_text() == "old"
    sink.close()
    assert (tmp_path / "out.csv").read_text().startswith("source,frame")


def test_a_run_without_frames_leaves_what_there_was(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("old")
    sink = record_sink(tmp_path / "out.jsonl", overwrite=True)
    assert sink is not None
    sink.close()
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]
    assert (tmp_path / "out.jsonl").read_text() == "old"


def test_coco_records_load_in_the_evaluator(tmp_path: Path) -> None:
    from faster_coco_eval import COCO

    path = tmp_path / "out.coco.json"
    write(path, [make_result(0, 2)])
    truth = COCO({"images": [{"id": 0}], "annotations": [], "categories": [{"id": 1, "name": "person"}]})
    assert len(truth.loadRes(json.loads(path.read_text())).getAnnIds()) == 2


NOON = 1_795_348_800_000_000_000
"""2026-11-22T12:00:00Z in nanoseconds."""


def utc_of(frame: Frame) -> int | None:
    """Frames of the camera arrived 40 ms one after the other from noon on; all others are of a file."""
    return NOON + frame.index * 40_000_000 if frame.source_id == "camera" else None


def with_utc(path: Path, results: list[Result]) -> str:
    sink = record_sink(path, utc_of=utc_of)
    assert sink is not None
    for result in results:
        sink.write(result, None)
    sink.close()
    return path.read_text(encoding="utf-8")


def test_jsonl_tells_when_the_frames_of_a_live_source_arrived_and_of_others_nothing(tmp_path: Path) -> None:
    results = [named(make_result(3), "camera"), make_result(4), named(make_result(5, still=True), "camera")]
    rows = [json.loads(line) for line in with_utc(tmp_path / "out.jsonl", results).splitlines()]
    assert list(rows[0]) == ["source", "frame", "pts", "time_s", "utc", "people"]
    assert [row.get("utc", "none") for row in rows] == ["2026-11-22T12:00:00.120Z", "none", "none"]


def test_csv_has_the_time_of_arrival_last_and_nothing_where_there_is_none(tmp_path: Path) -> None:
    results = [named(make_result(1), "camera"), make_result(2)]
    rows = list(csv.reader(with_utc(tmp_path / "out.csv", results).splitlines()))
    assert [row[-1] for row in rows] == ["utc", "2026-11-22T12:00:00.040Z", ""]
    assert {len(row) for row in rows} == {16}


@pytest.mark.parametrize("name", ["out.coco.json", "out.mot.txt"])
def test_formats_of_others_have_no_room_for_it(tmp_path: Path, name: str) -> None:
    plain = write(tmp_path / f"plain-{name}", [named(make_result(1), "camera")])
    assert with_utc(tmp_path / name, [named(make_result(1), "camera")]) == plain
