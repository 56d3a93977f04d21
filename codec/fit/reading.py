"""What the inverter of a model sees in frames: the guess with which every fit of ours begins, and
the verbs of the carriers that begin with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ..draw.render import Renderer
from ..model.modelfile import Model
from .quantiser import RateDistortion


@dataclass(frozen=True)
class InverterReading:
    """Of N frames.

    Args:
        identity: (N, rank).
        motion: (N, P), for the generator.
        moves: (N, P), for the shared modes; the same as `motion` where the model has none.
    """

    identity: Tensor
    motion: Tensor
    moves: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, model: Model, pictures: Tensor) -> InverterReading:
        """Args:
        model: one with an inverter.
        pictures: (N, 3, S, S), -1 to 1.
        """
        assert model.inverter is not None
        features = model.inverter.features(pictures)
        motion = model.inverter.motion(features)
        moves = motion if model.shared is None else model.shared.guess(features)
        return cls(model.inverter.identity(features), motion, moves)

    @classmethod
    def joined(cls, parts: Sequence[InverterReading]) -> InverterReading:
        return cls(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(cls)))


class ReadsByInverter:
    """What the carriers of models with an inverter have in common.

    Args:
        model: one with an inverter.
    """

    def __init__(self, model: Model):
        self.model = model

    def registration(self) -> None:
        """Squares stay where the face was found."""

    def guess(self, pictures: Tensor) -> InverterReading:
        """What the inverter sees in frames (N, 3, S, S)."""
        return InverterReading.of(self.model, pictures)

    def joined(self, parts: Sequence[InverterReading]) -> InverterReading:
        return InverterReading.joined(parts)

    def quantiser(self, renderer: Renderer) -> RateDistortion:
        return RateDistortion(renderer)
