from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from astronaut import DETECTOR, FRAMES, JOINTS, POSE, seen_box, seen_points, write_views

from engines.skeletons import COCO17
from stream.cli.images_flags import both_parser, detect_parser, pose_parser
from stream.cli.main import main

ROOT = Path(__file__).parents[2]
EXPERIMENT = """
OUTPUT_DIR: '{root}/output'
DATASET:
  DATASET: custom
  ANNOTS: '{root}/annots'
  IMAGES: '{root}/images'
  CUTS: '{root}/cuts'
  FINAL: '{root}/final'
MODEL: {{NAME: pose_hrnet, NUM_JOINTS: 17, PRETRAINED: '{pose}', IMAGE_SIZE: [192, 256], HEATMAP_SIZE: [48, 64]}}
TEST: {{FLIP_TEST: true, POST_PROCESS: true, SHIFT_HEATMAP: true, MINE: 1}}
DEBUG: {{SAVE_HEATMAPS_PRED: true}}
"""
SEEN = [COCO17.names.index(name) for name in JOINTS]
"""The joints that the pictures show."""
SMALL = ["--circle_radius", "3", "--circle_thickness", "-1", "--label", "0", "--line_thickness", "2"]


@pytest.fixture
def detector() -> list[str]:
    return ["--detector", str(DETECTOR)]


@pytest.fixture
def pose() -> list[str]:
    return ["--pose", str(POSE)]


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """A folder with four pictures of one person, view-00.jpg and on."""
    root = tmp_path / "pose-estimation"
    (root / "images").mkdir(parents=True)
    write_views(root / "images")
    return root


@pytest.fixture
def tennis(assets: Path, tmp_path: Path) -> Path:
    """A folder with the four pictures of the older tools, each of a whole player."""
    root = tmp_path / "pose-estimation"
    (root / "images").mkdir(parents=True)
    for picture in (assets / "images").glob("tennis-*.jpg"):
        shutil.copy(picture, root / "images")
    return root


@pytest.fixture
def of_tennis(assets: Path) -> list[str]:
    """Flags that name models for `tennis`."""
    folder = assets / "models"
    return ["--detector", str(folder / "yolox_nano.onnx"), "--pose", str(folder / "tinypose_256x192_dyn.onnx")]


def files(root: Path) -> dict[str, list[str]]:
    """What lies in each folder that was written."""
    found: dict[str, list[str]] = {}
    for file in sorted(root.rglob("*")):
        if file.is_file() and file.parent.name != "images" and file.suffix != ".yaml":
            found.setdefault(str(file.parent.relative_to(root)), []).append(file.name)
    return found


def layout(output: str, name: str = "view") -> dict[str, list[str]]:
    """What four pictures come to, one person each."""
    stems, numbered = [f"{name}-0{i}" for i in range(4)], [f"inference_{i}" for i in range(4)]
    return {
        "annots": [f"{stem}.json" for stem in stems],
        "cuts": [f"{stem}-0.jpg" for stem in stems],
        "final": [f"{stem}.jpg" for stem in stems],
        "inspect": [f"{stem}.jpg" for stem in stems],
        f"output/{output}/annots": [f"{name}.json" for name in numbered],
        f"output/{output}/debug": [f"{name}.jpg" for name in numbered],
        f"output/{output}/inspect": [f"{name}.jpg" for name in numbered],
        f"output/{output}/poses": [f"{stem}.json" for stem in stems],
    }


