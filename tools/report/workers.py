"""Running jobs: here in turn, here on several cores, or on Ray; the same function (`jobs.perform`) in each case.

Results come as they are ready.  An interrupted run leaves nothing half done: what came was written down by the caller,
and the rest is done when the command is given again.
"""

from __future__ import annotations

import multiprocessing
import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from ...format.errors import FevError, UsageError
from .jobs import JobOutcome, Task, perform
from .scoring import need

T = TypeVar("T")
AHEAD = 2  # tasks that wait, for each that runs


def run_here(function: Callable[..., T], calls: Iterable[tuple[Any, ...]], processes: int) -> Iterator[T]:
    """What `function` returns for each call, as it is ready.  Raises FevError where a worker is killed."""
    if processes <= 1:
        for call in calls:
            yield function(*call)
        return
    # Fresh interpreters: torch's threads do not survive a fork.
    executor = ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))
    try:
        running: set[Future[T]] = set()
        left = iter(calls)
        while True:
            for call in islice(left, processes * AHEAD - len(running)):
                running.add(executor.submit(function, *call))
            if not running:
                break
            ready, running = wait(running, return_when=FIRST_COMPLETED)
            for future in ready:
                yield future.result()
        executor.shutdown()
    except BrokenProcessPool as error:
        raise FevError("a worker process died, for want of memory most likely; fewer --jobs need less") from error
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.terminate()


def _knock(address: str) -> None:
    """Ray itself waits for minutes for a machine that is not there.  Raises UsageError."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        except (OSError, OverflowError) as error:
            raise UsageError(f"--ray {address}: nothing answers there: {error}") from error


def run_on_ray(tasks: Iterable[Task], address: str) -> Iterator[JobOutcome]:
    """On a Ray cluster.

    Args:
        address: `auto`, HOST:PORT, ray://..., or `local` for one that is started here.

    A square travels once, through Ray's store; streams and results come back: no folder has to be
    shared. Every machine needs fev[rd] and, for measures with networks, the same files. Raises
    UsageError without ray, FevError where there is no cluster.
    """
    need("ray", extra="ray")
    import ray

    _knock(address)
    try:
        dashboard = False if address == "local" else None
        ray.init(address=address, log_to_driver=False, include_dashboard=dashboard)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UsageError(f"--ray {address}: {' '.join(str(error).split())}") from error
    try:
        remote: Any = ray.remote(num_cpus=1)(perform)
        most = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
        stored: dict[str, Any] = {}  # tasks come clip by clip: the last two squares are enough
        running: list[Any] = []
        left = iter(tasks)
        while True:
            for task in islice(left, most - len(running)):
                path = task.job.square.path
                if path not in stored:
                    stored = dict([*list(stored.items())[-1:], (path, ray.put(Path(path).read_bytes()))])
                running.append(remote.remote(task, stored[path]))
            if not running:
                break
            ready, running = ray.wait(running)
            yield from ray.get(ready)
    except ray.exceptions.RayError as error:
        raise FevError(f"Ray: {' '.join(str(error).split())[:300]}") from error
    finally:
        ray.shutdown()
