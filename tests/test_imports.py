"""The arrows of the design, read from the import statements."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAZY = ("stream.cli.doctor", "engines.export", "engines.images")
"""What imports such a library in a function, beside the backends."""
OURS = ("stream", "engines", "tracker")
FILES = sorted(path for package in OURS for path in (ROOT / package).rglob("*.py"))
HEAVY = {"openvino", "onnxruntime", "torch", "torchvision", "tensorrt", "tensorrt_rtx"}
ASSEMBLIES = (
    "stream.build",
    "stream.build_pipeline",
    "stream.models",
    "stream.bench",
    "stream.scoring",
    "stream.folder.build",
)
"""What opens models for a command."""
OF_TORCH = (
    "engines.nets.",
    "engines.training.",
    "engines.crop_torch",
    "engines.heatmap_torch",
    "engines.letterbox_torch",
    "engines.nms_torch",
    "engines.normalize_torch",
    "engines.simcc_torch",
    "engines.yolo_decode_torch",
)
"""What is torch's through and through, and itself imported lazily."""


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path) for path in FILES}


def imports_of(path: Path, *, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []  # what types alone need is never imported
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    assert not any(isinstance(node, ast.ImportFrom) and node.level for node in nodes), "imports are absolute"
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES
            found |= inner or {node.module}
    return found


def imported_ours(module: str) -> set[str]:
    (path,) = [path for path in FILES if module_of(path) == module]
    return {name for name in imports_of(path) if name.split(".")[0] in OURS}


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_engines_and_tracker_know_nothing_of_ours_outside_themselves(path: Path) -> None:
    package = module_of(path).split(".")[0]
    outside = {n for n in imports_of(path) if n.split(".")[0] in OURS and n.split(".")[0] != package}
    assert package == "stream" or not outside


@pytest.mark.parametrize("path", [p for p in FILES if module_of(p).startswith("tracker")], ids=module_of)
def test_the_tracker_needs_numpy_and_scipy_only(path: Path) -> None:
    others = {name.split(".")[0] for name in imports_of(path)} - {"tracker", "numpy", "scipy"} - sys.stdlib_module_names
    assert others == set()


def test_the_pipeline_knows_result_types_only() -> None:
    assert imported_ours("stream.pipeline") == {"engines.results", "stream.frame", "tracker.results"}


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_only_build_and_the_commands_name_concrete_engines_and_trackers(path: Path) -> None:
    module = module_of(path)
    if module.startswith("stream") and module not in (*ASSEMBLIES, "stream.config"):
        concrete = {"engines.yolo", "engines.hrnet", "engines.catalog", "engines.opening", "tracker.tracker"}
        allowed = {"engines.catalog"} if module.startswith("stream.cli") else set()
        assert not (imports_of(path) & concrete) - allowed


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_nothing_but_the_commands_imports_the_commands_or_the_assembly(path: Path) -> None:
    module = module_of(path)
    if not module.startswith("stream.cli"):
        assert not any(name.startswith("stream.cli") for name in imports_of(path))
        assert module == "stream.bench" or "stream.build" not in imports_of(path)


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_inference_libraries_are_imported_lazily_and_by_their_backend_only(path: Path) -> None:
    module = module_of(path)
    named = {name.split(".")[0] for name in imports_of(path)} & HEAVY
    at_import = {name.split(".")[0] for name in imports_of(path, top_level_only=True)} & HEAVY
    if module.startswith(OF_TORCH):
        assert named <= {"torch"}
        return
    assert at_import == set()
    assert not any(name.startswith(OF_TORCH) for name in imports_of(path, top_level_only=True))
    assert not named or module.startswith("engines.backends") or module in LAZY


def test_the_top_level_is_the_users() -> None:
    wanted = {"stream", "engines", "tracker", "tests", "configs"}
    folders = {
        p.name
        for p in ROOT.iterdir()
        if p.is_dir() and not p.name.startswith(".") and (p.name not in ("build", "__pycache__"))
    }
    assert {name for name in folders if not name.endswith(".egg-info") and not name.startswith("out")} == wanted
