"""What a caller hears of the work: how far each stage is, and how long it took."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Progress = Callable[[str, int, int], None]  # stage, done, total
Result = TypeVar("Result")


class Stages:
    """The stages of one encoding.

    Args:
        progress: told the stage, how much of it is done, and how much there is.
    """

    def __init__(self, progress: Progress = lambda stage, done, total: None):
        self.progress = progress
        self.seconds: dict[str, float] = {}

    def run(self, name: str, work: Callable[[], Result]) -> Result:
        """Do a piece of work under a name and keep its time, that of all pieces together."""
        started = time.perf_counter()
        result = work()
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
        return result

    def counter(self, name: str, total: int) -> Callable[[int], None]:
        """Progress of a stage in pieces: told how many more are done."""
        done = 0

        def count(more: int) -> None:
            nonlocal done
            done += more
            self.progress(name, done, total)

        return count
