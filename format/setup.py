"""The chunks that hold for a whole stream, kept and compared when they are repeated. `reader.py`
feeds them in; actors and sets are `cast.py`'s."""

from __future__ import annotations

import hashlib

from .audio import AudioConfig
from .chunk import Chunk
from .errors import DamagedError, check
from .header import Header
from .limits import Limits
from .meta import Meta, unpack_meta

SETUP = ("HEAD", "AUDH", "meta")


class Setup:
    """What is known of a stream before any actor, set or segment.

    Attributes:
        header: Header; not there before one was accepted.
        audio, meta: what the Writer was given, or None.
    """

    header: Header

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
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
        return ["AUDH"] if self.header.has_audio and "AUDH" not in self._digests else []

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
        elif name == "AUDH":
            self.audio = AudioConfig.unpack(data)
            check(not strict or self.header.has_audio, "the header knows of no AUDH chunk")
        else:
            self.meta = unpack_meta(data, self.limits)
        self._digests[name] = digest
