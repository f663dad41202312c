"""Freed memory goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import psutil
from stream.folder.memory import give_back_freed

def resident():
    return psutil.Process().memory_info().rss / 1e6

before = resident()
blocks = [b"x" * 100_000 for _ in range(1_000)]  # Under the size that malloc maps by itself.
held = resident()
last = bytes(blocks[-1]) + b"y"  # At the top of the heap: what is below cannot leave with it.
blocks.clear()
freed = resident()
print(give_back_freed(), held - before, freed - before, resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="malloc_trim is glibc's")
def test_freed_blocks_under_a_held_one_are_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    said, held, freed, left = done.stdout.split()
    assert said == "True"
    assert float(held) > 90
    assert float(freed) > 90  # Without it they stay.
    assert float(left) < 10
