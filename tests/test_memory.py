"""Freed memory is kept for the next picture where the C library can (fev.tools.memory)."""

from __future__ import annotations

import subprocess
import sys

import pytest

FRESH_PAGES = """
import ctypes, resource, sys
from fev.tools.memory import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "keep" else False
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
counts = []
for _ in range(3):
    before, block = faults(), libc.malloc(128 << 20)
    ctypes.memset(block, 1, 128 << 20)
    libc.free(block)
    counts.append(faults() - before)
print(int(kept), min(counts[1:]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux's C library is asked")
def test_a_second_picture_takes_no_fresh_pages() -> None:
    def told(how: str) -> tuple[int, int]:
        done = subprocess.run([sys.executable, "-c", FRESH_PAGES, how], capture_output=True, text=True, check=True)
        kept, count = done.stdout.split()
        return int(kept), int(count)

    assert told("as it is")[1] > 50  # huge pages, where they are on, are 64 of 2 MiB
    kept, count = told("keep")
    if not kept:
        pytest.skip("this C library cannot be told")
    assert count < 10


def test_elsewhere_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    from fev.tools import memory

    monkeypatch.setattr(sys, "platform", "darwin")
    assert not memory.keep_freed_memory()
