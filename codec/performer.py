"""An actor of one of the two files that a puppet is made of: who it is, what it stands before and how
it moves.  `fev.codec.puppet` puts the two together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from ..format.container import Reader
from ..format.errors import FevError, UnsupportedError, about
from ..format.reference import Identity
from ..format.segment import Segment, Track
from ..format.stage import Set
from .draw.modes import ClipModes
from .draw.render import Renderer
from .draw.units import dequantise_placement, step_size
from .media.identities import Search, folder_of
from .media.source import MediaSource, name_of
from .model.modelfile import Model


class Performer:
    """One actor of a file, which is read as often as it takes.

    Attributes:
        look: who it is.
        on_set: what it stands before first; None = black.
        frames, length: in which it is on stage; of the whole file.
        places: (frames, 4) in pixels and radians; None where the file says none.
    """

    def __init__(self, file: BinaryIO, src: MediaSource, number: int):
        self.file, self.name, self.number = file, name_of(src), number
        self._search = Search(folder=folder_of(src))
        self.reader = self._open()
        with about(self.name):
            self.look, self.on_set = self._find()

    def _open(self) -> Reader:
        self.file.seek(0)
        with about(self.name):
            return Reader(self.file, identities=self._search)

    def _find(self) -> tuple[Identity, Set | None]:
        """Who it is, and what it stands before first."""
        found, key = None, None
        others: set[int] = set()
        for parts in self.reader.parts():
            others.update(number for number, _ in parts.cast)
            for own in (own for own in parts.cast if own[0] == self.number):
                if found is None:
                    on_set = None if parts.on_set is None else self.reader.cast.sets.get(parts.on_set)
                    found, key = (self.reader.who(own), on_set), own
                if own != key:
                    message = f"actor {self.number} comes in several revisions, of which no puppet is made"
                    raise UnsupportedError(message, segment=parts.index)
        if found is None:
            there = f"actor{'s' * (len(others) > 1)} {', '.join(map(str, sorted(others)))}" if others else "nobody"
            raise FevError(f"actor {self.number} is not on stage, but {there}")
        return found

    def load(self, model: Model, device: torch.device) -> None:
        """Get ready to draw, and go through the file once for lengths and places."""
        r, h = self.look, self.reader.header
        if model.latents.params != h.params:
            raise FevError(f"{self.name} has {h.params} motion parameters, the model {model.latents.params}")
        self.modes = None if r.modes is None else ClipModes(r.modes, h.params, torch.device("cpu"))
        self.plain = self.modes is None or self.modes.plain
        self.step = step_size(r.motion_step_code)
        self.renderer = Renderer(
            model, r.values, r.delta, r.modes, r.pivot,
            identity_step_code=r.identity_step_code, motion_step_code=r.motion_step_code, device=device,
        )  # fmt: skip
        places, first, last = [], None, 0
        self.frames = self.length = 0
        for segment, track in self.segments():
            first, last = int(segment.pts[0]) if first is None else first, int(segment.pts[-1])
            self.length += segment.frames
            self.frames += 0 if track is None else segment.frames
            if track is not None and track.placement is not None:
                places.append(dequantise_placement(track.placement))
        self.places = np.concatenate(places) if places else None
        self.seconds = h.seconds(last - (first or 0)) + h.fps[1] / h.fps[0]

    def segments(self) -> Iterator[tuple[Segment, Track | None]]:
        """All segments, each with the actor if it is on stage."""
        with about(self.name):
            for segment in self._open().segments():
                yield segment, next((track for track in segment.actors if track.actor == self.number), None)

    def tracks(self) -> Iterator[Track]:
        return (track for _, track in self.segments() if track is not None)

    def values(self, track: Track) -> Tensor:
        """The parameters of the actor in a segment, (N, P)."""
        return torch.from_numpy(track.motion.astype(np.float32)) * self.step
