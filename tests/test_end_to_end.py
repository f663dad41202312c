"""The command line on real people with real models, and on everything that can be wrong."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from astronaut import DETECTOR, FRAMES, JOINTS, POSE, RATE, seen_box, seen_points, write_views

from engines.skeletons import COCO17
from stream.cli.main import main

ROOT = Path(__file__).parents[1]
PEOPLE_CLIP = "fiyud_dance.mp4"


@pytest.fixture
def models() -> list[str]:
    """Flags that name two models by path."""
    return ["--detector", str(DETECTOR), "--pose", str(POSE)]


def times(path: Path, kind: str = "video") -> list[Fraction]:
    """The presentation times of the decoded frames of a file, seconds."""
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams if s.type == kind)
        return [frame.pts * frame.time_base for frame in container.decode(stream)]


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_with_nothing_named_the_embedded_models_follow_and_pose_the_person(
    astronaut_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """README's first command on a machine without models and network."""
    out, records = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    assert main(["--source", str(astronaut_clip), "--output", str(out), "--output", str(records)]) == 0
    assert times(out) == times(astronaut_clip) == [Fraction(i, RATE) for i in range(FRAMES)]
    found = rows(records)
    people = [row["people"] for row in found]
    assert sum(len(seen) == 1 for seen in people) >= 0.95 * FRAMES
    assert {person["id"] for seen in people for person in seen} == {1}
    joints = [COCO17.names.index(name) for name in JOINTS]
    points = np.array([seen[0]["keypoints"] for seen in people if seen])[:, joints]
    frames = [row["frame"] for row in found if row["people"]]
    wanted = np.array([seen_points(frame) for frame in frames])
    heights = np.array([seen_box(frame)[3] - seen_box(frame)[1] for frame in frames])
    away = np.linalg.norm(points[..., :2] - wanted, axis=2) / heights[:, None]
    assert np.quantile(away, 0.95, axis=0).max() < 0.08, "of her height"
    assert points[:, 1, 0].mean() > points[:, 2, 0].mean(), "her left eye is to the right"
    # The camera goes 36 pixels to one side and back, and her nose to the other.
    assert np.corrcoef(points[:, 0, 0], wanted[:, 0, 0])[0, 1] > 0.9
    assert np.ptp(points[:, 0, 0]) == pytest.approx(np.ptp(wanted[:, 0, 0]), rel=0.4)
    told = " ".join(capsys.readouterr().out.split())
    assert (
        "models posestream-detect (embedded), posestream-pose (embedded); better: python run.py models fetch yolox-s"
        " hrnet-w32, then --detector yolox-s --pose hrnet-w32" in told
    )


def test_the_dancers(assets: Path, tmp_path: Path) -> None:
    clip, out, records = assets / "video" / PEOPLE_CLIP, tmp_path / "out.mp4", tmp_path / "out.jsonl"
    models = ["--detector", str(assets / "models" / "yolox_nano_dynhw.onnx"), "--imgsz", "640",
              "--pose", str(assets / "models" / "tinypose_256x192_dyn.onnx")]  # fmt: skip
    assert main(["--source", str(clip), "--output", str(out), "--output", str(records), *models]) == 0
    assert times(out) == times(clip)
    assert len(times(out)) == 267
    assert times(out)[0] == Fraction(512, 15360)
    assert times(out, "audio") == times(clip, "audio")
    assert len(times(out, "audio")) > 300
    people = [len(row["people"]) for row in rows(records)]
    assert sum(count == 3 for count in people) >= 0.95 * 267
    assert {person["id"] for row in rows(records) for person in row["people"]} == {1, 2, 3}


@pytest.mark.parametrize("clip", [
    "fiyud_dance.mp4", "mmaction2_demo_skeleton.mp4", "nandinib1999_pedestrians.mp4",
    "intel_one-by-one-person-detection.mp4", "pose2sim_multi_cam01.mp4", "mmaction2_test_video_structuralize.mp4",
])  # fmt: skip
def test_every_clip_keeps_its_times(assets: Path, tmp_path: Path, models: list[str], clip: str) -> None:
    source, out = assets / "video" / clip, tmp_path / "out.mp4"
    assert main(["-s", str(source), "-o", str(out), *models, "--end", "0.6"]) == 0
    wanted = [time for time in times(source) if time < Fraction(6, 10)]
    assert times(out) == wanted


