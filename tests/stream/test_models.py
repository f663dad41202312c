"""Models that are opened at once: a substitute serves while the one that is wanted is made."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engines.backends.base import EngineError, TensorSpec
from engines.cards import InputSpec, ModelCard
from engines.nets.hrnet import HRNet
from engines.nets.hrnet_layout import HrnetLayout, StageLayout
from engines.opening import OpenModel
from stream.config import ModelOptions
from stream.models import WARM_UP_ROWS, open_at_once, opened

WAIT_S = 60
"""A test that waits longer than this has failed; an export takes some seconds."""
SOON_S = 0.2
CARD = ModelCard("pose", "pose", "heatmap", InputSpec((4, 4), "rgb"), skeleton="coco17")
Say = Callable[[str], None]


@dataclass
class Constant:
    """A backend that gives `value` for each row."""

    value: float
    name: str
    closed: int = 0
    rows: list[int] = field(default_factory=list)
    inputs: tuple[TensorSpec, ...] = (TensorSpec("image", (None, 3, 4, 4), "float32"),)
    outputs: tuple[TensorSpec, ...] = (TensorSpec("heatmaps", (None, 1), "float32"),)

    def infer(self, batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        self.rows.append(len(batch))
        return (np.full((len(batch), 1), self.value, np.float32),)

    def close(self) -> None:
        self.closed += 1


def model_of(backend: Constant) -> OpenModel:
    return OpenModel(backend, CARD, Path("pose.onnx"), f"pose by {backend.name}")


def never() -> OpenModel:
    raise AssertionError("no substitute is wanted")


def value_of(model: OpenModel) -> float:
    (rows,) = model.backend.infer(np.zeros((1, 3, 4, 4), np.float32))
    return float(rows[0, 0])


def test_what_opens_quickly_needs_no_substitute_and_is_warm() -> None:
    wanted = Constant(2.0, "wanted")

    def opening(say: Say) -> OpenModel:
        say("comparing bf16 with fp32")  # a line alone makes nothing slow
        return model_of(wanted)

    model = open_at_once(opening, never, lambda line: None, "pose", SOON_S)
    assert model.backend is wanted
    assert (wanted.rows, wanted.closed) == ([1, WARM_UP_ROWS], 0)


def test_a_substitute_serves_until_the_slow_one_is_there() -> None:
    gate, said = threading.Event(), list[str]()
    substitute, wanted = Constant(1.0, "substitute"), Constant(2.0, "wanted")

    def opening(say: Say) -> OpenModel:
        say("exporting, which takes a minute")
        assert gate.wait(WAIT_S)
        return model_of(wanted)

    model = open_at_once(opening, lambda: model_of(substitute), said.append, "pose", SOON_S)
    with closing(model.backend):
        assert model.note == "pose by substitute"
        assert model.backend.name == "substitute until a faster engine is built"
        assert value_of(model) == 1.0
        gate.set()
        wait_for(lambda: value_of(model) == 2.0)
    assert (substitute.closed, wanted.closed) == (1, 1)
    assert said == ["exporting, which takes a minute", "pose: from now on wanted, no longer substitute"]


def test_without_a_substitute_the_slow_one_is_waited_for() -> None:
    wanted = Constant(2.0, "wanted")
    asked = threading.Event()

    def opening(say: Say) -> OpenModel:
        say("exporting, which takes a minute")
        assert asked.wait(WAIT_S)
        say("exported")
        return model_of(wanted)

    model = open_at_once(opening, asked.set, lambda line: None, "pose", SOON_S)  # type: ignore[arg-type]
    assert model.backend is wanted


def test_a_model_that_cannot_be_opened_is_an_error_at_once() -> None:
    def opening(say: Say) -> OpenModel:
        raise EngineError("pose.onnx: no model")

    with pytest.raises(EngineError, match="no model"):
        open_at_once(opening, never, lambda line: None, "pose", SOON_S)


def test_a_substitute_that_fails_ends_the_build() -> None:
    wanted = Constant(2.0, "wanted")
    asked = threading.Event()

    def opening(say: Say) -> OpenModel:
        say("exporting, which takes a minute")
        assert asked.wait(WAIT_S)
        return model_of(wanted)

    def substitute() -> OpenModel:
        asked.set()
        raise ValueError("backend must be known")

    with pytest.raises(ValueError, match="must be known"):
        open_at_once(opening, substitute, lambda line: None, "pose", SOON_S)
    assert wanted.closed == 1


def wait_for(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < end


def tiny_checkpoint(path: Path) -> Path:
    """A pose network of the HRNet plan, small enough to be exported in a few seconds."""
    torch.manual_seed(0)
    layout = HrnetLayout((StageLayout(1, (1, 1), (4, 8)),), joints=17, stem=8, stem_blocks=1)
    torch.save(HRNet(layout).state_dict(), path)
    return path


def test_a_checkpoint_runs_in_torch_while_it_is_exported_and_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    options = ModelOptions(pose=str(tiny_checkpoint(tmp_path / "tiny.pth")), precision="fp32")
    said: list[str] = []
    batch = np.random.default_rng(0).standard_normal((2, 3, 256, 192)).astype(np.float32)
    with opened(options, "pose", say=said.append, at_once=True) as model:
        (before,) = model.backend.infer(batch)
        is_substitute = "until" in model.backend.name
        wait_for(lambda: bool(model.backend.infer(batch)) and "until" not in model.backend.name)
        (after,) = model.backend.infer(batch)
    np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-4)
    assert "exporting it to ONNX" in said[0]
    if is_substitute:  # a fast machine may have exported it within the moment that is waited
        assert said[-1].startswith("pose: from now on OpenVINO CPU fp32, no longer")
