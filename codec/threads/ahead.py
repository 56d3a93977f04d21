"""Stages side by side: a stage runs ahead of the one that takes what it makes, each on one thread
of its own.

Small tensors gain next to nothing from OpenMP's threads, and its barriers stand still as soon as
another program takes one of the cores.  So `fast`, decoding and playing compute on one thread a
stage and put stages beside each other: what they call releases the interpreter's lock.  What comes
out does not depend on which stage is faster.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

import torch

Item = TypeVar("Item")
POLL = 0.1  # seconds after which a stage that waits looks whether anybody still wants its work


@contextlib.contextmanager
def threads_for_tensors(count: int = 1) -> Iterator[None]:
    """Tensors of the calling thread on so many threads, 0 for as many as there are; then as many as
    before.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Ahead(Generic[Item]):
    """Iterate over what another thread takes out of `source`, at most `depth` items ahead.

    Its exceptions are raised here, in their place.  Close it (or use it as a context manager)
    before what the source reads from is closed.
    """

    def __init__(self, source: Iterable[Item], depth: int, threads: int = 1, patience: float | None = None):
        """threads: that its tensors are computed on; 0 leaves torch's own number.  patience:
        seconds that `close` waits for a source that may wait for bytes which never come; None for
        as long as it takes.
        """
        self._source, self._threads, self._patience = source, threads, patience
        self._ready: queue.Queue[tuple[str, Item | BaseException | None]] = queue.Queue(depth)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="fev-ahead", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        with threads_for_tensors(self._threads):
            try:
                for item in self._source:
                    if not self._give("item", item):
                        break
                else:
                    self._give("end", None)
            except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
                self._give("error", error)
            finally:
                close = getattr(self._source, "close", None)
                if close is not None:
                    close()

    def _give(self, kind: str, value: Item | BaseException | None) -> bool:
        while not self._stopped.is_set():
            try:
                self._ready.put((kind, value), timeout=POLL)
                return True
            except queue.Full:
                continue
        return False

    def __iter__(self) -> Iterator[Item]:
        while True:
            kind, value = self._ready.get()
            if kind == "end":
                return
            if kind == "error":
                assert isinstance(value, BaseException)
                raise value
            yield value  # type: ignore[misc]

    def close(self) -> None:
        """Stop the other thread and wait until it has."""
        self._stopped.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(self._patience)

    def __enter__(self) -> Ahead[Item]:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
