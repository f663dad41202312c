"""Keeps the memory of a long run of pictures flat."""

from __future__ import annotations

import ctypes
import sys

LARGE_BYTES = 256 * 1024
"""Blocks from this size on, pictures and batches, are given back to the system when they are freed."""
_M_MMAP_THRESHOLD = -3
"""glibc's number of the option (malloc.h)."""


def give_back_large_blocks() -> bool:
    """Make the C library give large blocks back for the rest of the process; False where it cannot be told so.

    glibc raises that size by itself up to 32 MB as blocks are freed, and then keeps pictures of many sizes in arenas
    that fragment: 1 to 2 MB per 1,000 pictures; so told, none.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none, and no such habit
    return mallopt is not None and mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES) == 1
