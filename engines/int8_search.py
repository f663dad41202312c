"""Which operations of a network int8 hurts."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Final

from engines.export import Say

Measure = Callable[[frozenset[str]], float]
"""How far a network in int8 is from fp32 where the operations of these names stay in fp32; 0 is alike."""

PARTS: Final = 24
"""Neighbouring operations that are tried together: each part costs the opening of a network."""


def harmful(names: list[str], measure: Measure, enough: float, goal: float, say: Say) -> frozenset[str]:
    """The operations, of `names` in the order of their computation, that stay in fp32 so that the rest reaches `goal`.

    Nothing where all are as near as `enough`, which is more than the goal: what is chosen on some pictures is nearer on
    them than on others. Else they are cut into PARTS, each is measured alone in int8, and those with the largest
    errors stay in fp32, until the rest should reach the goal, as errors of parts add up about as their squares do, and
    more until it does. Of those kept, halves go back to int8 where the goal still holds.
    """
    every = frozenset(names)
    whole = measure(frozenset())
    if whole <= enough:
        return frozenset()
    edges = [len(names) * part // PARTS for part in range(PARTS + 1)]
    parts = [frozenset(names[start:end]) for start, end in pairwise(edges) if end > start]
    say(f"int8 throughout is {whole:.3f} from fp32, {enough:g} at most: looking in {len(parts)} parts for what does it")
    alone = {part: measure(every - part) for part in parts}
    worst = sorted(parts, key=lambda part: -alone[part])
    count = next(n for n in range(len(worst) + 1) if math.hypot(*(alone[part] for part in worst[n:])) <= goal)
    while count < len(worst) and measure(frozenset().union(*worst[:count])) > goal:
        count += 1
    kept: frozenset[str] = frozenset().union(*worst[:count])
    for part in reversed(worst[:count]):
        own = [name for name in names if name in part]
        for half in (own[: len(own) // 2], own[len(own) // 2 :]):
            if half and measure(kept - frozenset(half)) <= goal:
                kept -= frozenset(half)
    say(f"{len(kept)} of {len(names)} operations stay in fp32")
    return kept
