"""The clock of a playback: seconds of the clip from its first frame, running, held, moved, and led by the sound."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

FOLLOW = 0.1  # of a small difference to the sound is taken over at every look
JUMP = 0.1  # seconds of difference beyond which the clock is set at once


class Clock:
    """Stands still until `start`.  now: a monotonic clock in seconds.  All methods may be called from any thread."""

    def __init__(self, now: Callable[[], float] = time.monotonic):
        self._now = now
        self._lock = threading.Lock()
        self._at, self._since = 0.0, None  # type: float, float | None

    @property
    def running(self) -> bool:
        return self._since is not None

    def time(self) -> float:
        with self._lock:
            return self._time()

    def _time(self) -> float:
        return self._at if self._since is None else self._at + self._now() - self._since

    def start(self) -> None:
        with self._lock:
            if self._since is None:
                self._since = self._now()

    def hold(self) -> None:
        with self._lock:
            self._at, self._since = self._time(), None

    def move(self, to: float) -> None:
        """Go to a time; a running clock runs on from there."""
        with self._lock:
            self._at = to
            self._since = None if self._since is None else self._now()

    def follow(self, sound: float) -> float:
        """Come nearer to where the sound is.  Returns how far the clock was ahead of it.

        A device takes its samples in blocks, so its position moves in steps: following it closely would shake pictures.
        """
        with self._lock:
            ahead = self._time() - sound
            if self._since is not None:
                self._at -= ahead if abs(ahead) > JUMP else FOLLOW * ahead
            return ahead
