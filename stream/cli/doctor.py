"""`run.py doctor`: what this machine can do, and the remedy for what it cannot."""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module, metadata, util
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stream.cli.codecs import find_codecs
from stream.cli.finding import INSTALL, Finding
from stream.sinks.display import display_fault

PIPED_WIDTH = 250
"""Columns where nobody looks at a screen: one line for each finding."""
PYTHONS = ((3, 11), (3, 14))
"""The first Python that will do, and the first that is untried."""
REQUIRED = ("numpy", "scipy", "av", "pydantic", "PyYAML", "rich")
"""What pip calls the packages that the main job needs, OpenCV apart."""
OPENCVS = ("opencv-python", "opencv-contrib-python", "opencv-python-headless", "opencv-contrib-python-headless")
"""Each of them owns `cv2`: one is needed, a second breaks it."""
IMPORTED = ("numpy", "cv2", "scipy.optimize", "yaml")
"""Modules that are tried: one that is installed may still lack a library of the system."""
SYSTEM_LIBRARIES = "on Debian: apt-get install libgl1 libglib2.0-0"
LITTLE_SPACE_GB = 1.0
"""An hour of 1080p takes about 3 GB."""
GPU_TIMEOUT_S = 2.0
"""nvidia-smi hangs where the driver does."""
_COLOURS = {"ok": "green", "missing": "bold red", "-": "yellow"}


def add_parser(commands: Any) -> None:
    """Add `doctor` to the commands of the parser."""
    text = "what this machine can do, and the remedy for what it cannot"
    commands.add_parser("doctor", help=text, description=f"Says {text}. Exits 1 where the main job cannot run.")


def run(args: argparse.Namespace) -> int:  # noqa: ARG001 - there are no flags
    """Print the findings; 0 where the main job can run on this CPU, given models, else 1."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    gpu, models = find_gpu(), find_models()
    findings = [
        find_python(),
        *find_packages(),
        *find_backends(),
        gpu,
        *find_gpu_packages(),
        *find_codecs(gpu.state == "ok"),
        find_display(),
        find_cameras(),
        *models,
        find_space(Path.cwd()),
    ]
    console.print(table_of(findings))
    console.print()
    lacking = [finding.what for finding in findings if finding.state == "missing"]
    if lacking:
        console.print(f"The main job cannot run here: see {', '.join(lacking)}.", style="bold red")
        return 1
    once = "" if models[0].state == "ok" else ", once there are models"
    console.print(f"The main job can run here, on the CPU{once}.", style="bold green")
    return 0


def table_of(findings: Sequence[Finding]) -> Table:
    """A line for each finding; what does not fit is wrapped, never cut."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("what", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("found; remedy", overflow="fold")
    for finding in findings:
        words = "; ".join(part for part in (finding.detail, finding.remedy) if part)
        table.add_row(finding.what, f"[{_COLOURS[finding.state]}]{finding.state}[/]", escape(words))
    return table


def find_python() -> Finding:
    """Whether this Python will do."""
    detail = f"{platform.python_version()}, {sys.executable}"
    if PYTHONS[0] <= sys.version_info[:2] < PYTHONS[1]:
        return Finding("Python", "ok", detail)
    low, high = (".".join(map(str, bound)) for bound in PYTHONS)
    return Finding("Python", "missing", detail, f"install Python {low} or newer, below {high}")


def find_packages() -> list[Finding]:
    """The packages by version, then what cannot be imported, then two OpenCVs where there are."""
    opencvs = [name for name in OPENCVS if _version(name)]
    versions = {name: _version(name) for name in (*REQUIRED, *opencvs)}
    absent = [name for name, version in versions.items() if version is None]
    detail = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    if not opencvs:
        absent.append(OPENCVS[0])
    if absent:
        found = [Finding("packages", "missing", f"{detail}; without {', '.join(absent)}", INSTALL)]
    else:
        found = [Finding("packages", "ok", detail)]
    for module in IMPORTED:
        try:
            import_module(module)
        except ImportError as error:
            remedy = SYSTEM_LIBRARIES if ".so" in str(error) else INSTALL
            found.append(Finding(module, "missing", f"cannot be imported: {error}", remedy))
    if len(opencvs) > 1:
        remedy = f"pip uninstall {' '.join(opencvs)}, then pip install {OPENCVS[0]}"
        found.append(Finding("opencv", "-", f"{', '.join(opencvs)} overwrite each other", remedy))
    return found