@pytest.mark.parametrize("pose", ["tinypose_256x192_dyn", "tinypose_128x96_dyn"])
@pytest.mark.parametrize("detector", ["yolox_nano", "yolox_nano_dynhw", "rtmdet_nano_dyn"])
def test_every_pair_of_models_finds_the_two_people(assets: Path, tmp_path: Path, detector: str, pose: str) -> None:
    records = tmp_path / "out.jsonl"
    folder = assets / "models"
    flags = ["--detector", str(folder / f"{detector}.onnx"), "--pose", str(folder / f"{pose}.onnx")]
    clip = assets / "video" / "mmaction2_demo_skeleton.mp4"
    assert main(["-s", str(clip), "-o", str(records), *flags, "--end", "0.3"]) == 0
    people = Counter(len(row["people"]) for row in rows(records))
    assert people.most_common(1)[0][0] == 2
    joints = np.array([person["keypoints"] for row in rows(records) for person in row["people"]])
    assert joints.shape[1:] == (17, 3)
    assert np.median(joints[..., 2]) > 0.5


def test_everything_out_at_once(astronaut_clip: Path, tmp_path: Path, models: list[str]) -> None:
    names = ["a.mp4", "b.mkv", "c.jsonl", "d.coco.json", "e.mot.txt", "f.csv", "g/"]
    outputs = list(itertools.chain.from_iterable(("-o", f"{tmp_path}/{name}") for name in names))
    assert main(["-s", str(astronaut_clip), *outputs, *models, "--end", "0.2", "--detect-every", "3"]) == 0
    frames = len(rows(tmp_path / "c.jsonl"))
    assert frames == 5
    assert frames == len(times(tmp_path / "a.mp4")) == len(times(tmp_path / "b.mkv"))
    assert len(list((tmp_path / "g").glob("*.jpg"))) == frames
    people = sum(len(row["people"]) for row in rows(tmp_path / "c.jsonl"))
    assert people == len(json.loads((tmp_path / "d.coco.json").read_text()))
    assert people == len((tmp_path / "e.mot.txt").read_text().splitlines())
    assert people + 1 == len((tmp_path / "f.csv").read_text().splitlines())
    assert not list(tmp_path.glob("*.part*"))


def test_pictures_in_pictures_out_without_identities(tmp_path: Path, models: list[str]) -> None:
    first, *_ = write_views(tmp_path)
    pattern, records = str(tmp_path / "view-*.jpg"), tmp_path / "out.jsonl"
    assert main(["-s", pattern, "-o", f"{tmp_path}/drawn/", "-o", str(records), *models]) == 0
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == [f"view-0{i}.jpg" for i in range(4)]
    assert {person["id"] for row in rows(records) for person in row["people"]} == {None}
    before, after = cv2.imread(str(first)), cv2.imread(f"{tmp_path}/drawn/view-00.jpg")
    assert before.shape == after.shape
    assert np.abs(before.astype(int) - after).max() > 100


def test_a_black_background_shows_nothing_of_the_picture(
    astronaut_picture: Path, tmp_path: Path, models: list[str]
) -> None:
    flags = ["-s", str(astronaut_picture), "-o", f"{tmp_path}/drawn/", "--background", "black"]
    assert main([*flags, *models]) == 0
    picture = cv2.imread(f"{tmp_path}/drawn/{astronaut_picture.name}")
    assert 0.005 < (picture.max(axis=2) > 40).mean() < 0.2


def test_the_test_device_is_a_live_source(tmp_path: Path, models: list[str]) -> None:
    records = tmp_path / "out.jsonl"
    device = "lavfi:testsrc2=size=320x240:rate=20:duration=1,realtime"
    assert main(["-s", device, "-o", str(records), *models]) == 0
    times_s = [row["time_s"] for row in rows(records)]
    assert times_s == sorted(set(times_s))
    assert 5 <= len(times_s) <= 20


