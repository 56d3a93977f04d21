"""Which actor of the file a face is: one that the file has, where that draws the face as well as an
actor of its own would; else a new one.

Who it is tells `people.People`.  The same person from another side, in other light or without
glasses may still be drawn badly by what the file has, and then gets an identity more.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..face.regions import attention
from ..fit.carrier import Appearance, Carrier
from ..model.modelfile import Model

PROBES = 8  # frames that are drawn
# Times the squared error of an actor of its own, up to which a known one will do.  The same person
# three seconds later in the same place has 1.4 to 5.6, since the pivot was not chosen for that.
WORSE = 8.0


@dataclass(frozen=True)
class Look:
    """What an actor looks like, as far as it has to be known to compare it.

    Args:
        carrier: that found the appearance.
    """

    carrier: Carrier[Any]
    appearance: Appearance


class Recognition:
    """The actors of a file and what they look like.

    Args:
        model: that draws them.
        device: where they are drawn.
    """

    def __init__(self, model: Model, device: torch.device):
        self.model, self.device = model, device
        self._persons: list[int] = []  # of each actor
        self._looks: list[Look | None] = []

    def add(self, person: int, look: Look | None = None) -> int:
        """A new actor; its number.

        Args:
            person: whom it shows.
            look: None = not known yet.
        """
        self._persons.append(person)
        self._looks.append(look)
        return len(self._persons) - 1

    def give(self, actor: int, look: Look) -> None:
        """What an actor looks like."""
        self._looks[actor] = look

    def look(self, actor: int) -> Look | None:
        """What an actor looks like, None where it was not given yet."""
        return self._looks[actor]

    @property
    def count(self) -> int:
        """Actors so far."""
        return len(self._persons)

    def actors_of(self, person: int) -> list[int]:
        """The actors that show a person."""
        return [actor for actor, who in enumerate(self._persons) if who == person]

    def find(self, person: int, pictures: Tensor, own: Look, taken: Collection[int] = ()) -> int | None:
        """The known actor that draws a person's frames best, None where none is good enough.

        Args:
            pictures: (N, 3, S, S), -1 to 1.
            own: what an actor made of these frames would look like.
            taken: actors that are somebody else's.
        """
        rows = np.unique(np.linspace(0, len(pictures) - 1, PROBES).round().astype(int))
        some = pictures[torch.from_numpy(rows)]
        errors = {}
        for actor in self.actors_of(person):
            look = self._looks[actor]
            if look is not None and actor not in taken:
                errors[actor] = self._error(look, some)
        if not errors:
            return None
        best = min(errors, key=lambda actor: errors[actor])
        return best if errors[best] <= WORSE * self._error(own, some) else None

    def _error(self, look: Look, pictures: Tensor) -> float:
        """Mean squared error of what is drawn, where people look."""
        appearance = look.appearance
        renderer = appearance.renderer(self.model, self.device)
        begin = appearance.begin(look.carrier.guess(pictures))
        motion = appearance.refine(renderer, pictures, begin, None)
        with torch.no_grad():
            drawn = renderer.draw_values(motion).clamp(-1, 1).cpu()
        return float(((drawn - pictures).square() * attention(renderer.size)).mean())
