"""Detection less often under load, and as often as asked for when there is time again."""

from __future__ import annotations

import numpy as np
import pytest

from stream.pace import CALM_WINDOWS, FEWEST, MOST_CALM_WINDOWS, WINDOW_S, Change, DetectionPace


class Run:
    """A pace that is shown windows of frames, each `WINDOW_S` long."""

    def __init__(self, usual: int = 1, slowest: int = 8) -> None:
        self.pace = DetectionPace(usual, slowest)
        self.now_s = 100.0

    def window(self, late: int, frames: int = 10) -> tuple[int, Change | None]:
        """The interval, and what was told, after a window in which `late` of the frames were too old."""
        times_s = np.linspace(self.now_s, self.now_s + WINDOW_S, frames).tolist()
        told = [self.pace.saw(index < late, time_s) for index, time_s in enumerate(times_s)]
        self.now_s += 2 * WINDOW_S
        assert all(change is None for change in told[:-1])
        return self.pace.every, told[-1]

    def calm(self, windows: int) -> list[Change]:
        """What is told during so many windows without a late frame."""
        changes = [self.window(0)[1] for _ in range(windows)]
        return [change for change in changes if change is not None]


def test_frames_in_time_change_nothing() -> None:
    run = Run(usual=2)
    assert run.calm(20) == []
    assert run.pace.every == 2
    assert not run.pace.is_slowed


def test_the_interval_doubles_while_most_frames_are_late_and_is_told_of_once() -> None:
    run = Run()
    assert [run.window(10) for _ in range(6)] == [
        (2, Change.SLOWER), (4, None), (8, None), (8, Change.TOO_SLOW), (8, None), (8, None),
    ]  # fmt: skip


@pytest.mark.parametrize(("late", "every"), [(4, 1), (5, 2), (6, 2)])
def test_half_of_the_frames_are_most(late: int, every: int) -> None:
    assert Run().window(late)[0] == every


@pytest.mark.parametrize(("usual", "slowest", "steps"), [(3, 8, [6, 8, 8]), (10, 8, [10, 10, 10]), (1, 1, [1, 1, 1])])
def test_the_interval_never_passes_the_slowest_nor_falls_below_what_was_asked_for(
    usual: int, slowest: int, steps: list[int]
) -> None:
    run = Run(usual, slowest)
    assert [run.window(10)[0] for _ in steps] == steps
    assert run.calm(4 * CALM_WINDOWS) == ([Change.USUAL] if slowest > usual else [])
    assert run.pace.every == usual


def test_it_comes_back_by_halves_after_calm_windows() -> None:
    run = Run()
    for _ in range(3):
        run.window(10)
    intervals = [run.window(0) for _ in range(9)]
    assert intervals == [
        (8, None), (8, None), (4, None), (4, None), (4, None), (2, None), (2, None), (2, None), (1, Change.USUAL),
    ]  # fmt: skip


def test_a_window_with_some_late_frames_is_not_calm() -> None:
    run = Run()
    run.window(10)
    for _ in range(10):
        run.calm(CALM_WINDOWS - 1)
        assert run.window(1) == (2, None)


def test_one_late_frame_in_twenty_is_calm() -> None:
    run = Run()
    run.window(10)
    assert [run.window(1, frames=20)[0] for _ in range(CALM_WINDOWS)] == [2, 2, 1]


def test_each_relapse_doubles_the_wait() -> None:
    run = Run()
    waits = []
    for _ in range(9):
        run.window(10)
        waits.append(0)
        while run.pace.is_slowed:
            run.window(0)
            waits[-1] += 1
    assert waits == [3, 6, 12, 24, 48, 96, 192, MOST_CALM_WINDOWS, MOST_CALM_WINDOWS]


def test_a_second_overload_is_told_again() -> None:
    run = Run(slowest=2)
    first = [run.window(10)[1] for _ in range(2)]
    run.calm(CALM_WINDOWS)
    assert [run.window(10)[1] for _ in range(2)] == first == [Change.SLOWER, Change.TOO_SLOW]


def test_few_frames_are_no_ground_for_a_verdict() -> None:
    pace = DetectionPace(1, 8)
    for index in range(FEWEST - 1):
        pace.saw(True, 10.0 * index)
        assert pace.every == 1
    assert pace.saw(True, 10.0 * FEWEST) is Change.SLOWER
