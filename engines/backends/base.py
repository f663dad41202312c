"""What a backend is: tensors in, tensors out; it knows nothing of people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class EngineError(Exception):
    """A model cannot be loaded or run: what, got, wanted, remedy, in one line."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output of a model; None in `shape` is a free dimension, `dtype` is numpy's name of the element type."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


class Backend(Protocol):
    """Runs one model; whoever opened it closes it.

    `infer` takes a batch of one or more, (N, C, H, W) float32, C-contiguous, of any N, and returns the model's outputs in their order, each of N
    rows, which no later call overwrites. How N is cut into the batch sizes that run fastest is the backend's affair.
    """

    @property
    def name(self) -> str:
        """The library, device and precision in words, as `OpenVINO CPU bf16`."""
        ...

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...

    def infer(self, batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]: ...

    def close(self) -> None: ...
