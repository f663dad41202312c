"""Which operations of a network stay in fp32."""

from __future__ import annotations

import math

from engines.int8_search import PARTS, harmful

NAMES = [f"n{place}" for place in range(4 * PARTS)]


class Errors:
    """A network whose operations err by themselves in int8, their squares adding up; what was measured is counted."""

    def __init__(self, errors: dict[str, float]) -> None:
        self.count = 0
        self._errors = errors

    def __call__(self, fp32: frozenset[str]) -> float:
        self.count += 1
        return math.hypot(*(error for name, error in self._errors.items() if name not in fp32))


def test_a_network_that_int8_does_not_hurt_is_in_int8_throughout() -> None:
    errors = Errors({"n3": 0.045})
    assert harmful(NAMES, errors, 0.05, 0.04, lambda line: None) == frozenset()
    assert errors.count == 1


def test_what_does_the_harm_stays_in_fp32_and_its_neighbours_go_back() -> None:
    said: list[str] = []
    errors = Errors({"n5": 0.3, "n40": 0.02, "n90": 0.06})
    kept = harmful(NAMES, errors, 0.05, 0.04, said.append)
    assert kept == {"n4", "n5", "n88", "n89", "n90", "n91"} - {"n88", "n89"}
    assert errors(kept) <= 0.04
    assert said == [
        "int8 throughout is 0.307 from fp32, 0.05 at most: looking in 24 parts for what does it",
        "4 of 96 operations stay in fp32",
    ]


def test_small_errors_everywhere_are_kept_out_until_the_goal_is_reached() -> None:
    errors = Errors(dict.fromkeys(NAMES, 0.01))
    kept = harmful(NAMES, errors, 0.05, 0.04, lambda line: None)
    assert 0.03 <= errors(kept) <= 0.04
    assert errors.count < 3 * PARTS


def test_errors_that_add_up_worse_than_their_squares_are_met_by_more_in_fp32() -> None:
    def plain_sum(fp32: frozenset[str]) -> float:
        return sum(0.01 for name in NAMES[::4] if name not in fp32)

    kept = harmful(NAMES, plain_sum, 0.05, 0.04, lambda line: None)
    assert plain_sum(kept) <= 0.04


def test_a_network_of_few_operations_has_as_many_parts() -> None:
    assert harmful(["a", "b"], Errors({"b": 1.0}), 0.05, 0.04, lambda line: None) == {"b"}


def test_where_nothing_may_be_in_int8_all_of_it_stays_in_fp32() -> None:
    assert harmful(["a", "b"], Errors({"a": 1.0, "b": 1.0}), 0.05, 0.04, lambda line: None) == {"a", "b"}
