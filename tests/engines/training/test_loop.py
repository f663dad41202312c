"""The loop: schedule, averages, exact resume, early stop, best weights, signals, overflow."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from torch import Generator, Tensor, nn  # noqa: E402

from engines.training.checkpoint import BEST, CHECKPOINT, save_whole  # noqa: E402
from engines.training.loop import (  # noqa: E402
    Figures,
    Loop,
    LoopOptions,
    Progress,
    rate_at,
)


class PowerError(Exception):
    """The process is gone."""


class Sums:
    """A lesson: the sum of two numbers. `score` marks a step, `at` is done before the loss of a step, `grades` are the
    steps at which another grade begins, `gain` (by step) multiplies the loss."""

    compares = False

    def __init__(
        self,
        score: Callable[[int], float] = lambda step: 0.0,
        at: Callable[[int], None] = lambda step: None,
        grades: tuple[int, ...] = (),
        gain: Callable[[int], float] = lambda step: 1.0,
    ) -> None:
        torch.manual_seed(0)
        self.network: nn.Module = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        self._score, self._at, self._grades, self._gain = score, at, grades, gain

    def loss(self, network: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
        self._at(step)
        numbers = torch.rand(8, 2, generator=Generator().manual_seed(step))
        wrong = network(numbers)[:, 0] - numbers.sum(1)
        return wrong.square().mean() * self._gain(step), {"largest": float(wrong.detach().abs().max())}

    def validate(self, network: nn.Module, step: int) -> dict[str, float]:
        return {"score": self._score(step), "training": float(network.training)}

    def grade(self, step: int) -> int:
        return sum(step >= begin for begin in self._grades)

    def sheet(self, network: nn.Module, step: int) -> NDArray[np.uint8] | None:
        return np.full((4, 4, 3), 9, np.uint8) if step == 1 else None


def options(**changes: Any) -> LoopOptions:
    return LoopOptions(
        **{"steps": 6, "rate": 0.05, "warm_up": 2, "validate_every": 100, "precision": "fp32", **changes}
    )


def quiet(progress: Progress, figures: Figures) -> None: ...


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def dies_at(last: int) -> Callable[[int], None]:
    def at(step: int) -> None:
        if step == last:
            raise PowerError

    return at


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 0.1), (4, 0.5), (9, 1.0), (10, 1.0), (35, 0.868198), (60, 0.55), (110, 0.1), (1000, 0.1)],
)
def test_the_rate_rises_in_a_line_and_falls_along_a_cosine(step: int, rate: float) -> None:
    # After the rise, at a quarter of the fall: 0.1 + 0.9 (1 + cos(pi / 4)) / 2.
    assert rate_at(step, LoopOptions(110, rate=1.0, last_rate=0.1, warm_up=10)) == pytest.approx(rate, abs=1e-6)


def test_without_a_warm_up_the_rate_begins_at_its_highest() -> None:
    assert rate_at(0, LoopOptions(10, rate=0.3, warm_up=0)) == 0.3


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"warm_up": -1}, {"rate": 0.0}, {"average": 1.0}, {"precision": "fp8"}, {"patience": 0}]
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LoopOptions(**wrong)


@pytest.mark.parametrize(
    ("count", "most", "mean"),
    [(1, 0.998, 2 / 11), (10, 0.998, 11 / 20), (10**6, 0.998, 0.998), (10, 0.5, 0.5)],
)
def test_averages_keep_little_at_first_and_then_as_much_as_they_are_told(
    tmp_path: Path, count: int, most: float, mean: float
) -> None:
    loop = Loop(Sums(), options(average=most), tmp_path)
    averaged, counted = torch.ones(3), torch.zeros(1, dtype=torch.long)
    loop._mix([averaged, counted], [torch.zeros(3), torch.full((1,), 7)], count)
    torch.testing.assert_close(averaged, torch.full((3,), mean))
    assert counted.item() == 7


def test_the_first_average_is_the_weights_and_the_second_mostly_the_new_ones(tmp_path: Path) -> None:
    lesson, seen = Sums(), []
    loop = Loop(lesson, options(steps=2), tmp_path)
    loop.run(lambda progress, _: seen.append((weights(lesson.network), weights(loop.averaged))))
    (first, first_mean), (second, second_mean) = seen[:2]
    assert_same(first, first_mean)
    for name in ("0.weight", "1.running_mean"):
        torch.testing.assert_close(second_mean[name], first[name] * 2 / 11 + second[name] * 9 / 11)


def test_only_weights_of_more_than_one_dimension_decay(tmp_path: Path) -> None:
    lesson = Sums(gain=lambda step: 0.0)
    before = weights(lesson.network)
    Loop(lesson, options(steps=1, rate=0.1, warm_up=0, weight_decay=0.5), tmp_path).run(quiet)
    after = lesson.network.state_dict()
    torch.testing.assert_close(after["0.weight"], before["0.weight"] * (1 - 0.1 * 0.5))
    for name in ("0.bias", "1.weight", "1.bias"):
        assert torch.equal(after[name], before[name])


@pytest.mark.parametrize("every", [1, 2], ids=["a checkpoint each step", "the last checkpoint a step behind"])
def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path, every: int) -> None:
    chosen = options(validate_every=every)
    whole = Sums(score=float)
    uninterrupted = Loop(whole, chosen, tmp_path / "whole")
    uninterrupted.run(quiet)

    with pytest.raises(PowerError):
        Loop(Sums(score=float, at=dies_at(3)), chosen, tmp_path / "killed").run(quiet)
    again = Sums(score=float)
    loop = Loop(again, chosen, tmp_path / "killed")
    assert loop.progress.step == (3 if every == 1 else 2)
    assert not loop.is_done
    progress = loop.run(quiet)

    assert (progress.step, progress.best, progress.best_step) == (6, 5.0, 6)
    assert_same(again.network.state_dict(), whole.network.state_dict())
    assert_same(loop.averaged.state_dict(), uninterrupted.averaged.state_dict())
    best = [torch.load(tmp_path / name / BEST, weights_only=True) for name in ("whole", "killed")]
    assert_same(best[0], best[1])


def test_a_run_that_is_done_takes_no_step(tmp_path: Path) -> None:
    Loop(Sums(), options(), tmp_path).run(quiet)
    told: list[Figures] = []
    loop = Loop(Sums(), options(), tmp_path)
    assert loop.is_done
    assert loop.run(lambda _, figures: told.append(figures)).step == 6
    assert told == []


def test_a_checkpoint_that_was_not_written_to_its_end_does_not_count(tmp_path: Path) -> None:
    (tmp_path / f"{CHECKPOINT}.part").write_bytes(b"half of it")
    assert Loop(Sums(), options(), tmp_path).progress.step == 0


def test_a_write_that_fails_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    target = tmp_path / CHECKPOINT
    save_whole({"step": 1}, target)
    with pytest.raises((AttributeError, TypeError)):
        save_whole({"step": (row for row in ())}, target)
    assert torch.load(target, weights_only=True) == {"step": 1}


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_damaged_checkpoint_is_told_and_not_begun_anew(tmp_path: Path, share: float) -> None:
    Loop(Sums(), options(steps=1), tmp_path).run(quiet)
    whole = (tmp_path / CHECKPOINT).read_bytes()
    (tmp_path / CHECKPOINT).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(OSError, match=r"checkpoint\.pth: cannot be read.*take it away"):
        Loop(Sums(), options(), tmp_path)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    Loop(Sums(), options(steps=1), tmp_path).run(quiet)
    other = Sums()
    other.network = nn.Linear(2, 1)
    with pytest.raises(ValueError, match=r"checkpoint\.pth: is of another network"):
        Loop(other, options(), tmp_path)


SIGNALLED = """
import os, signal, sys
from pathlib import Path
from test_loop import Sums, options, quiet
from engines.training.loop import Loop
number, folder = int(sys.argv[1]), Path(sys.argv[2])
before, during = signal.getsignal(number), []
def at(step):
    if step == 2:
        os.kill(os.getpid(), number)
        during.append(signal.getsignal(number))
