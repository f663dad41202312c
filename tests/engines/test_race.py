"""Two backends timed in turns."""

from __future__ import annotations

import pytest
from fake_engines import POSE_CARD, FakePoser

from engines.race import LEAST_ROUNDS, MOST_ROUNDS, race


def test_the_one_that_takes_longer_is_slower() -> None:
    quick, slow = FakePoser("bf16"), FakePoser(busy_ms=20)
    lap = race(quick, slow, POSE_CARD.input, 2)
    assert lap.rows == 2
    assert lap.other_ms >= 20
    assert lap.ratio == pytest.approx(lap.other_ms / lap.own_ms)
    assert lap.ratio > 2


def test_both_run_in_turns_as_often_and_not_for_ever() -> None:
    quick, slow = FakePoser("bf16"), FakePoser(busy_ms=250)
    race(quick, slow, POSE_CARD.input, 3)
    assert quick.rows == slow.rows == [3] * (1 + LEAST_ROUNDS)
    quick, other = FakePoser("bf16"), FakePoser()
    race(quick, other, POSE_CARD.input, 1)
    assert LEAST_ROUNDS < len(quick.rows) <= 1 + MOST_ROUNDS
    assert quick.rows == other.rows
