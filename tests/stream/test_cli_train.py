"""`run.py train` from annotations to a model that runs, on pictures with drawn people."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxscript")

import openvino  # noqa: F401  # starts a thread of its own, which stays

from engines.cards import read_card
from engines.skeletons import COCO17
from engines.training.logs import read_log
from stream.cli.main import MISUSED, main

PICTURES, SIDE = 8, 120


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return annotated(tmp_path, "mine", seed=0)


def annotated(folder: Path, name: str, seed: int) -> Path:
    """A COCO file of pictures of one person each, dots on noise, none like another."""
    file, folder = folder / f"{name}.json", folder / ("images" if seed == 0 else f"{name}-images")
    folder.mkdir()
    rng = np.random.default_rng(seed)
    images, people = [], []
    for number in range(PICTURES):
        coarse = rng.integers(0, 255, (9, 9, 3), np.uint8)  # looks of their own, for the hashes
        picture = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        points = rng.uniform(30, 90, (len(COCO17.names), 2))
        for x, y in points:
            cv2.circle(picture, (round(x), round(y)), 3, (255, 255, 255), -1)
        cv2.imwrite(str(folder / f"{name}{number}.png"), picture)
        images.append({"id": number, "file_name": f"{name}{number}.png", "width": SIDE, "height": SIDE})
        people.append(
            {
                "id": number + 1,
                "image_id": number,
                "category_id": 1,
                "iscrowd": 0,
                "bbox": [25, 25, 70, 70],
                "area": 2500,
                "keypoints": [value for x, y in points for value in (x, y, 2)],
            }
        )
    file.write_text(
        json.dumps({"images": images, "annotations": people, "categories": [{"id": 1, "name": "person"}]}), "utf-8"
    )
    return file


def train_pose(labels: Path, folder: Path, *more: str) -> int:
    common = ("--width", "4", "--hold", "0.25", "--precision", "fp32", "--validate-every", "3")
    return main(
        ["train", "pose", str(labels), "--to", str(folder), "--stages", "64x64:3:2", "64x64:3:2", *common, *more]
    )


def train_detector(labels: Path, folder: Path, *more: str) -> int:
    common = ("--width", "0.0625", "--size", "64", "--batch", "2", "--hold", "0.25", "--precision", "fp32")
    return main(["train", "detector", str(labels), "--to", str(folder), *common, *more])


def break_box(labels: Path) -> None:
    """Somebody's box has no area."""
    data = json.loads(labels.read_text("utf-8"))
    data["annotations"][3]["bbox"] = [20, 20, 0, 40]
    labels.write_text(json.dumps(data), "utf-8")


def test_a_pose_network_comes_out_with_its_card_log_and_sheets(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, test = tmp_path / "mine", annotated(tmp_path, "test", seed=1)
    words = ["--evaluate", str(test), "--images", str(tmp_path / "images"), "--images", str(tmp_path / "test-images")]
    assert train_pose(labels, folder, "--rights", "our own pictures", "--compact", *words) == 0
    told = capsys.readouterr().out
    assert "8 pictures (8 with everybody labelled), 8 people (8 with joints), 136 labelled joints" in told
    assert "6 people to learn from, 2 held back to mark by, 0 pictures left out" in told
    card = read_card(folder / "mine.yaml")
    assert (card.task, card.family, card.input.size, card.skeleton) == ("pose", "heatmap", (64, 64), "coco17")
    assert card.license == "our own pictures"
    assert card.accuracy is not None
    assert card.accuracy.on == "test.json, 8 pictures"
    assert card.training is not None
    assert (card.training.samples, card.training.seed) == (12, 0)
    assert "best mean OKS of those held back, 0." in str(card.training.notes)
    assert str(tmp_path) not in (folder / "mine.yaml").read_text("utf-8")
    assert [row["step"] for row in read_log(folder / "validation" / "log.csv")] == [3, 6]
    assert cv2.imread(str(folder / "validation-0000006.jpg")).shape == (64, 2 * 64, 3)


def test_what_was_trained_is_a_start_and_a_finished_training_is_not_done_again(labels: Path, tmp_path: Path) -> None:
    assert train_pose(labels, tmp_path / "first") == 0
    written = (tmp_path / "first" / "best.pth").stat().st_mtime_ns
    assert train_pose(labels, tmp_path / "first") == 0
    assert (tmp_path / "first" / "best.pth").stat().st_mtime_ns == written
    start = str(tmp_path / "first" / "first.onnx")
    assert train_pose(labels, tmp_path / "second", "--from", start, "--freeze-backbone", "--rate", "1e-4") == 0
    assert (tmp_path / "second" / "second.onnx").is_file()


def test_a_detector_comes_out_with_its_card(labels: Path, tmp_path: Path) -> None:
    folder = tmp_path / "seen"
    assert train_detector(labels, folder, "--steps", "4", "--validate-every", "2") == 0
    card = read_card(folder / "seen.yaml")
    assert (card.task, card.family, card.input.size) == ("detect", "yolox", (64, 64))
    assert card.training is not None
    assert card.training.samples == 8
    assert [row["step"] for row in read_log(folder / "validation" / "log.csv")] == [2, 4]


def test_of_a_detector_s_pictures_those_with_a_broken_label_are_left_out(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    break_box(labels)
    assert train_detector(labels, tmp_path / "seen", "--steps", "1") == 0
    told = capsys.readouterr().out
    assert "1 pictures left out, as not everybody in them is labelled" in told
    assert "5 pictures to learn from, 2 held back to mark by" in told


def test_check_tells_what_is_in_the_data_and_trains_nothing(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    break_box(labels)
    assert train_pose(labels, tmp_path / "mine", "--check") == 0
    assert "no area" in capsys.readouterr().out
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["pose", "none.json"], "none.json: is not there"),
        (["pose", "DATA", "--stages", "64x64:3"], "a stage must be"),
        (["pose", "DATA", "--partial", "other.json"], "--partial other.json: is none of DATA"),
        (
            ["pose", "DATA", "--freeze-stem"],
            "a stem that has learned nothing is no use frozen",
        ),
        (["pose", "DATA", "--evaluate", "DATA", "--skeleton", "mpii16"], "--evaluate scores COCO's key points"),
        (["pose", "DATA", "--evaluate", "DATA"], "all 8 pictures are like some to be kept out (--exclude, --evaluate)"),
        (["detector", "DATA", "--size", "100"], "size must be multiples of 32"),
    ],
)
def test_misuse_is_told(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], reason: str
) -> None:
    named = [str(labels) if word == "DATA" else word for word in words]
    assert main(["train", *named, "--to", str(tmp_path / "mine")]) != 0
    assert reason in capsys.readouterr().err


def test_pictures_without_labels_need_a_teacher(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_pose(labels.parent / "images", tmp_path / "mine") == MISUSED
    assert "--teacher-detector" in capsys.readouterr().err
