"""What the C library does with freed blocks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# Freed blocks of growing size make glibc keep all but the last ones; 24 MB stay where it is not told otherwise.
PROGRAM = """
import ctypes, sys
import psutil
from stream.folder.memory import give_back_large_blocks
if sys.argv[1] == "told":
    assert give_back_large_blocks()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
libc.free(libc.malloc(30 << 20))
blocks = [libc.malloc(1 << 20) for _ in range(24)]
for block in blocks:
    libc.memset(block, 1, 1 << 20)
stopper = libc.malloc(1000)
before = psutil.Process().memory_info().rss
for block in blocks:
    libc.free(block)
print((before - psutil.Process().memory_info().rss) >> 20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's habit")
@pytest.mark.parametrize(("told", "given_back"), [("told", range(22, 26)), ("untold", range(2))])
def test_large_blocks_go_back_to_the_system_where_the_library_is_told(told: str, given_back: range) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, told], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) in given_back
