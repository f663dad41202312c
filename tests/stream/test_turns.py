"""How many sources share a step."""

from __future__ import annotations

import pytest

from stream.turns import CALM_STEPS, Turns


def test_all_go_together_while_nothing_is_late() -> None:
    turns = Turns(8)
    for _ in range(1000):
        turns.saw(8, 0)
    assert turns.sources_a_step == 8


def test_late_frames_halve_the_number_down_to_one() -> None:
    turns, seen = Turns(8), []
    for _ in range(5):
        turns.saw(turns.sources_a_step, 1)
        seen.append(turns.sources_a_step)
    assert seen == [4, 2, 1, 1, 1]


def test_what_was_late_with_fewer_sources_is_halved_from_those() -> None:
    turns = Turns(8)
    turns.saw(3, 2)
    assert turns.sources_a_step == 1


def test_one_more_is_tried_after_enough_full_steps_without_a_late_frame() -> None:
    turns = Turns(4)
    turns.saw(4, 4)
    for _ in range(CALM_STEPS - 1):
        turns.saw(2, 0)
        turns.saw(1, 0)  # not full: tells nothing of more
    assert turns.sources_a_step == 2
    turns.saw(2, 0)
    assert turns.sources_a_step == 3
    turns.saw(3, 1)
    assert turns.sources_a_step == 1


@pytest.mark.parametrize("late", [0, 1])
def test_a_source_alone_has_every_turn(late: int) -> None:
    turns = Turns(1)
    turns.saw(1, late)
    assert turns.sources_a_step == 1
