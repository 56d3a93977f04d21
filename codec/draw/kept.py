"""What was made for a key, the last few kept: pictures and renderers that segments ask for again
and again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Kept(Generic[Key, Value]):
    """The values that were asked for last.  May be asked from several threads.

    Args:
        most: values.
        room: bytes of all together; the one that was asked for last is kept in any case.
        weigh: bytes of a value.
    """

    def __init__(self, most: int, room: int = 0, weigh: Callable[[Value], int] = lambda value: 0):
        self.most, self.room = most, room
        self._weigh = weigh
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._lock = threading.RLock()  # making one value may ask for another

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of a key; made now if it is not there."""
        with self._lock:
            if key not in self._values:
                self._values[key] = make()
            self._values.move_to_end(key)
            while len(self._values) > 1 and self._too_much():
                self._values.popitem(last=False)
            return self._values[key]

    def _too_much(self) -> bool:
        return len(self._values) > self.most or sum(map(self._weigh, self._values.values())) > self.room

    def __len__(self) -> int:
        return len(self._values)
