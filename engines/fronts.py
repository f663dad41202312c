"""How much of a network stays in fp32 so that the rest may run in 16 bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from engines.backends.base import Backend, EngineError
from engines.verdict import Verdict

FRONTS: Final = (0.04, 0.1, 0.2)
"""Shares of a network's operations, the first ones, that are tried in fp32, until the rest is near enough to it."""
MIXES: Final = "OpenVINO CPU bf16"
"""The name of the backend that can mix them."""


def nearest(
    opened: Backend, reopen: Callable[[float], Backend], assess: Callable[[Backend, float], Verdict]
) -> tuple[Backend, Verdict]:
    """`opened`, or where that is too far from fp32 the same with a front in fp32 that is near enough; and its verdict.

    `reopen` opens the model with a share of it in fp32, `assess` compares a backend that has this share. Where none
    passes the last that was tried is returned. Of all but what is returned nothing stays open. What `assess`
    raises of `opened` closes it and is passed on; of a front it ends the search.
    """
    backend, verdict = opened, _assess(assess, opened, 0.0)
    for share in FRONTS if opened.name == MIXES else ():
        if verdict.passed or not verdict.pays:
            break
        try:
            other = reopen(share)
            judged = _assess(assess, other, share)
        except EngineError:  # it cannot be torn apart there, which some networks tell when they run
            break
        backend.close()
        backend, verdict = other, judged
    return backend, verdict


def _assess(assess: Callable[[Backend, float], Verdict], backend: Backend, share: float) -> Verdict:
    try:
        return assess(backend, share)
    except BaseException:
        backend.close()
        raise
