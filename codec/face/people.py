"""Who is who in a clip of several shots: everybody whom it has shown so far.

Each shot is followed with a memory of its own (`person.Person`), so that a wrong guess in one shot
spoils no other.  When enough of a shot is seen, its face is compared with those of the shots
before.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from torch import Tensor

from .person import SAME, Person

KEPT = 4  # memories of one person: the first shot's and the last ones'


class People:
    """Everybody, numbered in the order in which they came."""

    def __init__(self) -> None:
        self._known: list[list[Person]] = []
        self._frames: list[int] = []  # in which each was seen

    def __len__(self) -> int:
        return len(self._known)

    def meet(self, person: Person, others: Collection[int] = ()) -> int:
        """The number of somebody who was followed through a shot, or through its beginning.

        The memory is kept, and what it goes on to learn counts from then on.

        Args:
            others: who is in the shot already.
        """
        like = [
            -1.0 if number in others else max(float((old.views @ person.views.t()).max()) for old in known)
            for number, known in enumerate(self._known)
        ]
        best = int(np.argmax(like)) if like else -1
        if best < 0 or like[best] <= SAME:
            self._known.append([])
            self._frames.append(0)
            best = len(self._known) - 1
        known = self._known[best]
        known.append(person)
        if len(known) > KEPT:
            del known[1]
        return best

    def seen(self, number: int, frames: int) -> None:
        """Somebody was in so many more frames."""
        self._frames[number] += frames

    def pick(self, vectors: Tensor) -> int:
        """Which of the faces of a picture is to be followed: whoever was seen in most frames so
        far; else the first.

        Args:
            vectors: of the faces (`Person.vectors`), the largest first.
        """
        for number in sorted(range(len(self)), key=lambda n: -self._frames[n]):
            like = np.array([max(float((p.views @ v).max()) for p in self._known[number]) for v in vectors])
            if like.max(initial=-1) > SAME:
                return int(like.argmax())
        return 0
