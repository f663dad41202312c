"""Backends and what opens them, in memory, for the tests of the guard."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.backends.base import Backend, EngineError, TensorSpec
from engines.cards import InputSpec, ModelCard

Floats = NDArray[np.float32]

POSE_CARD = ModelCard("net", "pose", "heatmap", InputSpec((64, 48), "bgr", 1 / 255), skeleton="coco17")
DETECT_CARD = ModelCard("finder", "detect", "yolox-decoded", InputSpec((48, 64), "bgr"))


class FakePoser:
    """Heat maps (N, 17, 16, 12) that are the picture's mean colours, nobody's joints, times 1 + `error`.

    A call takes `busy_ms` at least. What it is asked is counted, and whether it is closed.
    """

    def __init__(self, precision: str = "fp32", error: float = 0.0, busy_ms: float = 0.0) -> None:
        self.name = f"Fake CPU {precision}"
        self.inputs = (TensorSpec("image", (None, 3, 64, 48), "float32"),)
        self.outputs = (TensorSpec("heatmaps", (None, 17, 16, 12), "float32"),)
        self.closed = 0
        self.rows: list[int] = []
        self._error = error
        self._busy_s = busy_ms / 1000

    def infer(self, batch: Floats) -> tuple[Floats, ...]:
        until = time.perf_counter() + self._busy_s
        self.rows.append(len(batch))
        small = batch.mean(axis=1).reshape(len(batch), 16, 4, 12, 4).mean(axis=(2, 4))
        maps = np.repeat(small[:, None], 17, axis=1) * np.float32(1 + self._error)
        while time.perf_counter() < until:
            pass
        return (maps.astype(np.float32),)

    def close(self) -> None:
        self.closed += 1


class FakeFinder:
    """The same people in every picture: rows x1, y1, x2, y2, score in pixels of a 64 by 48 input."""

    def __init__(self, people: list[tuple[float, float, float, float, float]], precision: str = "fp32") -> None:
        self.name = f"Fake CPU {precision}"
        self.inputs = (TensorSpec("images", (None, 3, 48, 64), "float32"),)
        self.outputs = (TensorSpec("output", (None, len(people), 6), "float32"),)
        self._rows = np.array(
            [[(a + c) / 2, (b + d) / 2, c - a, d - b, score, 1] for a, b, c, d, score in people], np.float32
        ).reshape(-1, 6)

    def infer(self, batch: Floats) -> tuple[Floats, ...]:
        return (np.repeat(self._rows[None], len(batch), axis=0),)

    def close(self) -> None:
        pass


class FakeOpener:
    """Opens what `make` has for a precision, or for it and a front, as `bf16 0.04`; remembers (file name, precision).

    `cpu` is what opens models on the CPU instead.
    """

    def __init__(self, make: dict[str, Callable[[], Backend]]) -> None:
        self.opened: list[tuple[str, str]] = []
        self.backends: list[Backend] = []
        self.cpu: FakeOpener = self
        self._make = make

    def on_cpu(self) -> FakeOpener:
        return self.cpu

    def open(self, path: Path, precision: str, front: float = 0.0) -> Backend:
        wanted = f"{precision} {front:g}" if front else precision
        self.opened.append((path.name, wanted))
        if wanted not in self._make:
            raise EngineError(f"precision {wanted}: this CPU has not got it")
        self.backends.append(self._make[wanted]())
        return self.backends[-1]
