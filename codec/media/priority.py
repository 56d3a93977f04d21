"""Real-time priority, which SVT-AV1 takes for the whole program where it may, given back."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TASKS = Path("/proc/self/task")  # a folder for each thread of this process


def _scheduling() -> dict[int, tuple[int, os.sched_param]]:
    """Policy and priority of each thread, by its number."""
    out = {}
    for task in [int(path.name) for path in TASKS.iterdir()] if TASKS.is_dir() else [0]:
        with suppress(OSError):  # a thread may have ended
            out[task] = os.sched_getscheduler(task), os.sched_getparam(task)
    return out


@contextmanager
def usual_priority() -> Iterator[None]:
    """Threads have their scheduling of before again at the end, and new ones the caller's.

    As root, opening SVT-AV1 puts the calling thread under SCHED_FIFO, and its own ones with it. All
    threads that begin later inherit that: every other program would stand still beside them.
    """
    if sys.platform != "linux":
        yield
        return
    own, before = (os.sched_getscheduler(0), os.sched_getparam(0)), _scheduling()
    try:
        yield
    finally:
        for task, (policy, _) in _scheduling().items():
            usual, param = before.get(task, own)
            if policy == os.SCHED_FIFO != usual:
                with suppress(OSError):
                    os.sched_setscheduler(task, usual, param)
