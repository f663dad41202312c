"""How much of a network stays in fp32 so that the rest may run in 16 bits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fake_engines import FakePoser

from engines.backends.base import Backend, EngineError
from engines.fronts import FRONTS, MIXES, nearest
from engines.verdict import BARS, Lap, Verdict

NEAR = Verdict("bf16", "A", "B", "5 drawn pictures", BARS["bf16"], relative=0.01)
FAR = replace(NEAR, relative=0.5)


class House:
    """Opens backends and judges them: near enough from the share `enough` on; `broken` shares cannot be opened."""

    def __init__(self, enough: float, broken: tuple[float, ...] = (), far: Verdict = FAR) -> None:
        self.plain = self._make()
        self.opened: list[tuple[float, FakePoser]] = []
        self.asked: list[float] = []
        self._enough, self._broken, self._far = enough, broken, far

    def reopen(self, share: float) -> Backend:
        if share in self._broken:
            raise EngineError("it cannot be torn apart there")
        self.opened.append((share, self._make()))
        return self.opened[-1][1]

    def assess(self, backend: Backend, share: float) -> Verdict:
        assert backend is (self.opened[-1][1] if self.opened else self.plain)
        self.asked.append(share)
        return replace(NEAR if share >= self._enough else self._far, front=share)

    def nearest(self) -> tuple[Backend, Verdict]:
        return nearest(self.plain, self.reopen, self.assess)

    def closed(self) -> list[int]:
        return [self.plain.closed, *(backend.closed for _, backend in self.opened)]

    @staticmethod
    def _make() -> FakePoser:
        made = FakePoser("bf16")
        made.name = MIXES
        return made


def test_what_is_near_enough_stays_as_it_is() -> None:
    house = House(0.0)
    assert house.nearest() == (house.plain, NEAR)
    assert house.closed() == [0]


@pytest.mark.parametrize(("enough", "count"), [(FRONTS[0], 1), (FRONTS[1], 2)])
def test_the_smallest_front_that_is_near_enough_is_taken(enough: float, count: int) -> None:
    house = House(enough)
    backend, verdict = house.nearest()
    assert backend is house.opened[-1][1]
    assert (verdict.front, verdict.passed) == (enough, True)
    assert house.closed() == [1] * count + [0]


def test_where_none_is_near_enough_the_last_is_left() -> None:
    house = House(1.0)
    backend, verdict = house.nearest()
    assert backend is house.opened[-1][1]
    assert (verdict.front, verdict.passed) == (FRONTS[-1], False)
    assert house.asked == [0.0, *FRONTS]


def test_a_front_that_cannot_be_is_the_end_of_the_search() -> None:
    house = House(FRONTS[2], broken=(FRONTS[1],))
    backend, verdict = house.nearest()
    assert backend is house.opened[-1][1]
    assert verdict.front == FRONTS[0]
    assert house.closed() == [1, 0]


def test_a_front_that_fails_when_it_runs_is_the_end_of_the_search_too() -> None:
    house = House(FRONTS[2])

    def assess(backend: Backend, share: float) -> Verdict:
        if share == FRONTS[1]:
            raise EngineError("object is not initialized")
        return house.assess(backend, share)

    backend, verdict = nearest(house.plain, house.reopen, assess)
    assert backend is house.opened[0][1]
    assert verdict.front == FRONTS[0]
    assert house.closed() == [1, 0, 1]


def test_what_does_not_pay_without_a_front_is_not_slowed_further() -> None:
    house = House(FRONTS[0], far=replace(FAR, than="fp32", laps=(Lap(1, 10, 10),)))
    assert house.nearest()[0] is house.plain
    assert house.asked == [0.0]


def test_other_backends_cannot_mix_precisions() -> None:
    house = House(FRONTS[0])
    house.plain.name = "torch cuda:0 fp16"
    assert house.nearest()[0] is house.plain


def test_a_comparison_that_fails_closes_what_it_compared() -> None:
    house = House(FRONTS[0])

    def fail(backend: Backend, share: float) -> Verdict:
        raise EngineError("no memory")

    with pytest.raises(EngineError, match="no memory"):
        nearest(house.plain, house.reopen, fail)
    assert house.closed() == [1]
