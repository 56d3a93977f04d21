"""Which shape model --shape names: a user's own, face parsing, or a file with our landmark network.

`shape` has the interface, `landmarkshape` the stand-in.  `fev-rd` and `fev.tools.lab.train.directions` ask here.
"""

from __future__ import annotations

import importlib

from torch import nn

from ...codec.paper.networks import Networks
from ...format.errors import UsageError
from .landmarknet import load_net
from .landmarkshape import LandmarkShape
from .parsedpoints import ParsedPoints
from .shape import Deca, ShapeModel


def named(text: str) -> ShapeModel:
    """A shape model from `MODULE:CALLABLE`: the module is imported and the callable called with no arguments.

    That is Python of the user's own, run with the user's rights.  fev ships none and checks none.

    Returns: what the callable returned, a shape model as it is or a DECA within `Deca`.
    Raises UsageError.
    """
    place, _, attribute = text.partition(":")
    try:
        made = getattr(importlib.import_module(place), attribute)()
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise UsageError(f"--shape {text}: {type(error).__name__}: {error}") from error
    if isinstance(made, nn.Module):
        made = made.eval().requires_grad_(False)
    if all(hasattr(made, part) for part in ("name", "parameter_names", "measure", "points")):
        model: ShapeModel = made
        return model
    if all(hasattr(made, part) for part in ("encode", "flame")):
        return Deca(made)
    raise UsageError(f"--shape {text}: neither a shape model (measure, points) nor a DECA (encode, flame)")


def shape_of(text: str, networks: Networks | None) -> ShapeModel:
    """The shape model that --shape names.

    Args:
        text: `MODULE:CALLABLE`, `parsing`, or a .safetensors file of `fev.tools.lab.train.landmarks`.
        networks: what was imported, for `parsing`.

    Raises FevError where it cannot be had.
    """
    if text == "parsing":
        if networks is None:
            raise UsageError("--shape parsing needs networks that were imported: name them with --networks")
        return LandmarkShape(ParsedPoints(networks.bisenet))
    if text.endswith(".safetensors"):
        return LandmarkShape(load_net(text))
    if ":" in text:
        return named(text)
    raise UsageError(f"--shape {text}: neither MODULE:CALLABLE, nor `parsing`, nor a .safetensors file")
