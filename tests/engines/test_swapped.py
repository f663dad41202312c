from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.backends.base import EngineError, TensorSpec
from engines.backends.swapped import THREAD, BackgroundBuild, SwappedBackend

Say = Callable[[str], None]
WAIT_S = 10
"""A test that waits longer than this has failed."""
IN = (TensorSpec("image", (None, 3, 2, 2), "float32"),)
OUT = (TensorSpec("heatmaps", (None, 1), "float32"),)


@dataclass
class Fixed:
    """A backend that gives `value` for each row."""

    value: float
    name: str = "fixed"
    inputs: tuple[TensorSpec, ...] = IN
    outputs: tuple[TensorSpec, ...] = OUT
    rows: list[int] = field(default_factory=list)
    closed: int = 0

    def infer(self, batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        assert not self.closed
        self.rows.append(len(batch))
        return (np.full((len(batch), 1), self.value, np.float32),)

    def close(self) -> None:
        self.closed += 1


@dataclass
class FixedOnDevice(Fixed):
    device: str = "cpu"

    def infer_tensors(self, batch: Tensor) -> tuple[Tensor, ...]:
        assert not self.closed
        self.rows.append(len(batch))
        return (torch.full((len(batch), 1), self.value),)


@dataclass
class Model:
    backend: Fixed


class SlowBuild:
    """Says that it takes its time, and builds once the gate is opened."""

    def __init__(self, backend: Fixed, error: Exception | None = None) -> None:
        self.gate = threading.Event()
        self._backend = backend
        self._error = error

    def __call__(self, say: Say) -> Model:
        say("building it, which takes a minute")
        assert self.gate.wait(WAIT_S)
        if self._error is not None:
            raise self._error
        return Model(self._backend)


def batch(rows: int) -> NDArray[np.float32]:
    return np.zeros((rows, 3, 2, 2), np.float32)


def finish(slow: SlowBuild, build: BackgroundBuild[Model]) -> None:
    """Open the gate, and return once the build is done."""
    slow.gate.set()
    end = time.monotonic() + WAIT_S
    while not build.is_done:
        assert time.monotonic() < end


def test_the_first_serves_until_the_second_is_built_and_no_call_is_lost() -> None:
    first, second, said = Fixed(1.0, "first"), Fixed(2.0, "second"), list[str]()
    slow = SlowBuild(second)
    build = BackgroundBuild(slow, said.append)
    backend = SwappedBackend(first, build, said.append, "pose")
    assert build.is_slow()
    assert backend.name == "first until a faster engine is built"
    got = [backend.infer(batch(rows))[0][:, 0].tolist() for rows in (1, 3)]
    finish(slow, build)
    got += [backend.infer(batch(rows))[0][:, 0].tolist() for rows in (2, 1)]
    assert got == [[1.0], [1.0, 1.0, 1.0], [2.0, 2.0], [2.0]]
    assert (first.rows, second.rows) == ([1, 3], [2, 1])
    assert backend.name == "second"
    assert (first.closed, second.closed) == (1, 0)
    assert said == ["building it, which takes a minute", "pose: from now on second, no longer first"]
    backend.close()
    assert (first.closed, second.closed) == (1, 1)


def test_the_build_runs_on_a_thread_that_says_what_it_is() -> None:
    names = list[str]()
    build = BackgroundBuild(lambda say: names.append(threading.current_thread().name) or Model(Fixed(1.0)), print)
    build.take()
    (name,) = names
    assert name.startswith(THREAD)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(THREAD)]


def test_a_build_that_says_nothing_is_not_slow() -> None:
    build = BackgroundBuild(lambda say: Model(Fixed(3.0)), print)
    assert not build.is_slow()
    assert build.is_done
    taken = build.take().backend
    build.close()
    assert (taken.value, taken.closed) == (3.0, 0)


def test_patience_waits_for_what_is_done_soon_and_for_no_more() -> None:
    slow = SlowBuild(Fixed(3.0))
    build = BackgroundBuild(slow, lambda line: None)
    assert build.is_slow(0.01)
    slow.gate.set()
    assert not build.is_slow(WAIT_S)
    build.close()


def test_what_nobody_took_is_closed_once() -> None:
    built = Fixed(3.0)
    build = BackgroundBuild(lambda say: Model(built), print)
    assert not build.is_slow()
    build.close()
    build.close()
    assert built.closed == 1


def test_what_is_slow_can_be_waited_for() -> None:
    def build_in_steps(say: Say) -> Model:
        say("step 1")
        told.set()
        say("step 2")
        return Model(Fixed(4.0))

    told, said = threading.Event(), list[str]()
    build = BackgroundBuild(build_in_steps, said.append)
    assert told.wait(WAIT_S)
    assert build.take().backend.value == 4.0
    assert said == ["step 1", "step 2"]


@pytest.mark.parametrize("error", [EngineError("no fp16"), OSError("disk full")])
def test_a_build_that_fails_is_told_once_and_the_first_goes_on(error: Exception) -> None:
    first, said = Fixed(1.0, "first"), list[str]()
    slow = SlowBuild(Fixed(2.0), error)
    build = BackgroundBuild(slow, said.append)
    backend = SwappedBackend(first, build, said.append, "detector")
    finish(slow, build)
    assert [float(backend.infer(batch(1))[0][0, 0]) for _ in range(3)] == [1.0, 1.0, 1.0]
    assert said[1:] == [f"detector: stays on first: {error}"]
    assert backend.name == "first"
    backend.close()
    assert first.closed == 1


