"""Fixtures that every test may use: the real assets, one real person without them, and no thread left behind."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import cv2
import pytest
from astronaut import photograph, write_clip

ASSETS = Path(os.environ.get("POSESTREAM_ASSETS", Path(__file__).parents[2] / "shared" / "assets"))


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder of real models, clips, pictures and ground truth; the test is skipped where it is absent."""
    if not ASSETS.is_dir():
        if os.environ.get("REQUIRE_ASSETS") == "1":
            pytest.fail(f"REQUIRE_ASSETS=1 but {ASSETS} is no folder; set POSESTREAM_ASSETS")
        pytest.skip(f"no assets at {ASSETS}; set POSESTREAM_ASSETS")
    return ASSETS


@pytest.fixture(scope="session")
def astronaut_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of one real person, 320x288, 24 frames a second; see astronaut.py. Not to be written to."""
    path = tmp_path_factory.mktemp("astronaut") / "astronaut.mp4"
    write_clip(path)
    return path


@pytest.fixture(scope="session")
def astronaut_picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photograph of one real person, 512x512, as a JPEG. Not to be written to."""
    path = tmp_path_factory.mktemp("photograph") / "astronaut.jpg"
    cv2.imwrite(str(path), photograph(), [cv2.IMWRITE_JPEG_QUALITY, 95])
    return path


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test marked gpu where there is none, or fail it where REQUIRE_GPU=1."""
    if item.get_closest_marker("gpu") is None:
        return
    reason = why_no_gpu()
    if reason is None:
        return
    if os.environ.get("REQUIRE_GPU") == "1":
        pytest.fail(f"REQUIRE_GPU=1 but {reason}")
    pytest.skip(reason)


@cache
def why_no_gpu() -> str | None:
    """Why torch has no NVIDIA GPU here; None where it has one."""
    try:
        import torch
    except ImportError as error:
        return f"torch is not installed ({error})"
    return None if torch.cuda.is_available() else f"torch {torch.__version__} finds no NVIDIA GPU"


@pytest.fixture(autouse=True, scope="session")
def no_cache_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what was fetched or built for this machine's user out of all tests, and what they build out of it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
            patch.setenv(name, str(tmp_path_factory.mktemp("cache")))
        patch.delenv("POSESTREAM_MODELS", raising=False)
        yield


@pytest.fixture(autouse=True, scope="session")
def no_monitor_of_progress_bars() -> None:
    """Keep tqdm, where a library draws by it, from leaving a thread behind that watches over its bars."""
    with suppress(ImportError):
        from tqdm import tqdm

        tqdm.monitor_interval = 0


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Fail a test that leaves a Python thread running."""
    before = set(threading.enumerate())
    yield
    left = [t for t in threading.enumerate() if t not in before and t.is_alive()]
    for thread in left:
        thread.join(timeout=5)
    left = [t.name for t in left if t.is_alive()]
    assert not left, f"threads left running: {left}"
