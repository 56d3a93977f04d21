"""The networks that only a model of our own has: what training and measuring in `tools.lab` need of it."""

from __future__ import annotations

from dataclasses import dataclass

from ...codec.model.aligner import Aligner
from ...codec.model.inverter import Inverter, LatentSpace
from ...codec.model.modelfile import Model
from ...format.errors import UsageError


@dataclass(frozen=True)
class Parts:
    """aligner: finds faces.  inverter: a picture to identity and motion.  latents: both of them to W+."""

    aligner: Aligner
    inverter: Inverter
    latents: LatentSpace


def parts_of(model: Model) -> Parts:
    """The networks of a model of our own.  Raises UsageError where it is one of imported networks."""
    if model.aligner is None or model.inverter is None or not isinstance(model.latents, LatentSpace):
        raise UsageError(f"model {model.name} has no aligner and inverter of its own")
    return Parts(model.aligner, model.inverter, model.latents)
