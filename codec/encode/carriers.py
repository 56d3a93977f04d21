"""Where a clip is given its carrier: the one place that knows them all.

Another generator needs a carrier (`fev.codec.fit.carrier`) in a file of its own and a line in
`CARRIERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...format.errors import FevError
from ..fit.appearance import Fitter
from ..fit.carrier import Carrier, CarrierSettings
from ..fit.reuse import ReuseFitter
from ..fit.stages import Stages
from ..media.identities import ReusedIdentity
from ..model.inverter import LatentSpace
from ..model.modelfile import Model
from ..model.stylespace import StyleSpace
from ..paper.fitter import PaperFitter

# By the kind of a model's latent space: that is what the parameters of a file mean.
CARRIERS: dict[type, Callable[[Model, CarrierSettings, Stages], Carrier[Any]]] = {
    LatentSpace: Fitter,
    StyleSpace: PaperFitter,
}


def carrier_of(
    model: Model, settings: CarrierSettings, stages: Stages, known: ReusedIdentity | None = None
) -> Carrier[Any]:
    """The carrier of a clip.

    Args:
        model: that will draw it.
        settings: the caller's wishes.
        stages: told what the carrier does.
        known: the identity that another file holds, if the clip is to be of that.

    Raises:
        FevError: the model has none, or the identity does not fit it.
        UsageError: something is asked for that the carrier cannot do.
    """
    if known is not None:
        return ReuseFitter(model, known, settings)
    try:
        make = CARRIERS[type(model.latents)]
    except KeyError:
        raise FevError(f"nothing here encodes with model {model.name}") from None
    return make(model, settings, stages)
