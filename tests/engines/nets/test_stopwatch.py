from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from engines.nets.stopwatch import measure_ceilings, times_ms, waited_ms


@pytest.mark.parametrize("stopwatch", [times_ms, waited_ms])
def test_work_is_done_for_warm_up_and_then_once_a_time(stopwatch: Callable[..., list[float]]) -> None:
    done: list[int] = []
    times = stopwatch(lambda: done.append(len(done)), "cpu", repeats=5, warm_up=2)
    assert len(done) == 7
    assert len(times) == 5
    assert all(0 <= time < 1000 for time in times)


@pytest.mark.parametrize("stopwatch", [times_ms, waited_ms])
def test_more_work_takes_longer(stopwatch: Callable[..., list[float]]) -> None:
    def product(side: int) -> Callable[[], object]:
        matrix = torch.ones(side, side)
        return lambda: matrix @ matrix

    small, large = (min(stopwatch(product(side), "cpu", repeats=5)) for side in (16, 512))
    assert large > 2 * small  # 32,768 times the work


def test_ceilings_of_this_cpu_are_what_a_cpu_can_do() -> None:
    ceilings = measure_ceilings("cpu", torch.float32, matrix_side=256, copy_bytes=1 << 22, repeats=5)
    assert 1e8 < ceilings.rate < 1e14
    assert 1e8 < ceilings.bandwidth < 1e13
