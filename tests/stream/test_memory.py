"""Freed memory goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import psutil
from stream.memory import give_back_freed

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


ARENAS = """
import ctypes, re, threading
from stream.memory import use_few_arenas

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
print(use_few_arenas())
gate = threading.Barrier(9)
held = []

def work():
    gate.wait()
    held.append(libc.malloc(1000))
    gate.wait()

threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
gate.wait()
gate.wait()
for thread in threads:
    thread.join()
libc.fflush(None)
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_threads_share_two_heaps() -> None:
    done = subprocess.run([sys.executable, "-u", "-c", ARENAS], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("True")
    assert done.stdout.count("<heap nr=") == 2
