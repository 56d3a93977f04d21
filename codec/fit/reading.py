"""What the inverter of a model sees in frames: the guess with which every fit of ours begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ..model.modelfile import Model


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
