"""Real-time priority, which SVT-AV1 takes for the whole program where it may, given back."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TASKS = Path("/proc/self/task")  # a folder for each thread of this process


@contextmanager
def usual_priority() -> Iterator[None]:
    """Threads have the caller's scheduling again at the end.

    As root, opening SVT-AV1 puts the calling thread under SCHED_FIFO, and its own ones with it. All
    threads that begin later inherit that: every other program would stand still beside them.
    """
    if sys.platform != "linux":
        yield
        return
    policy, param = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        for task in [path.name for path in TASKS.iterdir()] if TASKS.is_dir() else ["0"]:
            with suppress(OSError):  # a thread may have ended
                if os.sched_getscheduler(int(task)) == os.SCHED_FIFO != policy:
                    os.sched_setscheduler(int(task), policy, param)