def find_backends() -> list[Finding]:
    """The processor and the libraries that run models on it; one of them is enough."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cpu = f"{_cpu_name()}, {cores} core{'s' if cores > 1 else ''}"
    other = util.find_spec("onnxruntime") is not None
    portable = (
        Finding("ONNX Runtime", "ok", _version("onnxruntime") or "installed")
        if other
        else Finding("ONNX Runtime", "-", "not installed", "not needed beside OpenVINO; pip install onnxruntime")
    )
    try:
        # Within `try`: numpy, which the backend's file imports, may be what is absent.
        from engines.backends.openvino_backend import load_openvino

        core = load_openvino().Core()
        devices = ", ".join(core.available_devices)
        has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except (ImportError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        missing = Finding("OpenVINO", "missing", f"no CPU backend: {reason}", "pip install openvino")
        slower = Finding("OpenVINO", "-", reason, "faster than ONNX Runtime; pip install openvino")
        return [Finding("CPU", "ok", cpu), slower if other else missing, portable]
    bf16 = "computes in bf16, twice as fast as fp32" if has_bf16 else "computes in fp32 only, has no bf16"
    openvino = Finding("OpenVINO", "ok", f"{_version('openvino') or 'installed'} on {devices}")
    return [Finding("CPU", "ok", f"{cpu}, {bf16}"), openvino, portable]


def find_gpu() -> Finding:
    """The NVIDIA GPUs, as the driver names them."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return Finding("GPU", "-", "no NVIDIA driver", "not needed on a CPU")
    query = [tool, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=GPU_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return Finding("GPU", "-", "nvidia-smi does not answer", "restart the machine, or reinstall NVIDIA's driver")
    text = answer.stdout if answer.returncode == 0 else answer.stderr or answer.stdout
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if answer.returncode or not lines:
        return Finding("GPU", "-", lines[0] if lines else "nvidia-smi finds none", "reinstall NVIDIA's driver")
    return Finding("GPU", "ok", "; ".join(lines))


def find_gpu_packages() -> list[Finding]:
    """torch and TensorRT, by their metadata: to import torch takes seconds."""
    found = []
    for what, names in (("torch", ("torch",)), ("TensorRT", ("tensorrt", "tensorrt-rtx"))):
        there = [f"{name} {version}" for name in names if (version := _version(name))]
        if there:
            found.append(Finding(what, "ok", ", ".join(there)))
        else:
            found.append(Finding(what, "-", "not installed", "not needed on a CPU"))
    return found


def find_display() -> Finding:
    """Whether --show can open a window."""
    fault = display_fault()
    if fault is not None:
        return Finding("display", "-", fault, "use --output, or run under xvfb-run")
    return Finding("display", "ok", os.environ.get("DISPLAY") or "the system's own")


def find_cameras(devices: Path = Path("/dev"), classes: Path = Path("/sys/class/video4linux")) -> Finding:
    """The cameras; on Linux those in the folder `devices`, named as `classes` names them."""
    if sys.platform.startswith("linux"):
        cameras = []
        for device in sorted(devices.glob("video*")):
            name = classes / device.name / "name"
            cameras.append(f"{device} {name.read_text(encoding='utf-8')}".strip() if name.is_file() else str(device))
    else:
        try:
            from stream.video_input import list_cameras
        except ImportError as error:
            return Finding("cameras", "-", f"cannot be looked for: {error}", INSTALL)
        cameras = list_cameras()
    if cameras:
        return Finding("cameras", "ok", ", ".join(cameras))
    where = f"none at {devices}/video*" if sys.platform.startswith("linux") else "none"
    return Finding("cameras", "-", where, "connect one; into a container pass it by --device")


def find_models() -> list[Finding]:
    """The models on this machine, first; then the cards that cannot be read."""
    try:
        from engines.backends.base import EngineError
        from engines.catalog import BETTER, DEFAULTS, FETCH, Catalog, MissingModelError, is_embedded

        catalog = Catalog.load()
    except ImportError as error:
        return [Finding("models", "missing", f"cannot be looked for: {error}", INSTALL)]
    except (EngineError, OSError) as error:
        return [Finding("models", "missing", str(error), "mend the card")]
    there = [
        model.name + (" (embedded)" if model.is_embedded else "" if model.card else " (no card)")
        for model in catalog.models
        if model.path is not None
    ]
    faults = [Finding("card", "-", f"not read: {fault}", "mend or remove it") for fault in catalog.faults.values()]
    absent, modest = [], []
    for task, name in DEFAULTS.items():
        try:
            if is_embedded(catalog.default(task).path):
                modest.append(BETTER[task])
        except MissingModelError:
            absent.append(name)
    detail = ", ".join(there) or "none"
    if absent:
        return [Finding("models", "-", detail, f"{FETCH} {' '.join(absent)}, or name files"), *faults]
    return [Finding("models", "ok", detail, f"better: {FETCH} {' '.join(modest)}" if modest else ""), *faults]


def find_space(folder: Path) -> Finding:
    """How much can be written."""
    free_gb = shutil.disk_usage(folder).free / 1e9
    detail = f"{free_gb:.1f} GB free in {folder}"
    return (
        Finding("disk", "ok", detail)
        if free_gb >= LITTLE_SPACE_GB
        else Finding("disk", "-", detail, "make room for long outputs")
    )


def _version(package: str) -> str | None:
    """The version of an installed package, found without importing it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.is_file() else ""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1].strip() if match else platform.processor() or platform.machine()
