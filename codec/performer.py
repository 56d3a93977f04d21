"""An actor of one of the two files that a puppet is made of: who it is, what it stands before and how
it moves.  `fev.codec.puppet` puts the two together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from ..format.container import Reader
from ..format.errors import FevError, about
from ..format.reference import Identity
from ..format.segment import Segment, Track
from ..format.stage import Set
from .draw.modes import ClipModes
from .draw.render import Renderer
from .draw.units import dequantise_placement, step_size
from .media.identities import Search, folder_of
from .media.source import MediaSource, name_of
from .model.modelfile import Model


@dataclass(frozen=True)
class Shown:
    """An actor in one revision.

    Args:
        modes: None where the file has none of its own.
        plain: its parameters mean what they mean to the model.
        step: of its parameters.
        renderer: draws it.
    """

    modes: ClipModes | None
    plain: bool
    step: float
    renderer: Renderer


class Performer:
    """One actor of a file, which is read as often as it takes.

    Whose identity is taken is of the first revision: its parameters mean one thing.  Whose motion is
    taken may come in several.

    Attributes:
        look: who it is, in its first revision.
        own: the same, to be drawn.
        shown: in the revision of the track that came last.
        plain: all its revisions are.
        on_set: what it stands before first; None = black.
        frames, length: in which it is on stage; of the whole file.
        places: (frames, 4) in pixels and radians; None where the file says none.
    """

    def __init__(self, file: BinaryIO, src: MediaSource, number: int):
        self.file, self.name, self.number = file, name_of(src), number
        self._search = Search(folder=folder_of(src))
        self._shown = self._first = (-1, -1)  # keys of revisions
        self.reader = self._open()
        with about(self.name):
            self.look, self.on_set = self._find()

    def _open(self) -> Reader:
        self.file.seek(0)
        with about(self.name):
            return Reader(self.file, identities=self._search)

    def _find(self) -> tuple[Identity, Set | None]:
        """Who it is, and what it stands before first."""
        found = None
        others: set[int] = set()
        for parts in self.reader.parts():
            others.update(number for number, _ in parts.cast)
            for own in (own for own in parts.cast if own[0] == self.number):
                if found is None:
                    on_set = None if parts.on_set is None else self.reader.cast.sets.get(parts.on_set)
                    found, self._first = (self.reader.who(own), on_set), own
        if found is None:
            there = f"actor{'s' * (len(others) > 1)} {', '.join(map(str, sorted(others)))}" if others else "nobody"
            raise FevError(f"actor {self.number} is not on stage, but {there}")
        return found

    def load(self, model: Model, device: torch.device) -> None:
        """Get ready to draw, and go through the file once for lengths and places."""
        h = self.reader.header
        if model.latents.params != h.params:
            raise FevError(f"{self.name} has {h.params} motion parameters, the model {model.latents.params}")
        self._model, self._device = model, device
        self.own = self.shown = self._made(self.look)
        self._shown, self.plain = self._first, self.own.plain
        places, first, last = [], None, 0
        self.frames = self.length = 0
        for segment, track in self.segments():
            first, last = int(segment.pts[0]) if first is None else first, int(segment.pts[-1])
            self.length += segment.frames
            self.frames += 0 if track is None else segment.frames
            self.plain = self.plain and self.shown.plain
            if track is not None and track.placement is not None:
                places.append(dequantise_placement(track.placement))
        self.places = np.concatenate(places) if places else None
        self.seconds = h.seconds(last - (first or 0)) + h.fps[1] / h.fps[0]

    def _made(self, r: Identity) -> Shown:
        params = self.reader.header.params
        modes = None if r.modes is None else ClipModes(r.modes, params, torch.device("cpu"))
        renderer = Renderer(
            self._model, r.values, r.delta, r.modes, r.pivot,
            identity_step_code=r.identity_step_code, motion_step_code=r.motion_step_code, device=self._device,
        )  # fmt: skip
        return Shown(modes, modes is None or modes.plain, step_size(r.motion_step_code), renderer)

    def segments(self) -> Iterator[tuple[Segment, Track | None]]:
        """All segments, each with the actor if it is on stage; `shown` is then its revision."""
        with about(self.name):
            reader = self._open()
            for segment in reader.segments():
                track = next((track for track in segment.actors if track.actor == self.number), None)
                if track is not None and (track.actor, track.revision) != self._shown:
                    self._shown = track.actor, track.revision
                    self.shown = self.own if self._shown == self._first else self._made(reader.who(self._shown))
                yield segment, track

    def tracks(self, own: bool = False) -> Iterator[Track]:
        """Of the whole file.  own: in the first revision alone."""
        for _, track in self.segments():
            if track is not None and (not own or (track.actor, track.revision) == self._first):
                yield track

    def values(self, track: Track) -> Tensor:
        """The parameters of the track that came last, (N, P)."""
        return torch.from_numpy(track.motion.astype(np.float32)) * self.shown.step
