"""What courses in poses and in finding people have in common."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from engines.backends.base import EngineError
from engines.training.loop import Loop, Progress
from engines.training.split import Parts

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
    """The device that a name means: `auto` is a GPU where there is one, of several processes each its own.

    Raises ValueError for what is no name of a device, EngineError where there is no GPU.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise ValueError(f"device must be auto, cpu or cuda:N, got {name!r}")
    has_gpu = torch.cuda.is_available()
    if name == "auto":
        name = "cuda" if has_gpu else "cpu"
    if name != "cpu" and not has_gpu:
        raise EngineError(f"{name}: torch finds no GPU here; leave it out, or --device cpu")
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if name == "cuda" else name


def origin_of(paths: Sequence[Path], parts: Parts, options: object) -> str:
    """Hex digits that are others for other pictures, another split and other `options`, which tell what they are."""
    digest = hashlib.sha256(repr(options).encode())
    for path in paths:
        digest.update(f"{path.name}\0".encode())
    digest.update(parts.held.tobytes() + parts.left.tobytes())
    return digest.hexdigest()[:16]


def going_on(loop: Loop) -> str:
    """Where a training goes on, in words; nothing where it begins."""
    if loop.is_done:
        return "; it is done already, name another folder to train anew"
    return f"; going on at step {loop.progress.step:,}" if loop.progress.step else ""


def warning(parts: Parts) -> str:
    """What is to be known of a split, in words; nothing where all is well."""
    return "; those held back are like some learnt from, for want of other scenes: marks are too good" * parts.is_cut