loop = Loop(Sums(at=at), options(), folder)
print(loop.run(quiet).step, loop.is_done, during == [before], signal.getsignal(number) == before)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_step_with_a_checkpoint(tmp_path: Path, number: signal.Signals) -> None:
    # In a process of its own: libraries that other tests load leave signal stacks behind that no handler survives.
    here = Path(__file__)
    paths = os.pathsep.join(map(str, (here.parent, here.parents[2], here.parents[3])))
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED, str(int(number)), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["3", "False", "True", "True"]  # a second signal is as it was
    assert Loop(Sums(), options(), tmp_path).progress.step == 3


def test_it_ends_early_in_the_last_grade_only(tmp_path: Path) -> None:
    lesson = Sums(score=lambda step: 1 - step / 100, grades=(6,))  # never better than the first of a grade
    loop = Loop(lesson, options(steps=20, validate_every=1, patience=2), tmp_path)
    progress = loop.run(quiet)
    assert (progress.step, progress.best_step, progress.worse, progress.grade) == (9, 7, 2, 1)
    assert progress.best == pytest.approx(0.94)
    assert loop.is_done


def test_where_marks_compare_the_best_of_an_earlier_grade_stays(tmp_path: Path) -> None:
    lesson = Sums(score=lambda step: 0.9 if step == 1 else 0.5, grades=(3,))
    lesson.compares = True
    progress = Loop(lesson, options(steps=5, validate_every=1), tmp_path).run(quiet)
    assert (progress.best, progress.best_step, progress.grade, progress.worse) == (0.9, 2, 1, 2)


