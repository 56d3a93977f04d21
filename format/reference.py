"""What a hash of an identity is taken over, and what is behind such a hash.

An actor may refer to the identity that another stream holds. `codec/media/identities.py` looks for
it; `excerpt.py` takes it out of the stream that holds it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .delta import DeltaTensor
from .header import Header
from .modes import Modes
from .still import Pivot

HASH_BYTES = 32
PARTS = ("IDEN", "DELT", "MODE", "PIVT")  # of an identity, in the order of their bits in ACTR


@dataclass(frozen=True, eq=False)
class Identity:
    """All that says who it is, decoded.

    Args:
        header: of the stream that holds it; `header.bound` is what its integers mean something
            with.
        values: (n,) int32, of IDEN.
        motion_step_code, identity_step_code: what steps they mean says `spec/codec-1.md`.
        delta, modes, pivot: what the other parts hold; [] or None = no such part.
        mode_planes: planes that MODE states, also where its values were left coded.
        sha256: 32 bytes.
    """

    header: Header
    values: NDArray[np.int32]
    motion_step_code: int
    identity_step_code: int
    delta: list[DeltaTensor] = field(default_factory=list)
    modes: Modes | None = None
    pivot: Pivot | None = None
    mode_planes: int = 0
    sha256: bytes = b""


Identities = Callable[[bytes], Identity]  # hash -> what it names; raises MissingIdentityError


def identity_sha256(header: Header, step_codes: tuple[int, int], parts: Mapping[str, bytes]) -> bytes:
    """The name of an identity.

    It does not depend on the stream that holds it: of the header only what the integers mean
    counts.

    Args:
        step_codes: of motion and of identity.
        parts: payload of each of PARTS that exists.
    """
    whole = hashlib.sha256(header.bound + bytes(step_codes))
    for name in PARTS:
        if name in parts:
            whole.update(name.encode("ascii") + hashlib.sha256(parts[name]).digest())
    return whole.digest()
