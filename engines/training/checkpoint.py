"""Checkpoints of a training: written whole, read with an error that says what to do."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

CHECKPOINT = "checkpoint.pth"
"""All that a training needs to go on."""
BEST = "best.pth"
"""The averaged weights that scored best, as a checkpoint of the network."""


def save_whole(state: Mapping[str, Any], target: Path) -> None:
    """Write a checkpoint that is whole or the one before, whenever the machine stops."""
    part = target.with_name(f"{target.name}.part")
    with part.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(target)


def read_state(folder: Path, device: torch.device) -> dict[str, Any] | None:
    """The checkpoint in a folder, None where there is none; OSError where it cannot be read."""
    file = folder / CHECKPOINT
    if not file.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(file, map_location=device, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise OSError(f"{file}: cannot be read to go on from it; take it away to begin anew") from error
    return state


def steps_done(folder: Path) -> int:
    """The steps that the checkpoint in a folder has behind it; 0 where there is none."""
    state = read_state(folder, torch.device("cpu"))
    return 0 if state is None else int(state["progress"]["step"])