def test_the_best_averaged_weights_are_kept(tmp_path: Path) -> None:
    scores, kept = [1.0, 3.0, 2.0, 3.0], []

    def tell(progress: Progress, figures: Figures) -> None:
        if "val/score" in figures:
            kept.append(weights(loop.averaged))

    loop = Loop(Sums(score=lambda step: scores[step]), options(steps=4, validate_every=1), tmp_path)
    progress = loop.run(tell)
    assert (progress.best, progress.best_step) == (3.0, 2)
    assert progress.marks == {"score": 3.0, "training": 0.0}
    assert_same(torch.load(tmp_path / BEST, weights_only=True), kept[1])
    assert sorted(path.name for path in tmp_path.glob("*.jpg")) == ["validation-0000002.jpg"]


def test_each_step_and_each_validation_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, Figures]] = []
    Loop(Sums(score=float), options(steps=3, validate_every=2), tmp_path).run(
        lambda progress, figures: told.append((progress.step, figures))
    )
    assert [(step, sorted(figures)) for step, figures in told] == [
        (1, ["largest", "loss", "rate"]),
        (2, ["largest", "loss", "rate"]),
        (2, ["val/score", "val/training"]),
        (3, ["largest", "loss", "rate"]),
        (3, ["val/score", "val/training"]),
    ]
    assert [figures["rate"] for _, figures in told if "rate" in figures][:2] == pytest.approx([0.025, 0.05])


@pytest.mark.parametrize("gain", [math.inf, math.nan])
def test_a_batch_that_overflows_changes_nothing(tmp_path: Path, gain: float) -> None:
    lesson = Sums(gain=lambda step: gain if step == 2 else 1.0)
    seen = []

    def tell(progress: Progress, figures: Figures) -> None:
        seen.append((weights(lesson.network), loop._optimizer.state_dict()["state"][0]["step"].item()))

    loop = Loop(lesson, options(steps=4), tmp_path)
    loop.run(tell)
    assert_same(seen[2][0], seen[1][0])
    assert [steps for _, steps in seen[:4]] == [1, 2, 2, 3]
    assert not torch.equal(seen[3][0]["0.weight"], seen[2][0]["0.weight"])
    assert all(bool(tensor.isfinite().all()) for tensor in loop.averaged.state_dict().values())


def test_in_fp16_it_learns_and_a_gradient_that_overflows_costs_a_step_only(tmp_path: Path) -> None:
    losses: list[float] = []
    loop = Loop(Sums(), options(steps=60, precision="fp16"), tmp_path)
    loop.run(lambda _, figures: losses.append(figures["loss"]) if "loss" in figures else None)
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    assert all(bool(torch.isfinite(tensor).all()) for tensor in loop.averaged.state_dict().values())
    assert Loop(Sums(), options(steps=60, precision="fp16"), tmp_path).progress.step == 60


def test_a_checkpoint_of_other_data_is_refused(tmp_path: Path) -> None:
    Loop(Sums(), options(steps=1), tmp_path, origin="one").run(quiet)
    assert Loop(Sums(), options(steps=1), tmp_path, origin="one").progress.step == 1
    with pytest.raises(ValueError, match="begun with other data or flags; name another folder"):
        Loop(Sums(), options(steps=1), tmp_path, origin="other")