WRONG = {
    "missing file": (["-s", "missing.mp4"], "missing.mp4", 1),
    "no video": (["-s", "text.mp4"], "text.mp4", 1),
    "no frames": (["-s", "empty.mp4"], "empty.mp4", 1),
    "unknown detector": (["--detector", "yolo99"], "yolo99", 1),
    "missing model": (["--pose", "gone.onnx"], "gone.onnx", 1),
    "no model": (["--pose", "text.onnx"], "text.onnx", 1),
    "detector as pose": (["--pose", "{detector}"], "pose", 1),
    "unknown ending": (["-o", "out.gif"], "out.gif", 2),
    "two outputs to one path": (["-o", "out.mp4", "-o", "./out.mp4"], "two outputs", 2),
    "output is the source": (["-o", "{clip}"], "is the source", 2),
    "existing output": (["-o", "old.mp4"], "--overwrite", 2),
    "unwritable output": (["-o", "/proc/out.mp4"], "/proc/out.mp4", 1),
    "unknown key": (["--set", "detect.cnfidence=1"], "detect.cnfidence", 2),
    "unknown flag": (["--outptu", "x"], "--outptu", 2),
    "no display": (["--show"], "needs a display", 1),
    "nothing to do": (["--no-output"], "give --output FILE, --show or --serve", 2),
    "unknown encoder": (["-o", "out.mp4", "--encoder", "libx999"], "libx999", 2),
    "a time that is none": (["--start", "soon"], "soon", 2),
    "an end before the start": (["--start", "3", "--end", "2"], "end_s", 2),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_in_one_line(
    astronaut_clip: Path, tmp_path: Path, models: list[str], name: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    flags, wanted, code = WRONG[name]
    monkeypatch.chdir(tmp_path)
    for display in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(display, raising=False)
    for file, content in (
        ("text.mp4", b"no video"),
        ("text.onnx", b"no model"),
        ("old.mp4", b"old"),
        ("empty.mp4", b""),
    ):
        Path(file).write_bytes(content)
    clip = str(astronaut_clip)
    flags = [flag.format(clip=clip, detector=models[1]) for flag in flags]
    if "-s" not in flags:
        flags += ["-s", clip]
    if "--no-output" in flags:
        flags.remove("--no-output")
    elif "-o" not in flags and "--show" not in flags:
        flags += ["-o", "out.mp4"]
    try:
        found = main([*models, *flags])
    except SystemExit as stopped:
        found = stopped.code
    said = capsys.readouterr().err.strip().splitlines()
    assert found == code, said
    assert wanted in said[-1]
    assert "Traceback" not in "".join(said)
    assert Path("old.mp4").read_bytes() == b"old"
    assert not Path("out.mp4").exists()


def test_a_truncated_file_is_written_as_far_as_it_goes_and_the_loss_is_told(
    astronaut_clip: Path, tmp_path: Path, models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    cut, out = tmp_path / "cut.mkv", tmp_path / "out.mp4"
    with av.open(str(astronaut_clip)) as source, av.open(str(cut), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    content = cut.read_bytes()
    cut.write_bytes(content[: len(content) // 3])
    assert main(["-s", str(cut), "-o", str(out), *models]) == 1
    assert 5 <= len(times(out)) < FRAMES
    assert "ends early" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_with_a_file_that_plays(
    astronaut_clip: Path, tmp_path: Path, models: list[str], number: signal.Signals, code: int
) -> None:
    out, records = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    outputs = ["-o", str(out), "-o", str(records)]
    command = [sys.executable, str(ROOT / "run.py"), "-s", str(astronaut_clip), "--loop", "40", *outputs, *models]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        wait_for_lines(tmp_path / "out.part.jsonl", 100, process)
        process.send_signal(number)
        assert process.wait(timeout=20) == code
    written = rows(records)
    assert 100 <= len(written) < 40 * FRAMES
    assert len(times(out)) == len(written)


def wait_for_lines(path: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    """Return once a growing file has `count` lines."""
    while process.poll() is None:
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        try:
            process.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError(f"the run ended with {process.returncode} before it was told to")


def test_every_flag_ends_in_the_configuration_it_prints(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    flags = ["-s", "a.mp4", "-o", "b.mp4", "--conf", "0.3", "--set", "video.crf=30", "--mirror", "--start", "1:30"]
    assert main([*flags, "--print-config"]) == 0
    printed = capsys.readouterr().out
    (tmp_path / "again.yaml").write_text(printed)
    assert main(["--config", str(tmp_path / "again.yaml"), "--print-config"]) == 0
    assert capsys.readouterr().out == printed
    assert "confidence: 0.3" in printed
    assert "crf: 30" in printed
    assert "start_s: 90.0" in printed


def test_a_printed_configuration_tells_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--source", "rtsp://admin:secret@cam/one", "--show", "--print-config"]) == 0
    printed = capsys.readouterr().out
    assert "rtsp://cam/one" in printed
    assert "secret" not in printed


def test_a_configuration_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", str(tmp_path / "none.yaml")]) == 1
    assert "none.yaml: no such file; configs/ has three" in capsys.readouterr().err
