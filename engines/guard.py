"""How far one way to run a network is from another, on noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.cards import InputSpec


@dataclass(frozen=True, slots=True)
class Difference:
    """The `largest` |difference| of two outputs, and the `relative` one: its norm by the norm of what is wanted.

    Not a number, and never within a bound, where one of them is not finite.
    """

    largest: float
    relative: float

    def __str__(self) -> str:
        return f"{self.largest:.1e} (relative {self.relative:.1e})"


def noise(spec: InputSpec, rows: int) -> NDArray[np.float32]:
    """Random pictures as a network sees them, (rows, 3, height, width) of its own range, always the same."""
    pixels = np.random.default_rng(0).uniform(0, 255, (rows, *spec.size, 3))
    batch = (pixels * spec.scale - spec.mean) / spec.std
    return np.ascontiguousarray(batch.transpose(0, 3, 1, 2), np.float32)


def compare(got: NDArray[np.float32], wanted: NDArray[np.float32]) -> Difference:
    """How far `got` is from `wanted`, of one shape; ValueError where they are not."""
    if got.shape != wanted.shape:
        raise ValueError(f"outputs to compare must be of one shape, got {got.shape} and {wanted.shape}")
    if not (np.isfinite(got).all() and np.isfinite(wanted).all()):
        return Difference(float("nan"), float("nan"))
    difference = got.astype(np.float64) - wanted
    norm = float(np.linalg.norm(wanted)) or 1.0
    return Difference(float(np.abs(difference).max(initial=0)), float(np.linalg.norm(difference)) / norm)