def test_one_go_with_no_model_named_writes_the_whole_layout(shots: Path, capsys) -> None:
    assert main(["images", f"{shots}/", *SMALL]) == 0
    assert files(shots) == layout("custom/posestream-pose/default")
    for i in range(4):
        record = json.loads((shots / f"output/custom/posestream-pose/default/poses/view-0{i}.json").read_text())
        assert record["source"] == f"{shots}/images/view-0{i}.jpg"
        (person,) = record["people"]
        joints, truth = np.array(person["keypoints"]), seen_points(i * FRAMES // 4)
        height = np.ptp(seen_box(i * FRAMES // 4)[1::2])
        assert joints.shape == (17, 3)
        away = np.linalg.norm(joints[SEEN, :2] - truth, axis=1)
        assert (away < 0.08 * height).all()
        final = cv2.imread(str(shots / f"final/view-0{i}.jpg")).astype(int)
        before = cv2.imread(str(shots / f"images/view-0{i}.jpg")).astype(int)
        assert final.shape == before.shape
        assert 0.001 < (np.abs(final - before).max(axis=2) > 90).mean() < 0.1
    said = capsys.readouterr().out
    assert "pictures  4" in said
    assert "people    4" in said


@pytest.mark.assets
def test_one_go_writes_the_whole_layout(tennis: Path, of_tennis: list[str], capsys) -> None:
    assert main(["images", f"{tennis}/", *of_tennis, *SMALL]) == 0
    assert files(tennis) == layout("custom/tinypose_256x192_dyn/default", "tennis")
    for i in range(4):
        record = json.loads((tennis / f"output/custom/tinypose_256x192_dyn/default/poses/tennis-0{i}.json").read_text())
        assert record["source"] == f"{tennis}/images/tennis-0{i}.jpg"
        (person,) = record["people"]
        joints = np.array(person["keypoints"])
        x1, y1, x2, y2 = person["box"]
        assert joints.shape == (17, 3)
        assert np.median(joints[:, 2]) > 0.5
        # Head above hips above ankles, all of them in the box or a little beside it.
        assert joints[0, 1] < joints[11, 1] < joints[15, 1]
        assert ((joints[:, :2] > (x1 - 30, y1 - 30)) & (joints[:, :2] < (x2 + 30, y2 + 30))).all()
        final = cv2.imread(str(tennis / f"final/tennis-0{i}.jpg")).astype(int)
        before = cv2.imread(str(tennis / f"images/tennis-0{i}.jpg")).astype(int)
        assert final.shape == before.shape
        assert 0.001 < (np.abs(final - before).max(axis=2) > 90).mean() < 0.05
    said = capsys.readouterr().out
    assert "pictures  4" in said
    assert "people    4" in said


def test_the_two_old_commands_write_the_same_as_one_go_with_the_experiment(
    shots: Path, detector: list[str], pose: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = shots / "mine.yaml"
    experiment.write_text(EXPERIMENT.format(root=shots, pose=pose[1]))
    folders = [f"--{old}_folder={shots}/{new}" for old, new in
               (("image", "images"), ("annot", "annots"), ("inspect", "inspect"), ("cut", "cuts"))]  # fmt: skip
    assert main(["images", "detect", *folders, *detector, "--conf_thres", "0.4", "--nms_thres", "0.5"]) == 0
    assert list(files(shots)) == ["annots", "cuts", "inspect"]
    assert main(["images", "pose", "--cfg", str(experiment)]) == 0
    said = capsys.readouterr().err
    assert said.count("TEST.MINE is no key of an experiment and is ignored") == 1
    assert files(shots) == layout("custom/pose_hrnet/mine")
    two = {file: file.read_bytes() for file in shots.rglob("*.*") if "poses" not in file.parts}
    assert main(["images", str(shots), *detector, "--batch_size", "1"]) == 0
    assert {file: file.read_bytes() for file in shots.rglob("*.*") if "poses" not in file.parts} == two
    (box,) = json.loads((shots / "annots" / "view-00.json").read_text())["boxes"]
    assert (box["w"], box["center"]["x"]) == (box["x2"] - box["x1"], box["w"] / 2)


def joints_of(root: Path, *, model: str = "pose_hrnet/mine") -> np.ndarray:
    """The joints in heat-map cells of all four people, (4, 17, 2)."""
    folder = root / "output" / "custom" / model / "annots"
    people = [json.loads((folder / f"inference_{i}.json").read_text())["batch_0"]["pred"] for i in range(4)]
    return np.array([list(person["joints"].values()) for person in people])


def test_trailing_overrides_decide_the_decoding(shots: Path, detector: list[str], pose: list[str]) -> None:
    (shots / "mine.yaml").write_text(EXPERIMENT.format(root=shots, pose=pose[1]))
    assert main(["images", str(shots), *detector]) == 0
    flipped = joints_of(shots)
    command = ["images", "pose", "--cfg", str(shots / "mine.yaml"), "--precision", "fp32"]
    assert main([*command, "TEST.FLIP_TEST", "False"]) == 0
    quarter = joints_of(shots)
    assert main([*command, "TEST.FLIP_TEST", "False", "TEST.POST_PROCESS", "False"]) == 0
    whole = joints_of(shots)
    assert main([*command, "TEST.SHIFT_HEATMAP", "False"]) == 0
    unshifted = joints_of(shots)
    shown = shots / "output" / "custom" / "pose_hrnet" / "mine" / "debug"
    assert len(list(shown.iterdir())) == 4
    assert main([*command, "TEST.SHIFT_HEATMAP", "False", "DEBUG.SAVE_HEATMAPS_PRED", "False"]) == 0
    assert list(shown.iterdir()) == []
    np.testing.assert_array_equal(joints_of(shots), unshifted)
    assert (whole == np.rint(whole)).all()
    assert set(np.unique(np.abs(quarter - whole)).tolist()) <= {0.0, 0.25}
    # Of what the pictures lack any place may win, often one at an edge, which is not left.
    assert (np.abs(quarter - whole)[:, SEEN] == 0.25).mean() > 0.8
    assert (quarter != flipped).any()
    assert (unshifted != flipped).any()
    assert np.abs(unshifted - flipped)[:, SEEN].mean() < 2


def test_stretching_gives_the_old_crops(shots: Path, detector: list[str], pose: list[str]) -> None:
    assert main(["images", str(shots), *detector, *pose]) == 0
    fitted = joints_of(shots, model="posestream-pose/default")
    grid = cv2.imread(str(shots / "output/custom/posestream-pose/default/debug/inference_0.jpg"))
    assert grid.shape == (64, 18 * 48, 3)
    assert main(["images", str(shots), *detector, *pose, "--stretch"]) == 0
    stretched = joints_of(shots, model="posestream-pose/default")
    # Without the padding of a quarter people fill their crops: here her eyes are farther apart.
    apart = [np.linalg.norm(found[:, 1] - found[:, 2], axis=1).mean() for found in (fitted, stretched)]
    assert apart[1] > 1.1 * apart[0]


def test_resuming_after_a_signal_does_the_rest(shots: Path, detector: list[str], pose: list[str]) -> None:
    picture = (shots / "images" / "view-00.jpg").read_bytes()
    for i in range(60):
        (shots / "images" / f"more-{i:02}.jpg").write_bytes(picture)
    command = [sys.executable, str(ROOT / "run.py"), "images", str(shots), *detector, *pose]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        wait_for_files(shots / "final", 5, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 143
        assert process.stdout is not None
        assert b"pictures" in process.stdout.read()
    assert 5 <= len(list((shots / "final").iterdir())) < 64
    assert not list(shots.rglob("*.part*"))
    assert main(["images", str(shots), *detector, *pose, "--resume"]) == 0
    assert len(list((shots / "final").iterdir())) == 64
    numbered = shots / "output/custom/posestream-pose/default/annots"
    assert {file.name for file in numbered.iterdir()} == {f"inference_{i}.json" for i in range(64)}


def wait_for_files(folder: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    """Return once a folder has `count` files."""
    while process.poll() is None:
        if len(list(folder.glob("*"))) >= count:
            return
        try:
            process.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError(f"the run ended with {process.returncode} before it was told to")


def test_a_broken_picture_is_named_and_the_exit_is_not_zero(shots: Path, detector, pose, capsys) -> None:
    (shots / "images" / "broken.png").write_bytes(b"no picture")
    assert main(["images", str(shots), *detector, *pose]) == 1
    said = capsys.readouterr().err
    assert f"error: {shots}/images/broken.png: is no picture that can be read" in said
    assert "error: 1 of 5 pictures failed" in said
    assert len(list((shots / "final").iterdir())) == 4


WRONG = {
    "no folder": (["images", "gone"], "gone/images: no such folder", 1),
    "no pictures": (["images", "empty"], "empty/images: no pictures there", 1),
    "two of one stem": (["images", "twins"], "a.jpg and twins/images/a.png would both be written as a", 2),
    "no words": (["images"], "FOLDER", 2),
    "unknown flag": (["images", "twins", "--confthres", "1"], "--confthres", 2),
    "one folder twice": (
        ["images", "detect", "--image_folder", "one/images", "--inspect_folder", "one/images"],
        "images and inspect are one folder",
        2,
    ),
    "missing weights": (
        ["images", "detect", "--image_folder", "one/images", "--weights_path", "gone.pth"],
        "gone.pth",
        1,
    ),
    "missing network": (
        ["images", "detect", "--image_folder", "one/images", "--weights_path", "gone.weights"],
        "config/yolov3.cfg: no such network",
        1,
    ),
    "wrong class first": (
        ["images", "detect", "--image_folder", "one/images", "--weights_path", "a.onnx", "--class_path", "names"],
        "names: the first class must be person, got 'bicycle'",
        2,
    ),
    "threshold": (["images", "one", "--conf_thres", "1.5"], "confidence must be in [0, 1], got 1.5", 2),
    "batch": (["images", "one", "--batch_size", "0"], "batch_size must be 1 or more, got 0", 2),
    "threads": (["images", "one", "--n_cpu", "-1"], "n_cpu must be 0 (one per core) or more, got -1", 2),
    "no experiment": (["images", "pose"], "--cfg", 2),
    "missing experiment": (["images", "pose", "--cfg", "gone.yaml"], "gone.yaml: no such experiment file", 1),
    "experiment without folders": (["images", "pose", "--cfg", "bare.yaml"], "bare.yaml: DATASET.IMAGES is missing", 2),
    "half an override": (["images", "pose", "--cfg", "bare.yaml", "TEST.FLIP_TEST"], "one has no value", 2),
    "two experiments": (["images", "several"], "a.yaml and b.yml: which experiment?", 2),
    "missing checkpoint": (["images", "missing", "{detector}"], "net.pth: no such checkpoint", 1),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_in_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words, wanted, code = WRONG[name]
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "twins", "one", "several", "missing"):
        Path(folder, "images").mkdir(parents=True)
    cv2.imwrite("one/images/a.jpg", np.zeros((20, 20, 3), np.uint8))
    for picture in ("twins/images/a.jpg", "twins/images/a.png", "several/images/a.jpg", "missing/images/a.jpg"):
        shutil.copy("one/images/a.jpg", picture)
    for file, text in (
        ("bare.yaml", "OUTPUT_DIR: o\n"), ("several/a.yaml", "{}"), ("several/b.yml", "{}"), ("names", "bicycle\n"),
        ("missing/m.yaml", "MODEL: {PRETRAINED: net.pth}\n"),
    ):  # fmt: skip
        Path(file).write_text(text)
    model = f"--detector={DETECTOR}"
    try:
        found = main([word.format(detector=model) for word in words])
    except SystemExit as stopped:
        found = stopped.code
    said = capsys.readouterr().err.strip().splitlines()
    assert found == code, said
    assert wanted in said[-1]
    assert not list(Path().glob("*/annots"))


def test_flags_have_the_older_tools_defaults() -> None:
    args = vars(detect_parser().parse_args([]))
    assert {name: str(args[f"{name}_folder"]) for name in ("image", "annot", "inspect", "cut")} == {
        "image": "data/samples", "annot": "annot", "inspect": "inspect", "cut": "cut",
    }  # fmt: skip
    assert (args["conf_thres"], args["nms_thres"], args["batch_size"], args["n_cpu"]) == (0.8, 0.4, 1, 0)
    args = vars(pose_parser().parse_intermixed_args(["--cfg", "a.yaml", "A.B", "1", "C", "-2"]))
    names = ("circle", "label", "line", "circle_radius", "circle_thickness", "label_font_scale", "label_thickness")
    assert [args[name] for name in names] == [1, 1, 1, 20, 10, 3.0, 8]
    assert args["line_thickness"] == 5
    assert args["overrides"] == ["A.B", "1", "C", "-2"]


def test_flags_and_overrides_may_stand_in_any_order() -> None:
    for words in (["in", "--resume", "A", "1"], ["--resume", "in", "A", "1"], ["in", "A", "1", "--resume"]):
        args = both_parser().parse_intermixed_args(words)
        assert (args.folder, args.overrides, args.resume) == ("in", ["A", "1"], True)


@pytest.mark.parametrize("step", [[], ["detect"], ["pose"]])
def test_each_form_explains_itself(step: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["images", *step, "--help"])
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    assert " ".join(["run.py images", *step]) in said
    assert "--resume" in said
