"""Is this the same person?  What is remembered of the face that a clip follows, and how like it
another picture is.

A face's square becomes a short vector: the features of the built-in inverter under a linear map
(`model/files/likeness.npz`) that keeps what tells people apart and drops what pose, speech and
light change.  `fev.tools.lab.train.likeness` makes the map.  It follows one face within one clip;
it is no recogniser of people.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..model.inverter import Inverter
from ..model.library import BUILT_IN
from .covered import covered
from .light import evened

MAP = BUILT_IN / "likeness.npz"
SAME = 0.65  # cosine to what is remembered, from which on a face that comes back is the same person's
LEAST = 0.45  # ... where the person has looked that different before, or was seen a moment ago in the same place
MARGIN = 0.15  # below the least likeness that the person has had
SURE = 0.7  # ... from which on a view is remembered too
KNOWN = 0.92  # ... from which on there is nothing new to remember
MEMORY = 24  # views of a face that are kept
COVERED = 4.0  # logit from which on a mouth is covered (`covered`)
USUALLY_SEEN = 3  # looks at the person's mouth after which a covered one is an exception


@lru_cache
def _map() -> tuple[Tensor, Tensor]:
    with np.load(MAP, allow_pickle=False) as file:
        return torch.from_numpy(file["mean"]).float(), torch.from_numpy(file["map"]).float()


class Person:
    """The face that is followed.  The first square that is shown is the person."""

    def __init__(self, inverter: Inverter):
        self.inverter = inverter.eval()
        self.forget()

    def forget(self) -> None:
        """Nobody is known: the next square that is shown is the person."""
        self._views: list[Tensor] = []
        self._lowest = 1.0  # likeness that was accepted
        self._mouths = 0  # looks at which the mouth could be seen

    @property
    def views(self) -> Tensor:
        """What is remembered, unit vectors (N, K)."""
        return torch.stack(self._views)

    @torch.no_grad()
    def vectors(self, squares: Tensor) -> Tensor:
        """Squares (N, 3, 256, 256), -1 to 1 -> unit vectors (N, K)."""
        mean, matrix = _map()
        out = (self.inverter.features(evened(squares)) - mean) @ matrix.t()
        made: Tensor = out / out.norm(dim=1, keepdim=True).clamp_min(1e-6)
        return made

    def likeness(self, squares: Tensor) -> np.ndarray:
        """Cosine of each square with the nearest view of the person, (N,)."""
        return self._like(self.vectors(squares)).numpy()

    def _like(self, vectors: Tensor) -> Tensor:
        return (self.views @ vectors.t()).amax(0)

    def is_same(self, squares: Tensor, followed: bool = False) -> np.ndarray:
        """Which squares show the person, (N,) of bool.  The first of all is the person; views that
        are new are kept.

        A covered mouth is not the person's, unless that is how the person came: it could only be
        drawn as a mouth.

        Args:
            followed: the face was there a moment ago and has only moved since.
        """
        vectors = self.vectors(squares)
        if not self._views:
            self._views.append(vectors[0])
        like = self._like(vectors)
        out = like > (LEAST if followed else min(SAME, max(LEAST, self._lowest - MARGIN)))
        hidden = covered(squares)
        if self._mouths >= USUALLY_SEEN:
            out &= hidden < COVERED
        best = int(like.argmax())
        if out[best]:
            self._mouths += int(hidden[best] < 0)
            self._lowest = min(self._lowest, float(like[best]))
            if SURE < like[best] < KNOWN:
                if len(self._views) == MEMORY:
                    del self._views[1]  # the first one stays: a memory must not drift from person to person
                self._views.append(vectors[best])
        return out.numpy()
