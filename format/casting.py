"""Who is in a stream: actors, sets and the video's header out of their chunks. `reader.py` feeds the
chunks in."""

from __future__ import annotations

from collections.abc import Callable, Container
from contextlib import suppress

from .actor import Actor, ActorKey
from .cast import VIDEO, Cast, Need
from .chunk import Chunk
from .errors import DamagedError, FevError, MissingIdentityError
from .ledger import Ledger
from .limits import Limits
from .reference import Identities, Identity
from .salvage import ChunkStream
from .segment import Segment
from .setup import Setup
from .source import Source
from .stage import Set
from .taken import Parts
from .video import VideoConfig

CAST = ("ACTR", "SETT", "VIDH")


def named(what: Need) -> tuple[str, str]:
    """Chunk type and words for what a segment names."""
    if what == VIDEO:
        return VIDEO, "the video's header"
    if isinstance(what, int):
        return "SETT", f"set {what}"
    return "ACTR", f"actor {what[0]} in revision {what[1]}"


class Casting(Setup):
    """The set-up, and the cast.

    Args:
        identities: finds the identity of a hash; asked by `who` where an actor only refers to one.
        ordered: hold actors and sets to the order of the spec.
        shallow: leave the modes as they came.

    Attributes:
        cast: what is alive.
    """

    def __init__(self, limits: Limits, identities: Identities | None, *, ordered: bool, shallow: bool) -> None:
        super().__init__(limits)
        self._identities = identities
        self._shallow = shallow
        self.cast = Cast(limits, ordered)
        self._decoded: Identity | None = None

    def who(self, key: ActorKey | None = None) -> Identity:
        """The identity of a revision of an actor, from wherever it lies; only drawing needs it.

        Args:
            key: number of the actor and revision; None = actor 0 in its newest.

        Raises MissingIdentityError where it lies elsewhere and is not found, DamagedError where it
        was lost.
        """
        actor = self.cast.newest(0) if key is None else self.cast.actor(key)
        if actor is None:
            number, revision = key or (0, 0)
            raise DamagedError(f"the stream has lost actor {number} in revision {revision}")
        if actor.reference is None:
            return self._identity(actor)
        if self._identities is None:
            raise MissingIdentityError(f"the identity {actor.reference.hex()} lies in another file")
        found = self._identities(actor.reference)
        if found.sha256 != actor.reference or found.header.bound != self.header.bound:
            raise DamagedError("the header does not fit the identity that the stream refers to")
        return found

    def _identity(self, actor: Actor) -> Identity:
        """Decoded; the last one is kept, since most streams have one."""
        if self._decoded is None or self._decoded.sha256 != actor.sha256(self.header):
            self._decoded = None
            self._decoded = actor.identity(self.header, self.limits, self._shallow)
        return self._decoded

    @property
    def identity_sha256(self) -> bytes | None:
        """The hash of who actor 0 is in its newest revision; None if that was lost."""
        actor = self.cast.newest(0)
        return None if actor is None else actor.sha256(self.header)

    @property
    def identity_elsewhere(self) -> bool:
        """Whether actor 0 only refers to an identity."""
        actor = self.cast.newest(0)
        return actor is not None and actor.reference is not None

    def has(self, what: Need) -> bool:
        """Whether something that a segment may name is alive."""
        return self.cast.has(what)

    def add(self, chunk: Chunk, wanted: Container[Need] | None = None, unseen: bool = False) -> dict[str, int] | None:
        """An actor, a set or the video's header joins the cast.

        Args:
            wanted: the only ones that do; None = any.
            unseen: its parts are not looked into. `who` does that when it is asked.

        Returns:
            Bytes by section; None = all are one section's.
        """
        if chunk.type == "SETT":
            given = Set.unpack(chunk.payload, self.header, self.limits)
            if wanted is None or given.number in wanted:
                self.cast.add_set(given, self.header)
            return None
        if chunk.type == VIDEO:
            config = VideoConfig.unpack(chunk.payload, self.limits)
            if wanted is None or VIDEO in wanted:
                self.cast.add_video(config)
            return None
        revision, actor = self.cast.read_actor(chunk.payload)
        if wanted is None or actor.key in wanted:
            if actor.reference is None and not unseen and not self.has(actor.key):
                self._identity(actor)
            self.cast.add_actor(actor, self.header)
        return revision.sizes()

    def lacking(self, parts: Parts | Segment) -> list[Need]:
        """What of that which a segment names is not alive."""
        return self.cast.missing(parts, self.header)

    def look_ahead(self, source: Source, wanted: list[Need], accept: Callable[[Chunk], None]) -> None:
        """What is missing was damaged: its repetition further on will do, if there is one.

        The source comes back to its place.

        Args:
            wanted: beside the set-up.
            accept: takes a chunk of the set-up.
        """
        back = source.offset
        chunks = ChunkStream(source, Ledger(), self.limits, True)
        while self.missing() or any(not self.has(what) for what in wanted):
            chunk = chunks.next()
            if chunk is None:
                break
            if chunk.type in self.missing():
                accept(chunk)
            elif chunk.type in CAST and not self.missing():
                with suppress(FevError):
                    self.add(chunk, wanted)
        source.seek(back)

    def gather(self, source: Source, begin: int, end: int) -> None:
        """The cast as it is at the offset `end`, out of what a stream holds from `begin` on.

        The source comes back to its place.
        """
        back = source.offset
        self.cast = Cast(self.limits, ordered=False)
        source.seek(begin)
        chunks = ChunkStream(source, Ledger(), self.limits, True)
        while source.offset < end:
            chunk = chunks.next()
            if chunk is None:
                break
            if chunk.type in CAST:
                with suppress(FevError):
                    self.add(chunk, unseen=True)
        source.seek(back)
