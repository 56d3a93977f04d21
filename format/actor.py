"""The ACTR chunk: one revision of one actor. `cast.py` keeps those that are alive.

A revision is complete, or it goes on from the one before and brings only the parts that differ. In
memory it is always complete, its parts as they came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .delta import DeltaTensor, decode_delta, encode_delta
from .errors import LimitError, UsageError, check
from .header import Header
from .identity import decode_identity, encode_identity
from .limits import Limits
from .modes import Modes, decode_modes, encode_modes
from .reference import HASH_BYTES, PARTS, Identity, identity_sha256
from .still import Pivot
from .wire import Pack, Take

REFERENCE = 16  # flags of ACTR; the lower four are one for each of PARTS
GOES_ON = 32
NUMBERED = 64
_KNOWN = 127

ActorKey = tuple[int, int]  # number and revision of an actor


@dataclass(frozen=True, eq=False)
class Actor:
    """One revision of one actor, complete.

    Args:
        number: of the actor in the stream, counted from 0.
        revision: counted from 0.
        motion_step_code, identity_step_code: what steps they mean says `spec/codec-1.md`; 0 with a
            reference.
        parts: payload of each of PARTS that exists; {} with a reference.
        reference: hash of the identity that lies in another stream, else None.
    """

    number: int
    revision: int
    motion_step_code: int
    identity_step_code: int
    parts: Mapping[str, bytes] = field(default_factory=dict)
    reference: bytes | None = None

    @classmethod
    def of(
        cls,
        identity: NDArray[np.int32],
        motion_step_code: int,
        identity_step_code: int,
        *,
        delta: Sequence[DeltaTensor] | None = None,
        modes: Modes | None = None,
        pivot: Pivot | None = None,
        number: int = 0,
        revision: int = 0,
    ) -> Actor:
        """Codes what says who it is; None or empty = no such part."""
        parts = {"IDEN": encode_identity(identity)}
        if delta:
            parts["DELT"] = encode_delta(delta)
        if modes is not None:
            parts["MODE"] = encode_modes(modes)
        if pivot is not None:
            parts["PIVT"] = pivot.pack()
        return cls(number, revision, motion_step_code, identity_step_code, parts)

    @classmethod
    def refer(cls, sha256: bytes, number: int = 0, revision: int = 0) -> Actor:
        """An actor whose identity another stream holds."""
        if len(sha256) != HASH_BYTES:
            raise UsageError("a sha256 is 32 bytes")
        return cls(number, revision, 0, 0, {}, sha256)

    @property
    def key(self) -> ActorKey:
        return self.number, self.revision

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(map(len, self.parts.values()))

    def sha256(self, header: Header) -> bytes:
        """The hash of the identity, wherever it lies."""
        if self.reference is not None:
            return self.reference
        return identity_sha256(header, (self.motion_step_code, self.identity_step_code), self.parts)

    def identity(self, header: Header, limits: Limits | None = None, shallow: bool = False) -> Identity:
        """The parts decoded. Raises DamagedError or LimitError.

        shallow: leave the modes, by far the longest to decode, as they came.
        """
        limits, parts = limits or Limits(), self.parts
        values = decode_identity(parts["IDEN"], limits)
        delta = decode_delta(parts["DELT"], limits) if "DELT" in parts else []
        coded = parts.get("MODE")
        check(coded is None or coded, "modes: no content")
        modes = None if coded is None or shallow else decode_modes(coded, limits)
        pivot = Pivot.unpack(parts["PIVT"], limits) if "PIVT" in parts else None
        return Identity(
            header, values, self.motion_step_code, self.identity_step_code, delta, modes, pivot,
            coded[0] if coded else 0, self.sha256(header),
        )  # fmt: skip

    def pack(self, before: Actor | None = None) -> bytes:
        """Payload of ACTR.

        before: the revision to go on from; None = the chunk is complete.
        """
        if not self.parts and self.reference is None:
            raise UsageError("an actor holds an identity or refers to one")
        if self.reference is not None and self.parts:
            raise UsageError("delta, modes and pivot belong to the identity, which lies elsewhere")
        sent = self.parts
        if before is not None:
            lost = set(before.parts) - set(self.parts)
            if before.key != (self.number, self.revision - 1) or before.reference is not None or lost:
                raise UsageError(f"revision {self.revision} of actor {self.number} cannot go on from that one")
            sent = {name: data for name, data in self.parts.items() if before.parts.get(name) != data}
            if not sent:
                raise UsageError(f"revision {self.revision} of actor {self.number} brings nothing")
        flags = REFERENCE * (self.reference is not None) | GOES_ON * (before is not None) | NUMBERED * any(self.key)
        flags |= sum(1 << place for place, name in enumerate(PARTS) if name in sent)
        pack = Pack().fixed("B", flags)
        if any(self.key):
            pack.varint(self.number).varint(self.revision)
        if self.reference is not None:
            return pack.raw(self.reference).bytes()
        pack.fixed("BB", self.motion_step_code, self.identity_step_code)
        names = [name for name in PARTS if name in sent]
        for name in names[:-1]:
            pack.varint(len(sent[name])).raw(sent[name])
        return pack.raw(sent[names[-1]]).bytes()


class Revision(NamedTuple):
    """A chunk as it came: an actor with the parts that the chunk brings, and whether it goes on
    from the revision before."""

    actor: Actor
    goes_on: bool

    def sizes(self) -> dict[str, int]:
        """Bytes by section; what is left of the payload is overhead."""
        parts = self.actor.parts
        own = {name: len(parts.get(name, b"")) for name in PARTS}
        who = own["IDEN"] + own["PIVT"] + len(self.actor.reference or b"")
        return {"identity": who, "delta": own["DELT"], "modes": own["MODE"]}

    def complete(self, before: Actor | None, limits: Limits) -> Actor:
        """The revision with the parts that it takes over. Raises DamagedError or LimitError."""
        actor = self.actor
        if self.goes_on:
            check(before is not None, f"revision {actor.revision} goes on from one that is not there")
            assert before is not None
            check(before.reference is None, f"revision {actor.revision} goes on from an identity that lies elsewhere")
            actor = replace(actor, parts={**before.parts, **actor.parts})
        if actor.size > limits.max_chunk_bytes:
            raise LimitError(f"an actor of {actor.size} bytes, the limit is {limits.max_chunk_bytes}")
        return actor


def unpack_actor(data: bytes, limits: Limits) -> Revision:
    """Reads a payload; its parts stay coded. Raises DamagedError or LimitError."""
    take = Take(data, "actor")
    flags = take.u8()
    check(not flags & ~_KNOWN, f"actor: unknown flags {flags & ~_KNOWN:#x}")
    number = revision = 0
    if flags & NUMBERED:
        number = take.varint(limits.max_actors - 1, "number of the actor")
        revision = take.varint(limits.max_revisions - 1, "revision")
        check(number or revision, "actor 0 in revision 0 is not written in its short form")
    names = [name for place, name in enumerate(PARTS) if flags & 1 << place]
    if flags & REFERENCE:
        check(not names and not flags & GOES_ON, "an identity that lies elsewhere has parts here")
        check(take.left() == HASH_BYTES, f"an identity's hash of {take.left()} bytes")
        return Revision(Actor(number, revision, 0, 0, {}, take.rest()), False)
    check(names, "an actor brings nothing")
    check("IDEN" in names or flags & GOES_ON, "an actor has no IDEN")
    check(revision or not flags & GOES_ON, "revision 0 goes on from nothing")
    motion, identity = take.fixed("BB")
    parts = {name: take.raw(take.varint(name=f"size of {name}")) for name in names[:-1]}
    parts[names[-1]] = take.rest()
    return Revision(Actor(number, revision, motion, identity, parts), bool(flags & GOES_ON))
