"""In which order chunks may come. `reader.py` asks for each."""

from __future__ import annotations

from .chunk import Chunk
from .errors import DamagedError
from .setup import SETUP

BODY = ("ACTR", "SETT", "VIDH", "SEGM")  # after the set-up, in any order
_PLACES = {**{name: place for place, name in enumerate(SETUP)}, **dict.fromkeys(BODY, len(SETUP))}
_BODY = len(SETUP)
_PLACES |= {"indx": _BODY + 1, "FEND": _BODY + 2}


class Order:
    """Where in a stream a reader is."""

    def __init__(self) -> None:
        self._place = -1
        self._group: set[str] = set()  # set-up chunks since the last HEAD
        self.in_body = False  # the first set-up is over

    @staticmethod
    def knows(name: str) -> bool:
        """Whether a chunk type has a place at all."""
        return name in _PLACES

    @property
    def begun(self) -> bool:
        """Whether there was a chunk with a place yet."""
        return self._place >= 0

    def check(self, chunk: Chunk, accepted: set[str]) -> None:
        """Raises DamagedError where a chunk may not come next.

        Args:
            accepted: types of the set-up chunks that the stream has. A repetition has all of them.
        """
        place = _PLACES[chunk.type]
        again = chunk.type == "HEAD" and self._place == _BODY
        onward = place > self._place or place == self._place == _BODY
        if not self.begun and place != 0:
            raise DamagedError(f"a {chunk.type} chunk before the header", offset=chunk.offset)
        if not (again or onward):
            raise DamagedError(f"a {chunk.type} chunk out of order", offset=chunk.offset)
        if self._place < _BODY <= place and self._group != accepted:
            raise DamagedError("the set-up is repeated in part only", offset=chunk.offset)

    def go_on(self, name: str) -> None:
        """After a chunk of this type."""
        self._place = _PLACES[name]
        self.in_body |= self._place >= _BODY
        if name in SETUP:
            self._group = {"HEAD"} if name == "HEAD" else self._group | {name}
