"""The identity of one actor alone, out of a stream that holds it: checked parts as they came, so
that their hash stays theirs.

A folder of candidates is looked through with `excerpts`, which decodes nothing; `Excerpt.identity`
decodes. What is kept of an identity is `Excerpt.stream`, a stream without a frame.
`codec/media/identities.py` does both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from .actor import Actor
from .cast import Cast
from .chunk import SIGNATURE, is_critical, make_chunk, read_chunk
from .errors import DamagedError, NotFevError, TruncatedError, UnsupportedError
from .header import UNKNOWN_FRAMES, Header
from .index import End
from .limits import Limits
from .order import Order
from .reference import Identity
from .setup import SETUP
from .source import Source


@dataclass(frozen=True)
class Excerpt:
    """header: of the stream.  actor: as it came, complete."""

    header: Header
    actor: Actor

    @property
    def sha256(self) -> bytes:
        return self.actor.sha256(self.header)

    def identity(self, limits: Limits | None = None) -> Identity:
        """What the parts hold. Raises DamagedError or LimitError."""
        return self.actor.identity(self._head(), limits)

    def stream(self) -> bytes:
        """The smallest stream that holds this identity: no frames, sets, sound or metadata."""
        actor = replace(self.actor, number=0, revision=0)
        chunks = [("HEAD", self._head().pack()), ("ACTR", actor.pack()), ("FEND", End(0, 0, 0).pack())]
        return SIGNATURE + b"".join(make_chunk(name, data) for name, data in chunks)

    def _head(self) -> Header:
        """The header without what the excerpt leaves out."""
        return replace(
            self.header, frame_count=UNKNOWN_FRAMES, placement=False, synthetic=False, has_set=False, has_audio=False
        )


def excerpts(stream: Any, limits: Limits | None = None) -> Iterator[Excerpt]:
    """The identities that a stream holds before its first segment; nothing behind is read.

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
    header, order, cast = Header.unpack(first.payload, limits), Order(), Cast(limits)
    order.go_on("HEAD")
    group, actors = {"HEAD"}, 0
    while True:
        chunk = read_chunk(source, limits.max_chunk_bytes)
        if chunk is None and not actors:
            raise TruncatedError("the stream ends before an actor", offset=source.offset)
        if chunk is None or chunk.type in ("SEGM", "indx", "FEND"):
            return
        if not order.knows(chunk.type):
            if is_critical(chunk.type):
                raise UnsupportedError(f"chunk type {chunk.type} is unknown to this reader", offset=chunk.offset)
            continue
        group |= {chunk.type} & set(SETUP)
        order.check(chunk, group)
        order.go_on(chunk.type)
        if chunk.type == "ACTR":
            actors += 1
            _, actor = cast.read_actor(chunk.payload)
            cast.add_actor(actor, header)
            if actor.reference is None:
                yield Excerpt(header, actor)


def excerpt(stream: Any, limits: Limits | None = None) -> Excerpt | None:
    """The first of them; None if there is none."""
    return next(excerpts(stream, limits), None)
