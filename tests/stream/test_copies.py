"""A run whose networks take tensors: each frame goes up once, and the same people come out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from astronaut import SIZE
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from engines.backends.base import Backend  # noqa: E402
from engines.images import Copies  # noqa: E402
from stream.build import Models, open_models, open_session  # noqa: E402
from stream.config import Config, build_options  # noqa: E402
from stream.pipeline import Result  # noqa: E402

if TYPE_CHECKING:
    from torch import Tensor

FRAMES = 8
"""Of the first 0.3 s, with one person."""


class OnTensors:
    """A DeviceBackend around any other: the same network on torch's CPU tensors."""

    device = "cpu"

    def __init__(self, backend: Backend) -> None:
        self.name, self.inputs, self.outputs = backend.name, backend.inputs, backend.outputs
        self._backend = backend

    def infer(self, batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        raise AssertionError("called with an array, although it takes tensors")

    def infer_tensors(self, batch: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(output) for output in self._backend.infer(batch.numpy()))

    def close(self) -> None:
        """The other's owner does."""


@pytest.fixture(scope="module")
def config(astronaut_clip: Path) -> Config:
    keys = {"source": [str(astronaut_clip)], "input": {"end_s": 0.3}, "models": {"precision": "fp32"}}
    return build_options(Config, keys)


@pytest.fixture(scope="module")
def models(config: Config) -> Iterator[Models]:
    with open_models(config.models) as models:
        yield models


def run(config: Config, models: Models) -> tuple[list[Result], Copies, int]:
    """The results of a run, its copies, and in how many steps its frames went through the networks."""
    with open_session(config, models) as session:
        results = list(session)
    return results, session.copies, session.meter.stages_of("pose").count


def test_a_run_sends_each_frame_once_and_finds_the_same_people(config: Config, models: Models) -> None:
    wanted, none, _ = run(config, models)
    assert none == Copies()
    on_tensors = Models(*(replace(model, backend=OnTensors(model.backend)) for model in (models.detector, models.pose)))
    found, copies, steps = run(config, on_tensors)
    assert len(found) == len(wanted) == FRAMES
    people = 0
    for one, other in zip(found, wanted, strict=True):
        assert one.tracks.ids.tolist() == other.tracks.ids.tolist()
        np.testing.assert_allclose(one.tracks.boxes, other.tracks.boxes, rtol=0, atol=0.1)
        people += len(one.tracks.ids)
    assert people == FRAMES
    # Up: the pictures, and where the people of a step are, seven numbers each. Back: boxes, then key points.
    assert (copies.uploads, copies.fetches) == (FRAMES + steps, 2 * steps)
    assert copies.uploaded_bytes == FRAMES * SIZE[0] * SIZE[1] * 3 + people * 7 * 8
