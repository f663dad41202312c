"""`run.py models build`, and what `models list` says afterwards."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from astronaut import DETECTOR, write_views

from engines import fronts
from engines.backends.base import EngineError
from engines.backends.openvino_backend import load_openvino
from engines.building import Built
from engines.engine_cache import read_engine
from engines.guard import noise
from engines.opening import open_model
from engines.verdict import BARS, Lap, Verdict
from stream.cli import models
from stream.cli.engine_elsewhere import capability
from stream.cli.main import main
from stream.cli.models_build import read_pictures, result_lines
from stream.source import StreamError

VERDICT = Verdict(
    "int8", "OpenVINO CPU int8", "OpenVINO CPU fp32", "12 drawn pictures", BARS["int8"], ap=0.99, than="bf16"
)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `mine` with a detector, named by POSESTREAM_MODELS, and an empty cache, both under what is returned."""
    (tmp_path / "mine").mkdir()
    shutil.copy(DETECTOR, tmp_path / "mine" / "finder.onnx")
    monkeypatch.setenv("POSESTREAM_MODELS", str(tmp_path / "mine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    return tmp_path


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    models.add_parser(parser.add_subparsers())
    args = parser.parse_args(["models", *words])
    return int(args.run(args))


def make_pictures(folder: Path, count: int) -> Path:
    """So many pictures of 8 by 8 pixels, picture i all of value i."""
    folder.mkdir()
    for i in range(count):
        cv2.imwrite(str(folder / f"{i:02}.png"), np.full((8, 8, 3), i, np.uint8))
    return folder


@pytest.mark.assets
def test_a_precision_is_built_and_listed(folders: Path, assets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On these pictures bf16 of YOLOX-nano finds the boxes of fp32."""
    if "BF16" not in load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has no bf16")
    shutil.copy(assets / "models" / "yolox_nano.onnx", folders / "mine" / "yolox_nano.onnx")
    assert run("build", "yolox_nano", "--precision", "bf16", "--guard", str(assets / "images")) == 0
    first, second, third, last = capsys.readouterr().out.splitlines()
    assert first == "yolox_nano: comparing bf16 with fp32"
    assert second.startswith("yolox_nano: bf16 passed: AP to fp32's ")
    assert "; 12 drawn pictures and 9 given ones with " in second
    assert second.endswith(" people (OpenVINO CPU bf16 against OpenVINO CPU fp32)")
    assert third.startswith("yolox_nano: bf16 ")
    assert last.startswith(f"yolox_nano: the verdict is in {folders / 'posestream' / 'built' / 'yolox_nano-bf16-'}")
    assert run("list") == 0
    out = capsys.readouterr().out
    assert second in out


def test_an_embedded_model_is_built_and_listed(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "BF16" not in load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has no bf16")
    write_views(tmp_path)
    words = ["--precision", "bf16", "--guard", str(tmp_path / "view-*.jpg"), "--force"]
    assert run("build", "posestream-detect", *words) == 0
    first, second, *_, last = capsys.readouterr().out.splitlines()
    assert first == "posestream-detect: comparing bf16 with fp32"
    assert second.startswith("posestream-detect: bf16 ")
    assert "; 12 drawn pictures and 4 given ones with 4 people (" in second
    built = folders / "posestream" / "built" / "posestream-detect-bf16-"
    assert last.startswith(f"posestream-detect: the verdict is in {built}")
    assert run("list") == 0
    assert second in capsys.readouterr().out


@pytest.mark.assets
def test_what_was_built_is_used_from_then_on(folders: Path, assets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of TinyPose at 128x96 the heat maps in bf16 are near enough to those in fp32 with a front in fp32."""
    if "BF16" not in load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has no bf16")
    pose = str(assets / "models" / "tinypose_128x96_dyn.onnx")
    assert run("build", pose, "--precision", "bf16") == 0
    assert "; the first 4% of it in fp32; " in capsys.readouterr().out
    said: list[str] = []
    opened = [open_model(pose, "pose", precision=precision, say=said.append) for precision in ("auto", "bf16")]
    crops = noise(opened[0].card.input, 2)
    outputs = [model.backend.infer(crops)[0] for model in opened]
    for model in opened:
        model.backend.close()
    assert [model.backend.name for model in opened] == ["OpenVINO CPU bf16"] * 2
    np.testing.assert_array_equal(*outputs)
    assert said == []


def test_an_engine_for_another_machine_lies_beside_the_model(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorrt_rtx")
    pytest.importorskip("onnx")
    assert run("build", "finder", "--sm", "89", "--sm", "12.0", "--max-batch", "4") == 0
    engine = folders / "mine" / "finder-fp16-sm89-sm120.engine"
    stored = read_engine(engine)
    assert (stored.key.capability, stored.key.profile) == ("8.9 12.0", "batches of 1 to 4")
    assert capsys.readouterr().out.splitlines()[-2:] == [
        f"finder: engine in fp16 for compute capability 8.9 12.0: {engine}",
        "finder: not compared with fp32, as it does not run here; it is used where it lies beside finder.onnx",
    ]


def test_without_tensorrt_the_way_to_it_is_told(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        EngineError, match=r"--sm takes TensorRT-RTX, which is not installed .*; pip install tensorrt-rtx"
    ):
        run("build", "finder", "--sm", "89")


@pytest.mark.parametrize(("text", "wanted"), [("89", "8.9"), ("8.9", "8.9"), ("120", "12.0"), ("12.0", "12.0")])
def test_a_compute_capability_may_have_its_point_or_not(text: str, wanted: str) -> None:
    assert capability(text) == wanted


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (("finder", "--guard", "MINE"), StreamError, "no pictures there"),
    ],
)
def test_what_cannot_be_built_is_told_in_one_line(
    folders: Path, words: tuple[str, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as raised:
        run("build", *(word.replace("MINE", str(folders / "mine")) for word in words))
    assert "\n" not in str(raised.value)


def test_a_precision_of_no_kind_is_misuse(folders: Path) -> None:
    for flags in (("--precision", "int4"), ("--sm", "8.9a")):
        with pytest.raises(SystemExit) as raised:
            run("build", "finder", *flags)
        assert raised.value.code == 2


def test_the_result_says_whether_it_is_used_from_now_on() -> None:
    pays = Built(Path("a.onnx"), Verdict(**{**_fields(VERDICT), "laps": (Lap(1, 5, 10),)}), Path("a.json"))
    assert list(result_lines("net", pays))[1:] == [
        "net: int8 is used from now on: a.onnx; --precision fp32 runs it in fp32",
        "net: the verdict is in a.json",
    ]
    slow = Built(Path("a.onnx"), Verdict(**{**_fields(VERDICT), "laps": (Lap(1, 10, 10.5),)}), Path("a.json"))
    assert list(result_lines("net", slow))[:2] == [
        "net: int8 passed: AP to fp32's 0.990 (0.93 at least); 1.05 times as fast as bf16 at batch 1, which does not"
        " pay (1.1 times would); 12 drawn pictures (OpenVINO CPU int8 against OpenVINO CPU fp32)",
        "net: int8 does not pay and is not used, but by --precision int8",
    ]


def _fields(verdict: Verdict) -> dict[str, object]:
    return {name: getattr(verdict, name) for name in verdict.__dataclass_fields__}


def test_pictures_come_from_all_over_a_folder(tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "shots", 7)
    assert [int(image[0, 0, 0]) for image in read_pictures(str(folder), 3)] == [0, 2, 4]
    assert len(read_pictures(str(folder), 7)) == len(read_pictures(str(folder), 100)) == 7
    assert len(read_pictures(str(folder / "03.png"), 5)) == 1


def test_pictures_come_from_all_over_a_clip(make_clip: Callable[..., Path]) -> None:
    clip = make_clip(frames=10)  # frame i is of luma 40 + 5 i
    first, second, third = (int(image.mean()) for image in read_pictures(str(clip), 3))
    assert second - first == pytest.approx(15 * 255 / 219, abs=2)
    assert third - second == pytest.approx(15 * 255 / 219, abs=2)
    assert len(read_pictures(str(clip), 100)) == 10


@pytest.mark.assets
def test_a_refusal_exits_1_with_the_figures(
    folders: Path, assets: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no front in fp32 eight bits of mantissa leave TinyPose's heat maps 3 % away, of which 2 % are allowed."""
    monkeypatch.setattr(fronts, "FRONTS", ())
    if "BF16" not in load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has no bf16")
    shutil.copy(assets / "models" / "tinypose_256x192_dyn.onnx", folders / "mine" / "pose.onnx")
    (folders / "mine" / "pose.yaml").write_text(
        "name: pose\ntask: pose\nfamily: heatmap\ninput: {size: [256, 192]}\nskeleton: coco17\n"
    )
    assert main(["models", "build", "pose", "--precision", "bf16"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: pose: bf16 refused: outputs differ by 0.03")
    assert error.endswith(" (OpenVINO CPU bf16 against OpenVINO CPU fp32); --force keeps it all the same\n")
    assert main(["models"]) == 0
    assert "pose: bf16 refused: outputs differ by 0.03" in capsys.readouterr().out
