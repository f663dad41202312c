"""What courses in poses and in finding people have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from engines.training.loop import Progress

Follow = Callable[[Sequence[Path], str], Iterable[Path]]
"""Hands on pictures one by one and shows how far they are, under a few words."""


@dataclass(frozen=True, slots=True)
class Trained:
    """How a course ended: the best weights, as a checkpoint, how far it came, and how many it learnt from.

    `held` were held back to mark by, `left_out` pictures were like some that were to be kept out. It is not done where
    it was stopped.
    """

    weights: Path
    progress: Progress
    is_done: bool
    samples: int
    learnt: int
    held: int
    left_out: int


def device_of(name: str) -> str:
    """The device that a name means; `auto` is the GPU where there is one."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
