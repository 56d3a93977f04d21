"""What bytes are worth under a model: curves that were measured with it, for an encoder that aims
at a bitrate.

They lie in a JSON file beside the model, NAME.rates.json, and not in it: a model's sha256 stands in
every file that it draws, and what only an encoder needs must not change it.  The file names the
model by that hash.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from ...format.errors import ModelMismatchError

MAX_RATES = 1 << 16  # bytes of the file
MOST_POINTS = 64  # of a curve
LARGEST = 1e9  # of any of its values

Curve = tuple[float, ...]


@dataclass(frozen=True)
class RateCurves:
    """Two curves: what the quality of motion takes and costs, and what bytes of identity give.

    Args:
        quality: of the motion, 0 to 100, rising.
        motion_bits: that a frame takes there, rising.
        motion_loss: dB that the integers lose there, falling.
        identity_bytes: of the parts IDEN, PIVT, DELT and MODE together, rising.
        identity_gain: dB on the face with so many, rising.
    """

    quality: Curve
    motion_bits: Curve
    motion_loss: Curve
    identity_bytes: Curve
    identity_gain: Curve

    def __post_init__(self) -> None:
        """Raises ModelMismatchError."""
        pairs = ((self.quality, self.motion_bits, self.motion_loss), (self.identity_bytes, self.identity_gain))
        if any(not 2 <= len(one) <= MOST_POINTS or len(one) != len(group[0]) for group in pairs for one in group):
            raise ModelMismatchError(f"rate curves have 2 to {MOST_POINTS} points, and as many as those beside them")
        if any(not math.isfinite(v) or not 0 <= v <= LARGEST for f in fields(self) for v in getattr(self, f.name)):
            raise ModelMismatchError("rate curves have finite values from 0 on")
        rising = (self.quality, self.motion_bits, self.motion_loss[::-1], self.identity_bytes, self.identity_gain)
        if any(b <= a for one in rising for a, b in pairwise(one)):
            raise ModelMismatchError("rate curves rise with every point, and the loss falls")
        if self.quality[0] != 0 or self.quality[-1] != 100 or not self.motion_loss[-1] > 0 < self.identity_bytes[0]:
            raise ModelMismatchError("rate curves go from quality 0 to 100; losses and bytes are above 0")


def parse_rates(data: bytes, sha256: str) -> RateCurves:
    """The curves of the model with this hash.  Raises ModelMismatchError."""
    if len(data) > MAX_RATES:
        raise ModelMismatchError(f"rate curves of more than {MAX_RATES} bytes")
    try:
        given: dict[str, Any] = json.loads(data)
        named = given["model_sha256"]
        curves = {f.name: tuple(float(v) for v in given[f.name]) for f in fields(RateCurves)}
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ModelMismatchError(f"rate curves cannot be read: {error}") from None
    if named != sha256:
        raise ModelMismatchError("rate curves were measured with another model")
    return RateCurves(**curves)


def rates_beside(model: Path, sha256: str) -> RateCurves | None:
    """The curves in the file beside a model file; None where there is none.

    Raises:
        ModelMismatchError.
    """
    path = model.with_suffix(".rates.json")
    if not path.is_file():
        return None
    try:
        with open(path, "rb") as file:
            return parse_rates(file.read(MAX_RATES + 1), sha256)
    except ModelMismatchError as error:
        raise ModelMismatchError(f"{path}: {error.message}") from None
