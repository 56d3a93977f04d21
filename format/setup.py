"""The chunks before the first segment, kept and compared when they are repeated. `reader.py` feeds
them in."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from .audio import AudioConfig
from .chunk import Chunk
from .delta import DeltaTensor, decode_delta
from .errors import DamagedError, check
from .header import Header
from .identity import decode_identity
from .limits import Limits
from .meta import Meta, unpack_meta
from .modes import Modes, decode_modes
from .reference import PARTS, Identity, identity_sha256, unpack_reference
from .still import Pivot, Still

SETUP = ("HEAD", "IREF", "IDEN", "DELT", "MODE", "PIVT", "BGND", "AUDH", "meta")


class Setup:
    """What is known of a stream before any segment.

    Attributes:
        header: Header; not there before one was accepted.
        identity: (n,) int32; None if it was lost or lies elsewhere, and so for the next four.
        delta: list of DeltaTensor, or None.
        modes: Modes, or None; None also where a shallow reader left them as they came.
        mode_planes: how many planes the MODE chunk states.
        pivot: Pivot, or None.
        reference: hash of the identity that lies elsewhere, or None.
        kept: payloads of the identity's chunks by type, where they were asked for.
        background, audio, meta: what the Writer was given, or None.
    """

    header: Header

    def __init__(self, limits: Limits, shallow: bool = False, keep: bool = False) -> None:
        self.limits = limits
        self.shallow = shallow
        self.keep = keep
        self.identity: NDArray[np.int32] | None = None
        self.delta: list[DeltaTensor] | None = None
        self.modes: Modes | None = None
        self.mode_planes = 0
        self.pivot: Pivot | None = None
        self.reference: bytes | None = None
        self.kept: dict[str, bytes] = {}
        self.background: Still | None = None
        self.audio: AudioConfig | None = None
        self.meta: Meta | None = None
        self._digests: dict[str, bytes] = {}

    @property
    def accepted(self) -> set[str]:
        """Types of the chunks accepted so far."""
        return set(self._digests)

    def missing(self) -> list[str]:
        """Types of the chunks that the stream must have and that were not accepted yet."""
        if "HEAD" not in self._digests:
            return ["HEAD"]
        return [name for name in SETUP[1:-1] if self._announced(name) and name not in self.accepted]

    def _announced(self, name: str) -> bool:
        head = self.header
        flags = {
            "IREF": head.identity_elsewhere,
            "IDEN": not head.identity_elsewhere,
            "DELT": head.has_delta,
            "MODE": head.has_modes,
            "PIVT": head.has_pivot,
            "BGND": head.has_background,
            "AUDH": head.has_audio,
        }
        return flags.get(name, True)

    def accept(self, chunk: Chunk, strict: bool = True) -> None:
        """Takes a set-up chunk: decodes the first of its type, compares any further one with it.

        Raises FevError. With `strict` also if the header did not announce the chunk.
        """
        name, data = chunk.type, chunk.payload
        digest = hashlib.sha256(data).digest()
        if name in self._digests:
            if self._digests[name] != digest:
                raise DamagedError(f"a repeated {name} chunk differs from the first")
            return
        if name == "HEAD":
            self.header = Header.unpack(data, self.limits)
        elif name == "IREF":
            self.reference = unpack_reference(data)
        elif name == "IDEN":
            self.identity = decode_identity(data, self.limits)
        elif name == "DELT":
            self.delta = decode_delta(data, self.limits)
        elif name == "MODE":
            check(data, "modes: no content")
            self.mode_planes = data[0]
            if not self.shallow:
                self.modes = decode_modes(data, self.limits)
        elif name == "PIVT":
            self.pivot = Pivot.unpack(data, self.limits)
        elif name == "BGND":
            self.background = Still.unpack(data, self.limits)
        elif name == "AUDH":
            self.audio = AudioConfig.unpack(data)
        else:
            self.meta = unpack_meta(data, self.limits)
        # Who it is must be clear even where damage is stepped over.
        if strict or (name in ("IREF", "IDEN") and "HEAD" in self._digests):
            check(self._announced(name), f"the header knows of no {name} chunk")
        self._digests[name] = digest
        if self.keep and name in PARTS:
            self.kept[name] = data

    @property
    def identity_sha256(self) -> bytes | None:
        """The hash of the identity, wherever it lies; None if a part of it was lost."""
        if self.header.identity_elsewhere:
            return self.reference
        if any(name in PARTS for name in self.missing()):
            return None
        return identity_sha256(self.header, self._digests)

    def own_identity(self) -> Identity:
        """The identity that these chunks hold. Raises DamagedError where IDEN was lost."""
        if self.identity is None:
            raise DamagedError("the stream has lost its identity")
        return Identity(self.header, self.identity, self.delta or [], self.modes, self.pivot, self.identity_sha256)
