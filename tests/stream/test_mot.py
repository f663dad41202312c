"""MOTChallenge sequences: read, replayed, run and scored."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import FakeDetector, FakeEstimator, FakeTracker

from stream.cli.main import main
from stream.meter import Meter
from stream.mot import MotRow, kept_frames, read_results, read_sequence, replay, rows_of, run_pictures, score
from stream.pipeline import Pipeline
from tracker.tracker import PersonTracker

TRUTH = "1,1,10,10,20,40,1,1,1\n1,2,100,10,20,40,1,1,1\n2,1,12,10,20,40,1,1,1\n2,2,98,10,20,40,1,1,1\n"


def folder(tmp_path: Path, truth: str = TRUTH, info: str = "", det: str = "", name: str = "SEQ-01") -> Path:
    place = tmp_path / name
    for part, text in (("gt/gt.txt", truth), ("det/det.txt", det), ("seqinfo.ini", info)):
        if text:
            (place / part).parent.mkdir(parents=True, exist_ok=True)
            (place / part).write_text(text)
    return place


def one(place: Path, rows: str) -> MotRow:
    """The score of results written as a file."""
    file = place / "results.txt"
    file.write_text(rows)
    sequence = read_sequence(place)
    frames = range(1, sequence.frames + 1)
    (row,) = score({sequence.name: (sequence, frames, read_results(file, frames))}, "file")
    return row


def test_a_folder_is_what_its_seqinfo_says(tmp_path: Path) -> None:
    info = "[Sequence]\nname=MOT17-99\nimDir=pictures\nframeRate=14\nseqLength=5\nimExt=.png\n"
    place = folder(tmp_path, info=info, det="1,-1,1,2,3,4,0.5\n")
    (place / "pictures").mkdir()
    for frame in (1, 2):
        cv2.imwrite(str(place / "pictures" / f"{frame:06}.png"), np.zeros((4, 4, 3), np.uint8))
    sequence = read_sequence(place)
    assert (sequence.name, sequence.rate, sequence.frames) == ("MOT17-99", 14, 5)
    assert sequence.detections == place / "det" / "det.txt"
    assert {frame: path.name for frame, path in sequence.pictures.items()} == {1: "000001.png", 2: "000002.png"}
    assert read_sequence(place, Fraction(30)).rate == 30


def test_without_seqinfo_it_is_25_frames_a_second_as_long_as_the_truth(tmp_path: Path) -> None:
    sequence = read_sequence(folder(tmp_path))
    assert (sequence.name, sequence.rate, sequence.frames) == ("SEQ-01", 25, 2)
    assert sequence.detections is None
    assert sequence.pictures == {}


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        (TRUTH, (1.0, 1.0, 0, 0, 0)),
        # Person 2 changes name: one switch in four; 3 of 4 boxes identified on both sides.
        (TRUTH.replace("2,2,98", "2,7,98"), (0.75, 0.75, 1, 0, 0)),
        # One miss and one box of nobody.
        (TRUTH.replace("2,2,98", "2,2,300"), (0.5, 0.75, 0, 1, 1)),
    ],
)
def test_hand_worked_scores(tmp_path: Path, rows: str, wanted: tuple[float, ...]) -> None:
    row = one(folder(tmp_path), rows)
    assert (row.mota, row.idf1, row.switches, row.missed, row.false) == pytest.approx(wanted)


def test_what_the_truth_leaves_out_is_not_missed_and_classes_of_mot15_are_people(tmp_path: Path) -> None:
    ignored = "2,3,200,10,20,40,0,1,1\n1,4,300,10,20,40,1,3,1\n"  # not to be considered; a car
    assert one(folder(tmp_path, TRUTH + ignored), TRUTH).missed == 0
    old = TRUTH.replace(",1,1,1\n", ",1,-1,-1,-1\n")
    assert one(folder(tmp_path, old, name="old"), TRUTH).mota == 1


def test_several_sequences_have_a_row_for_all(tmp_path: Path) -> None:
    places = [folder(tmp_path, name=name) for name in ("a", "b")]
    sequences = {place.name: read_sequence(place) for place in places}
    file = places[0] / "gt" / "gt.txt"
    rows = score({n: (s, [1, 2], read_results(file, [1, 2] if n == "a" else [1])) for n, s in sequences.items()}, "x")
    assert [(row.sequence, row.mota) for row in rows] == [("a", 1.0), ("b", 0.5), ("all", 0.75)]


def test_dropped_frames_are_neither_followed_nor_scored(tmp_path: Path) -> None:
    truth = "".join(f"{frame},1,{frame},10,20,40,1,1,1\n" for frame in range(1, 201))
    sequence = read_sequence(folder(tmp_path, truth, det=truth.replace(",1,", ",-1,", 1)))
    frames = kept_frames(sequence, 0.5, seed=3)
    assert frames == kept_frames(sequence, 0.5, seed=3) != kept_frames(sequence, 0.5, seed=4)
    assert 70 < len(frames) < 130
    assert kept_frames(sequence, 0, seed=3) == list(range(1, 201))
    rows = rows_of(replay(sequence, PersonTracker(), frames))
    assert [row[0] for row in rows] == frames
    (row,) = score({"s": (sequence, frames, rows)}, "det")
    assert (row.mota, row.idf1, row.missed) == (1, 1, 0)


def test_scores_in_percent_are_scaled(tmp_path: Path) -> None:
    det = "1,-1,10,10,20,40,95\n1,-1,100,10,20,40,-5\n"
    ((_, tracks),) = replay(read_sequence(folder(tmp_path, det=det)), PersonTracker(), [1])
    assert tracks.scores.tolist() == [1.0]


def test_pictures_go_through_the_pipeline_at_their_times(tmp_path: Path) -> None:
    place = folder(tmp_path)
    (place / "img1").mkdir()
    for frame in (1, 2):
        cv2.imwrite(str(place / "img1" / f"{frame:06}.jpg"), np.zeros((48, 64, 3), np.uint8))
    trackers: list[FakeTracker] = []

    def new_tracker() -> FakeTracker:
        trackers.append(FakeTracker())
        return trackers[-1]

    pipeline = Pipeline(FakeDetector(people=2), FakeEstimator(), new_tracker, lambda _: None, Meter())
    found = list(run_pictures(read_sequence(place), pipeline, [1, 2]))
    assert [(frame, tracks.ids.tolist()) for frame, tracks in found] == [(1, [1, 2]), (2, [1, 2])]
    assert trackers[0].calls == ["update 0.00", "update 0.04"]
    with pytest.raises(FileNotFoundError, match="has no picture of frame 3"):
        list(run_pictures(read_sequence(place), pipeline, [3]))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere"], 1, "nowhere/gt/gt.txt: no such file"),
        (["SEQ-01"], 2, "have neither det/det.txt nor pictures"),
        (["SEQ-01", "SEQ-01"], 2, "names of their own, got SEQ-01, SEQ-01"),
        (["SEQ-01", "--boxes", "det"], 1, "det.txt: no such file"),
        (["SEQ-01", "--fps", "0"], 2, "SEQ-01: frames a second must be above 0, got 0"),
        (["SEQ-01", "--drop", "1"], 2, "--drop must be a share from 0 to under 1, got 1.0"),
        (["SEQ-01", "--boxes", "bad.txt"], 2, "bad.txt: a row must have frame,id,left,top,width,height, got 2 columns"),
        (["SEQ-01", "--boxes", "none.txt"], 2, "SEQ-01: nobody was found by none.txt"),
    ],
)
def test_what_cannot_be_scored_is_told(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    folder(tmp_path)
    Path("bad.txt").write_text("1,2\n")
    Path("none.txt").write_text("")
    assert main(["eval", "mot", *words]) == code
    assert message in capsys.readouterr().err


@pytest.mark.assets
def test_the_command_scores_detections_and_results(assets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = assets / "gt" / "mot15" / "TUD-Campus"
    results = str(place / "reference_results.txt")
    assert main(["eval", "mot", str(place), "--boxes", "det", "--boxes", results]) == 0
    det, reference = (line.split() for line in capsys.readouterr().out.splitlines()[-2:])
    assert reference[:4] == ["TUD-Campus", "reference_results.txt", "0.526", "0.558"]
    assert det[:2] == ["TUD-Campus", "det"]
    assert float(det[2]) >= 0.58
    assert float(det[3]) >= 0.70
    assert int(det[5]) <= 4


def test_pictures_are_scored_with_the_networks_of_a_run(
    astronaut_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first pictures of a clip against what a run of the clip found."""
    found = tmp_path / "found.mot.txt"
    assert main(["-s", str(astronaut_clip), "-o", str(found), "--end", "0.5", "--precision", "fp32"]) == 0
    place = folder(tmp_path, found.read_text().replace(",-1,-1,-1", ",1,1,1"), "[Sequence]\nframeRate=24\n")
    (place / "img1").mkdir()
    film = cv2.VideoCapture(str(astronaut_clip))
    for frame in range(1, read_sequence(place).frames + 1):
        cv2.imwrite(str(place / "img1" / f"{frame:06}.png"), film.read()[1])
    film.release()
    capsys.readouterr()
    assert main(["eval", "mot", str(place)]) == 0
    printed = capsys.readouterr().out.splitlines()
    name, boxes, mota, idf1, *_ = printed[-1].split()
    assert (name, boxes) == ("SEQ-01", "detector")
    assert float(mota) > 0.95
    assert float(idf1) > 0.95
    notes = [line for line in printed if line.startswith(("detector: ", "pose: "))]
    assert [note.endswith(" fp32") for note in notes] == [True, True]
