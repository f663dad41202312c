from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stream.cli import codecs, doctor, main
from stream.cli.finding import Finding

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def nothing_of_this_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No models, no display and no GPU, whatever this machine has."""
    for name in ("POSESTREAM_MODELS", "DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))


def rows(text: str) -> dict[str, str]:
    """What is said of each thing, by its name: the state and the rest."""
    lines = text.partition("\n\n")[0].splitlines()[1:]
    return {line[: line.index("  ")]: " ".join(line[line.index("  ") :].split()) for line in lines}


def run_without(*modules: str) -> tuple[int, str]:
    """Exit code and output of the command in a process in which these modules cannot be imported."""
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({modules!r}))\n"
        "from stream.cli.main import main; sys.exit(main(['doctor']))"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


def fake_nvidia_smi(folder: Path, script: str) -> None:
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_this_machine_can_do_the_main_job(capsys: pytest.CaptureFixture[str]) -> None:
    begun = time.monotonic()
    assert main.main(["doctor"]) == 0
    assert time.monotonic() - begun < 10  # 0.8 s on an idle machine
    out, err = capsys.readouterr()
    assert err == ""
    assert "The main job can run here, on the CPU." in out
    said = rows(out)
    for what in ("Python", "packages", "OpenVINO", "decoders", "encoders", "sound", "containers", "disk"):
        assert said[what].startswith("ok "), what
    assert "numpy " in said["packages"]
    assert "CPU" in said["OpenVINO"]
    assert said["encoders"].startswith("ok libx264 ")
    assert said["display"] == "- there is none (DISPLAY is not set); use --output, or run under xvfb-run"
    assert said["models"] == (
        "ok posestream-detect (embedded), posestream-pose (embedded);"
        " better: python run.py models fetch yolox-s hrnet-w32"
    )
    assert said["GPU"] == "- no NVIDIA driver; not needed on a CPU"


def test_one_cpu_backend_is_enough() -> None:
    code, out = run_without("openvino")
    assert code == 0
    assert rows(out)["OpenVINO"].startswith("- ")
    assert rows(out)["ONNX Runtime"].startswith("ok ")


def test_without_any_backend_the_main_job_cannot_run() -> None:
    code, out = run_without("openvino", "onnxruntime")
    assert code == 1
    assert rows(out)["OpenVINO"].startswith("missing no CPU backend: ")
    assert rows(out)["OpenVINO"].endswith("; pip install openvino")
    assert "The main job cannot run here: see OpenVINO." in out


def test_each_missing_library_is_a_line_and_no_crash() -> None:
    code, out = run_without("av", "cv2", "scipy.optimize", "pydantic", "openvino", "onnxruntime")
    assert code == 1
    said = rows(out)
    for what in ("video", "cv2", "scipy.optimize", "models", "OpenVINO"):
        assert said[what].startswith("missing "), what


def test_a_broken_package_list_names_what_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "REQUIRED", ("numpy", "no-such-package-at-all"))
    (packages, *_) = doctor.find_packages()
    assert packages.state == "missing"
    assert packages.detail.endswith("; without no-such-package-at-all")
    assert packages.remedy == "pip install -e . in the folder of run.py"


def test_two_opencvs_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "OPENCVS", ("opencv-python", "numpy"))
    finding = doctor.find_packages()[-1]
    assert (finding.what, finding.state) == ("opencv", "-")
    assert finding.remedy == "pip uninstall opencv-python numpy, then pip install opencv-python"


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for nvidia-smi is a shell script")
@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo 'NVIDIA L4, 23034 MiB, 550.54'", Finding("GPU", "ok", "NVIDIA L4, 23034 MiB, 550.54")),
        ("echo A; echo B", Finding("GPU", "ok", "A; B")),
        ("echo 'driver mismatch' >&2; exit 9", Finding("GPU", "-", "driver mismatch", "reinstall NVIDIA's driver")),
    ],
)
def test_the_gpu_is_what_the_driver_says(tmp_path: Path, script: str, expected: Finding) -> None:
    fake_nvidia_smi(tmp_path, script)
    assert doctor.find_gpu() == expected


def test_an_encoder_is_tried_and_its_fault_told() -> None:
    assert codecs._encoder_fault("libx264") == ""
    assert codecs._encoder_fault("libx264rgb") != ""  # it takes no yuv420p


def test_a_codec_that_does_not_exist_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "DECODERS", ("h264", "no_such_codec"))
    found = {finding.what: finding for finding in codecs.find_codecs(has_gpu=False)}
    assert found["decoders"] == Finding("decoders", "ok", "h264")
    assert found["GPU video"].state == "-"


def test_what_the_main_job_needs_of_ffmpeg_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "DECODERS", ("hevc",))
    found = {finding.what: finding for finding in codecs.find_codecs(has_gpu=False)}
    assert found["decoders"].state == "missing"
    assert found["decoders"].detail == "no h264 in this PyAV"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux lists its cameras")
def test_cameras_are_listed_by_name(tmp_path: Path) -> None:
    devices, classes = tmp_path / "dev", tmp_path / "class"
    devices.mkdir()
    assert doctor.find_cameras(devices, classes).detail == f"none at {devices}/video*"
    (devices / "video0").touch()
    (devices / "video1").touch()
    (classes / "video0").mkdir(parents=True)
    (classes / "video0" / "name").write_text("Front Camera\n")
    found = doctor.find_cameras(devices, classes)
    assert found == Finding("cameras", "ok", f"{devices}/video0 Front Camera, {devices}/video1")


def test_models_are_found_where_the_catalogue_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "mine.onnx").write_bytes(b"x")
    (folder / "bad.yaml").write_text("name: bad\nno: card\n")
    monkeypatch.setenv("POSESTREAM_MODELS", str(folder))
    models, fault = doctor.find_models()
    assert (models.state, models.detail) == (
        "ok", "mine (no card), posestream-detect (embedded), posestream-pose (embedded)"
    )  # fmt: skip
    assert models.remedy == "better: python run.py models fetch yolox-s hrnet-w32"
    assert "bad.yaml" in fault.detail


def test_little_space_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.find_space(tmp_path).detail.endswith(f" GB free in {tmp_path}")
    monkeypatch.setattr(doctor, "LITTLE_SPACE_GB", 1e9)
    assert doctor.find_space(tmp_path).remedy == "make room for long outputs"


def test_the_table_shows_brackets_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    Console(width=100).print(doctor.table_of([Finding("x", "ok", "a [b] c", "do [this]")]))
    assert "a [b] c; do [this]" in capsys.readouterr().out
