"""What courses have in common: devices by name, and what a checkpoint is told by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from engines.backends.base import EngineError  # noqa: E402
from engines.training.course import device_of, origin_of  # noqa: E402
from engines.training.split import Parts  # noqa: E402


def test_a_device_is_named() -> None:
    assert device_of("cpu") == "cpu"
    with pytest.raises(ValueError, match="device must be auto, cpu or cuda:N, got 'gpu'"):
        device_of("gpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_auto_is_the_cpu_and_a_gpu_is_refused() -> None:
    assert device_of("auto") == "cpu"
    with pytest.raises(EngineError, match="cuda:0: torch finds no GPU here"):
        device_of("cuda:0")


@pytest.mark.gpu
def test_of_several_processes_each_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert device_of("auto") == "cuda:1"
    assert device_of("cuda:0") == "cuda:0"


def test_other_pictures_another_split_and_other_options_are_another_origin() -> None:
    paths, parts = [Path("a.jpg"), Path("b.jpg")], Parts(np.array([True, False]), np.array([False, False]))
    first = origin_of(paths, parts, ("coco17", 100))
    assert origin_of([Path("/elsewhere/a.jpg"), Path("b.jpg")], parts, ("coco17", 100)) == first
    others = {
        origin_of([*paths, Path("c.jpg")], replace(parts, held=np.array([True, False, False])), ("coco17", 100)),
        origin_of(paths, replace(parts, held=np.array([False, True])), ("coco17", 100)),
        origin_of(paths, replace(parts, left=np.array([False, True])), ("coco17", 100)),
        origin_of(paths, parts, ("coco17", 200)),
    }
    assert len({first, *others}) == 5
