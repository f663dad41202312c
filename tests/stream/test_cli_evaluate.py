"""`run.py eval`: rows, JSON and pictures of real models on a few annotated pictures."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from astronaut import FRAMES, JOINTS, SIZE, seen_box, seen_points, write_views

from engines.coco import CocoPicture, PoseRules
from engines.evaluate import WorstPerson
from engines.hrnet import PoseOptions
from engines.results import Poses
from engines.skeletons import COCO17
from stream.cli.main import main
from stream.scoring import Variation, one_change
from stream.worst import HEIGHT, side_by_side


def coco(assets: Path, *words: str) -> int:
    models, folder = assets / "models", assets / "gt" / "mini" / "coco"
    return main(
        ["eval", "coco", str(folder / "test_coco.json"), "--pose", str(models / "tinypose_256x192_dyn.onnx"), *words]
    )


def annotated(folder: Path) -> Path:
    """Four views of one person as COCO annotates her: her box, and where her joints are."""
    order = [COCO17.names.index(name) for name in JOINTS]
    images, people = [], []
    for number, path in enumerate(write_views(folder)):
        frame = number * FRAMES // 4
        joints = np.zeros((17, 3))
        joints[order] = np.c_[seen_points(frame), np.full(len(JOINTS), 2)]
        x1, y1, x2, y2 = seen_box(frame).tolist()
        box = [x1, y1, x2 - x1, y2 - y1]
        images.append({"id": number, "file_name": path.name, "height": SIZE[0], "width": SIZE[1]})
        people.append({
            "id": number + 1, "image_id": number, "category_id": 1, "iscrowd": 0, "bbox": box, "area": box[2] * box[3],
            "keypoints": joints.ravel().tolist(), "num_keypoints": len(JOINTS),
        })  # fmt: skip
    truth = folder / "astronaut.json"
    truth.write_text(json.dumps({"images": images, "annotations": people, "categories": [{"id": 1, "name": "person"}]}))
    return truth


def test_with_nothing_named_the_embedded_models_are_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores, worst = tmp_path / "scores.json", tmp_path / "worst"
    words = ["--boxes", "truth", "--boxes", "detector", "--flip", "off", "--json", str(scores)]
    assert main(["eval", "coco", str(annotated(tmp_path)), *words, "--save-worst", "2", "--worst-to", str(worst)]) == 0
    assert "astronaut.json: 4 pictures, 4 people with key points" in capsys.readouterr().out
    rows = json.loads(scores.read_text())["rows"]
    assert [row["scored"] for row in rows] == ["boxes", "poses", "poses"]
    assert rows[0]["boxes"] == rows[2]["boxes"] != rows[1]["boxes"] == "ground truth"
    assert rows[0]["ap"] > 0.2
    assert min(row["ap"] for row in rows[1:]) > 0.3, "by joints that were marked by eye"
    assert [len(list(folder.iterdir())) for folder in worst.iterdir()] == [2, 2]


@pytest.mark.assets
def test_rows_name_the_boxes_that_were_used(assets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert coco(assets, "--boxes", "truth", "--flip", "both", "--json", str(tmp_path / "scores.json")) == 0
    printed = capsys.readouterr().out
    assert "test_coco.json: 4 pictures, 12 people with key points" in printed
    assert "ground truth" in printed
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert (scores["pictures"], scores["people"]) == (4, 12)
    rows = [(r["scored"], r["boxes"], r["flip_test"], r["oks_nms"], r["count"]) for r in scores["rows"]]
    assert rows == [("poses", "ground truth", flip, None, 12) for flip in (False, True)]
    assert all(0.7 < row["ap"] < 0.95 for row in scores["rows"])
    assert list(tmp_path.iterdir()) == [tmp_path / "scores.json"]


@pytest.mark.assets
def test_poses_in_the_boxes_of_a_file(assets: Path, tmp_path: Path) -> None:
    detections = assets / "gt" / "mini" / "coco" / "test_coco_det_AP_H_56.json"
    words = ["--boxes", str(detections), "--decode", "quarter", "--flip", "off"]
    assert coco(assets, *words, "--json", str(tmp_path / "scores.json")) == 0
    boxes, poses = json.loads((tmp_path / "scores.json").read_text())["rows"]
    assert (boxes["scored"], boxes["boxes"], boxes["count"]) == ("boxes", detections.name, 118)
    assert (poses["scored"], poses["boxes"], poses["oks_nms"]) == ("poses", detections.name, 0.9)
    assert 60 < poses["count"] < 118, "boxes on one person give one pose"
    assert boxes["ap"] > 0.5
    assert poses["ap"] > 0.75


@pytest.mark.assets
def test_end_to_end_with_the_worst_people(assets: Path, tmp_path: Path) -> None:
    detector = str(assets / "models" / "yolox_nano_dynhw.onnx")
    words = ["--boxes", "detector", "--detector", detector, "--imgsz", "416", "--flip", "off"]
    worst, scores = tmp_path / "worst", tmp_path / "scores.json"
    assert coco(assets, *words, "--save-worst", "2", "--worst-to", str(worst), "--json", str(scores)) == 0
    rows = json.loads(scores.read_text())["rows"]
    assert [row["scored"] for row in rows] == ["boxes", "poses"]
    assert rows[0]["boxes"] == rows[1]["boxes"]
    assert "416x416" in rows[0]["boxes"]
    first, second = sorted(worst.iterdir())
    assert first.name.startswith("01_000000")
    assert first.name[-8:] <= second.name[-8:], "the worse one first"
    assert cv2.imread(str(first)).shape[0] == HEIGHT


@pytest.mark.assets
def test_mpii_scores_the_joints_that_the_model_has(
    assets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", "mpii", str(assets / "gt" / "mini" / "mpii" / "test_mpii.json")]
    model = str(assets / "models" / "tinypose_256x192_dyn.onnx")
    assert main([*words, "--pose", model, "--json", str(tmp_path / "scores.json")]) == 0
    assert "PCKh@0.5 of 5 people in 5 pictures" in capsys.readouterr().out
    scores = json.loads((tmp_path / "scores.json").read_text())["pckh"]
    assert scores["groups"]["Head"] is None
    assert scores["groups"]["Shoulder"] > 85
    assert 80 < scores["mean"] < 95
    assert len(scores["joints"]) == 12


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["eval", "coco", "none.json"], 1, "none.json"),
        (["eval", "coco", "none.json", "--oks-nms", "2"], 2, "oks_nms must lie between 0 and 1, got 2.0"),
        (["eval", "coco", "none.json", "--save-worst", "-1"], 2, "--save-worst must be 0 or more, got -1"),
        (["eval", "mpii", "none.json"], 1, "none.json"),
    ],
)
def test_errors_are_one_line(words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_scores_that_exist_are_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = tmp_path / "scores.json"
    scores.write_text("mine")
    assert main(["eval", "coco", "none.json", "--json", str(scores)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert scores.read_text() == "mine"


def test_a_comparison_changes_one_thing_at_a_time() -> None:
    base = Variation(PoseOptions(decode="dark", flip_test=True, flip_shift=0.75), PoseRules(0.9, True))
    variations = [
        (v.pose.decode, v.pose.flip_test and v.pose.flip_shift, v.rules.oks_nms, v.rules.rescore)
        for v in one_change(base)
    ]
    assert variations == [
        ("dark", 0.75, 0.9, True),
        ("argmax", 0.75, 0.9, True),
        ("quarter", 0.75, 0.9, True),
        ("dark", 1, 0.9, True),
        ("dark", False, 0.9, True),
        ("dark", 0.75, None, True),
        ("dark", 0.75, 0.9, False),
    ]


def person_in(folder: Path, pose: int | None) -> WorstPerson:
    path = folder / "000000000001.png"
    cv2.imwrite(str(path), np.full((100, 80, 3), 90, np.uint8))
    joints = np.tile(np.array([40.0, 50.0], np.float32), (1, 17, 1))
    box = np.array([[30, 20, 50, 80]], np.float32)
    picture = CocoPicture(1, path, (100, 80), joints, np.ones((1, 17), bool), box, np.array([900], np.float32))
    return WorstPerson(picture, 0, 0.1, pose)


@pytest.mark.parametrize("pose", [0, None])
def test_truth_is_left_and_what_was_found_right(tmp_path: Path, pose: int | None) -> None:
    points = np.tile(np.array([35.0, 30.0], np.float32), (1, 17, 1))
    image = side_by_side(person_in(tmp_path, pose), Poses(points, np.ones((1, 17), np.float32), COCO17))
    # 20 x 60 with 21 on each side is 62 x 102, drawn 640 high: the box's middle, (40, 50), in the middle of each half
    width = round(62 * HEIGHT / 102)
    assert image.shape == (HEIGHT, 2 * width + 4, 3)
    left, right = image[:, :width], image[:, -width:]
    middle = (HEIGHT // 2, width // 2)
    up = round(HEIGHT / 2 - 20 * HEIGHT / 102), round(width / 2 - 5 * HEIGHT / 102)
    assert left[middle].tolist() != [90] * 3
    assert left[up].tolist() == [90] * 3
    assert right[middle].tolist() == [90] * 3
    assert (right[up].tolist() == [90] * 3) == (pose is None)
