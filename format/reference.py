"""An identity that lies in another stream: its hash, which the IREF chunk holds, and what is behind
such a hash.

`codec/media/identities.py` looks for it; `excerpt.py` takes it out of the stream that holds it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .delta import DeltaTensor
from .errors import UsageError, check
from .header import Header
from .modes import Modes
from .still import Pivot

HASH_BYTES = 32
PARTS = ("IDEN", "DELT", "MODE", "PIVT")  # the chunks that an IREF stands for


@dataclass(frozen=True, eq=False)
class Identity:
    """All that says who it is.

    Args:
        header: of the stream that holds it; `header.bound` is what its integers mean something
            with.
        values: (n,) int32, of IDEN.
        delta, modes, pivot: what the other chunks hold; [] or None = no such chunk.
        sha256: 32 bytes; None if a part of it was lost.
    """

    header: Header
    values: NDArray[np.int32]
    delta: list[DeltaTensor] = field(default_factory=list)
    modes: Modes | None = None
    pivot: Pivot | None = None
    sha256: bytes | None = None


Identities = Callable[[bytes], Identity]  # hash -> what it names; raises MissingIdentityError


def identity_sha256(header: Header, digests: Mapping[str, bytes]) -> bytes:
    """The name of an identity.

    It does not depend on the stream that holds it: of the header only what the integers mean
    counts.

    Args:
        digests: sha256 of the payload of each of PARTS that exists; other keys are ignored.
    """
    whole = hashlib.sha256(header.bound)
    for name in PARTS:
        if name in digests:
            whole.update(name.encode("ascii") + digests[name])
    return whole.digest()


def pack_reference(sha256: bytes) -> bytes:
    """Payload of IREF."""
    if len(sha256) != HASH_BYTES:
        raise UsageError("a sha256 is 32 bytes")
    return sha256


def unpack_reference(data: bytes) -> bytes:
    """The hash out of a payload. Raises DamagedError."""
    check(len(data) == HASH_BYTES, f"an identity's hash of {len(data)} bytes")
    return data
