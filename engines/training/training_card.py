"""What a trained model's card says beside its training: the machine it ran on, in words."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def trained_on(device: str, processes: int) -> str:
    """The machine and what of it several `processes` on a torch `device` used, in words."""
    if device == "cpu":
        return machine_words()
    import torch

    return f"{processes} x {torch.cuda.get_device_name(device)}, {machine_words()}"


def machine_words(cpuinfo: Path = _CPUINFO) -> str:
    """The CPU's model and the cores that this process may use, such as "Intel Xeon Gold 6338, 2 cores"."""
    try:
        listed = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        listed = None
    model = listed[1] if listed else platform.processor() or platform.machine() or "unknown CPU"
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{' '.join(model.split())}, {count} core{'s' if count > 1 else ''}"
