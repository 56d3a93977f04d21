"""The identity alone, out of a stream that holds one: checked chunks as they came, so that their
hash stays theirs.

A folder of candidates is looked through with `excerpt`, which decodes nothing; `Excerpt.identity`
decodes. What is kept of an identity is `Excerpt.stream`, a stream without a frame.
`codec/media/identities.py` does both.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from .chunk import SIGNATURE, Chunk, make_chunk, read_chunk
from .errors import DamagedError, FevError, NotFevError
from .header import UNKNOWN_FRAMES, Header
from .index import End
from .limits import Limits
from .reference import PARTS, Identity, identity_sha256
from .setup import Setup
from .source import Source


@dataclass(frozen=True)
class Excerpt:
    """header: of the stream.  chunks: type and payload of each of PARTS that it holds, in their
    order."""

    header: Header
    chunks: tuple[tuple[str, bytes], ...]

    @property
    def sha256(self) -> bytes:
        return identity_sha256(self.header, {name: hashlib.sha256(data).digest() for name, data in self.chunks})

    def identity(self, limits: Limits | None = None) -> Identity:
        """What the chunks hold. Raises DamagedError or LimitError."""
        setup = Setup(limits or Limits())
        for name, data in (("HEAD", self._head().pack()), *self.chunks):
            setup.accept(Chunk(name, 0, data))
        return setup.own_identity()

    def stream(self) -> bytes:
        """The smallest stream that holds this identity: no frames, background, sound or
        metadata."""
        chunks = [("HEAD", self._head().pack()), *self.chunks, ("FEND", End(0, 0, 0).pack())]
        return SIGNATURE + b"".join(make_chunk(name, data) for name, data in chunks)

    def _head(self) -> Header:
        """The header without what the excerpt leaves out."""
        return replace(
            self.header, frame_count=UNKNOWN_FRAMES, placement=False, synthetic=False, has_background=False,
            has_audio=False,
        )  # fmt: skip


def excerpt(stream: Any, limits: Limits | None = None) -> Excerpt | None:
    """The identity of a stream from its first chunks; nothing behind them is read. None if it lies
    elsewhere.

    Raises FevError where the stream does not begin as it must.
    """
    limits = limits or Limits()
    source = Source(stream)
    if source.peek(len(SIGNATURE)) != SIGNATURE:
        raise NotFevError("not a .fev stream", offset=0)
    source.skip(len(SIGNATURE))
    first = read_chunk(source, limits.max_chunk_bytes)
    if first is None or first.type != "HEAD":
        raise DamagedError("the stream does not begin with its header")
    header = Header.unpack(first.payload, limits)
    if header.identity_elsewhere:
        return None
    expected = {"IDEN": True, "DELT": header.has_delta, "MODE": header.has_modes, "PIVT": header.has_pivot}
    chunks = []
    for name in PARTS:
        if expected[name]:
            chunks.append((name, _next(source, limits, name)))
    return Excerpt(header, tuple(chunks))


def _next(source: Source, limits: Limits, name: str) -> bytes:
    """The payload of the next chunk, which must be of this type; chunks that may be skipped are."""
    while True:
        chunk = read_chunk(source, limits.max_chunk_bytes)
        if chunk is None or chunk.type[0].isupper():
            break
    if chunk is None or chunk.type != name:
        raise FevError(f"the stream has no {name} chunk where it must be")
    return chunk.payload
