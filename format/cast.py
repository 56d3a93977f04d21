"""The actors and sets of a stream that are alive, and what its video is: what a segment may name.
Reader and Writer keep one each.

Alive are the ALIVE actors and the ALIVE sets whose chunks came last; of an actor its newest
revision and the one before. So what has to be kept does not grow with the length of a stream.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from .actor import Actor, ActorKey, Revision, unpack_actor
from .errors import LimitError, check
from .header import Header
from .limits import Limits
from .segment import Segment
from .stage import Set
from .taken import Parts
from .video import VideoConfig

ALIVE = 16
VIDEO: Literal["VIDH"] = "VIDH"

# What a segment may name: a revision of an actor, the number of a set, what the video is.
Need = ActorKey | int | Literal["VIDH"]


class Cast:
    """Who and what is there.

    Attributes:
        actors: revisions by number, the newest last; the actor that came last is the last.
        sets: by number, likewise.
        video: what the video packets are; None = VIDH did not come.
        ordered: hold new chunks to the order of the spec. After damage or a jump nobody knows it.
    """

    def __init__(self, limits: Limits, ordered: bool = True) -> None:
        self.limits = limits
        self.ordered = ordered
        self.actors: dict[int, list[Actor]] = {}
        self.sets: dict[int, Set] = {}
        self.video: VideoConfig | None = None
        # Of everything that ever came, forgotten or not: it must come back as it was.
        self._hashes: dict[int, dict[int, tuple[bool, bytes]]] = {}
        self._set_hashes: dict[int, bytes] = {}

    def keys(self) -> list[ActorKey]:
        """Number and revision of all actors that are alive."""
        return [actor.key for alive in self.actors.values() for actor in alive]

    def actor(self, key: ActorKey) -> Actor | None:
        """A revision that is alive."""
        return next((actor for actor in self.actors.get(key[0], ()) if actor.key == key), None)

    def newest(self, number: int) -> Actor | None:
        """The newest revision of an actor that is alive."""
        return self.actors[number][-1] if number in self.actors else None

    def has(self, need: Need) -> bool:
        """Whether it is alive."""
        if need == VIDEO:
            return self.video is not None
        return need in self.sets if isinstance(need, int) else self.actor(need) is not None

    def missing(self, parts: Parts | Segment, header: Header) -> list[Need]:
        """What of that which a segment names is not alive."""
        needs: list[Need] = [*parts.cast]
        if parts.on_set is not None and (parts.on_set or header.has_set):
            needs.append(parts.on_set)
        if parts.video is not None:
            needs.append(VIDEO)
        return [need for need in needs if not self.has(need)]

    def read_actor(self, data: bytes) -> tuple[Revision, Actor]:
        """A payload, and the complete revision that it makes. Nothing is kept yet."""
        revision = unpack_actor(data, self.limits)
        number, count = revision.actor.key
        return revision, revision.complete(self.actor((number, count - 1)), self.limits)

    def add_actor(self, actor: Actor, header: Header) -> None:
        """A revision comes, for the first time or again. Raises DamagedError or LimitError."""
        number, revision = actor.key
        state = actor.reference is not None, actor.sha256(header)
        hashes = self._hashes.get(number, {})
        if revision in hashes:
            check(hashes[revision] == state, f"actor {number} in revision {revision} comes again and differs")
        elif self.ordered:
            check(hashes or number == len(self._hashes), f"actor {number} comes before actor {len(self._hashes)}")
            newest = max(hashes, default=-1)
            check(revision == newest + 1, f"actor {number} comes in revision {revision}, not {newest + 1}")
        alive = [known for known in self.actors.get(number, ()) if known.revision != revision]
        alive = sorted([*alive, actor], key=lambda known: known.revision)[-2:]
        if actor in alive:
            actors = {known: self.actors[known] for known in self.actors if known != number}
            actors[number] = alive
            if len(actors) > ALIVE:
                del actors[next(iter(actors))]
            self._weigh(actors, self.sets)
            self.actors = actors
        hashes[revision] = state
        self._hashes[number] = {known: hashes[known] for known in sorted(hashes)[-2:]}

    def add_set(self, given: Set, header: Header) -> None:
        """A set comes, for the first time or again. Raises DamagedError or LimitError."""
        number = given.number
        check(number or header.has_set, "the header knows of no set 0")
        digest = hashlib.sha256(given.pack(header)).digest()
        if number in self._set_hashes:
            check(self._set_hashes[number] == digest, f"set {number} comes again and differs")
        elif self.ordered:
            next_number = max(self._set_hashes, default=-1 if header.has_set else 0) + 1
            check(number == next_number, f"set {number} comes before set {next_number}")
        sets = {known: self.sets[known] for known in self.sets if known != number}
        sets[number] = given
        if len(sets) > ALIVE:
            del sets[next(iter(sets))]
        self._weigh(self.actors, sets)
        self.sets = sets
        self._set_hashes[number] = digest

    def add_video(self, given: VideoConfig) -> None:
        """VIDH comes, for the first time or again. Raises DamagedError."""
        check(self.video in (None, given), "VIDH comes again and differs")
        self.video = given

    def _weigh(self, actors: dict[int, list[Actor]], sets: dict[int, Set]) -> None:
        """Raises LimitError before anything is kept: also a reader that goes on keeps within it."""
        total = sum(actor.size for alive in actors.values() for actor in alive)
        total += sum(len(known.still.data) for known in sets.values())
        if total > self.limits.max_alive_bytes:
            raise LimitError(f"actors and sets of {total} bytes, the limit is {self.limits.max_alive_bytes}")
