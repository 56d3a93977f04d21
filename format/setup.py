"""The chunks before the first segment, kept and compared when they are repeated. `reader.py` feeds them in."""

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
from .still import Pivot, Still

SETUP = ("HEAD", "IDEN", "DELT", "MODE", "PIVT", "BGND", "AUDH", "meta")


class Setup:
    """What is known of a stream before any segment.

    Attributes:
        header: Header; not there before one was accepted.
        identity: (n,) int32, None if it was lost.
        delta: list of DeltaTensor, or None.
        modes: Modes, or None; None also where a shallow reader left them as they came.
        mode_planes: how many planes the MODE chunk states.
        pivot: Pivot, or None.
        background, audio, meta: what the Writer was given, or None.
    """

    header: Header

    def __init__(self, limits: Limits, shallow: bool = False) -> None:
        self.limits = limits
        self.shallow = shallow
        self.identity: NDArray[np.int32] | None = None
        self.delta: list[DeltaTensor] | None = None
        self.modes: Modes | None = None
        self.mode_planes = 0
        self.pivot: Pivot | None = None
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
        if strict:
            check(self._announced(name), f"the header knows of no {name} chunk")
        self._digests[name] = digest