def test_a_fault_of_this_program_is_raised() -> None:
    slow = SlowBuild(Fixed(2.0), RuntimeError("a bug"))
    build = BackgroundBuild(slow, lambda line: None)
    backend = SwappedBackend(Fixed(1.0), build, print, "pose")
    finish(slow, build)
    with pytest.raises(RuntimeError, match="a bug"):
        backend.infer(batch(1))
    backend.close()


def test_a_run_that_ends_first_closes_both() -> None:
    first, second, said = Fixed(1.0), Fixed(2.0), list[str]()
    slow = SlowBuild(second)
    build = BackgroundBuild(slow, said.append)
    backend = SwappedBackend(first, build, said.append, "pose")
    assert build.is_slow()
    closing = threading.Thread(target=backend.close)
    closing.start()
    slow.gate.set()
    closing.join(WAIT_S)
    assert not closing.is_alive()
    assert (first.closed, second.closed) == (1, 1)


def test_a_build_that_is_not_wanted_any_more_ends_at_its_next_line() -> None:
    told, go_on = threading.Event(), threading.Event()
    said = list[str]()

    def build_in_steps(say: Say) -> Model:
        say("step 1")
        told.set()
        assert go_on.wait(WAIT_S)
        say("step 2")
        raise AssertionError("step 2 was not stopped")

    def note(line: str) -> None:
        said.append(line)
        if "waiting" in line:
            go_on.set()

    build = BackgroundBuild(build_in_steps, note)
    assert told.wait(WAIT_S)
    build.close()
    assert said == ["step 1", "an engine is still being built; waiting until that can be broken off"]
    with pytest.raises(EngineError, match="not wanted"):
        build.take()


def shaped(shape: tuple[int | None, ...]) -> tuple[TensorSpec, ...]:
    return (TensorSpec("any", shape, "float32"),)


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (Fixed(2.0, inputs=shaped((None, 3, 4, 4))), "the inputs of fixed are ?x3x4x4, wanted ?x3x2x2"),
        (Fixed(2.0, outputs=shaped((None, 17))), "the outputs of fixed are ?x17, wanted ?x1"),
        (Fixed(2.0, outputs=shaped((None, 1, 1))), "the outputs of fixed are ?x1x1, wanted ?x1"),
        (Fixed(2.0, outputs=OUT + OUT), "the outputs of fixed are ?x1 and ?x1, wanted ?x1"),
    ],
)
def test_what_does_not_fit_the_place_is_refused_with_both_forms_and_closed(second: Fixed, words: str) -> None:
    said = list[str]()
    backend = swapped_when_built(Fixed(1.0), second, said.append)
    assert float(backend.infer(batch(1))[0][0, 0]) == 1.0
    assert said == [f"pose: stays on fixed: {words}; build it again"]
    assert second.closed == 1
    backend.close()
    assert second.closed == 1


def test_rows_and_free_sides_fit_any() -> None:
    second = Fixed(2.0, inputs=shaped((8, 3, 2, 2)), outputs=shaped((8, None)))
    backend = swapped_when_built(Fixed(1.0), second, lambda line: None)
    assert float(backend.infer(batch(1))[0][0, 0]) == 2.0
    backend.close()


def swapped_when_built(first: Fixed, second: Fixed, say: Callable[[str], None]) -> SwappedBackend[Model]:
    """A backend whose build is done when the first call comes."""
    build = BackgroundBuild(lambda _: Model(second), say)
    assert not build.is_slow()
    return SwappedBackend(first, build, say, "pose")


def test_it_has_a_device_once_the_one_that_serves_has() -> None:
    backend = swapped_when_built(Fixed(1.0), FixedOnDevice(2.0), lambda line: None)
    assert not hasattr(backend, "device")
    backend.infer(batch(1))
    assert backend.device == "cpu"
    (out,) = backend.infer_tensors(torch.zeros(2, 3, 2, 2))
    assert out.tolist() == [[2.0], [2.0]]
    backend.close()


def test_a_call_with_tensors_is_swapped_too() -> None:
    first, second = FixedOnDevice(1.0), FixedOnDevice(2.0)
    backend = swapped_when_built(first, second, lambda line: None)
    (out,) = backend.infer_tensors(torch.zeros(1, 3, 2, 2))
    assert out.tolist() == [[2.0]]
    assert first.closed == 1
    backend.close()


@pytest.mark.parametrize("second", [Fixed(2.0), FixedOnDevice(2.0, device="cuda:0")])
def test_a_batch_made_for_a_device_that_is_left_is_answered_there(second: Fixed) -> None:
    backend = swapped_when_built(FixedOnDevice(1.0), second, lambda line: None)
    (out,) = backend.infer_tensors(torch.zeros(1, 3, 2, 2))
    assert (out.tolist(), out.device) == ([[2.0]], torch.device("cpu"))
    assert getattr(backend, "device", None) == getattr(second, "device", None)
    backend.close()
