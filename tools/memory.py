"""Keep the memory of one picture for the next.

A layer of a 1024x1024 picture is 128 MiB.  The C library of Linux gives blocks that large back to the system as soon as
they are freed, and the next layer pays for fresh pages again: a quarter of the time that a generator takes.  Told to
keep them, it does not.  This changes the whole process, so commands do it and `import fev` does not.
"""

from __future__ import annotations

import ctypes
import sys

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # malloc.h of glibc
NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Ask malloc to hold on to what is freed until the process ends; False where there is no such malloc."""
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return mallopt is not None and bool(mallopt(MMAP_MAX, 0)) and bool(mallopt(TRIM_THRESHOLD, NEVER))
