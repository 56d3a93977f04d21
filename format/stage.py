"""What the face stands on and before: the SETT chunk, and the pictures that take its place for a
while.

A set is a still and where it lies. A patch is a still of an actor's square for some frames.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import LimitError, UsageError, check
from .header import Header
from .limits import Limits
from .still import Still
from .wire import Pack, Take

NUMBERED = 1  # flags of SETT
PLACED = 2
UNIT = 256  # of the scale: pixels of the set for one of the picture


@dataclass(frozen=True)
class Place:
    """Where a set lies.

    Args:
        scale: pixels of the set for one of the picture, in 1/256.
        x, y: its upper left corner in the picture of a camera at rest, in 1/8 pixel.
    """

    scale: int = UNIT
    x: int = 0
    y: int = 0


@dataclass(frozen=True)
class Set:
    """A still that actors stand before.

    Args:
        number: counted from 0.
        still: the picture.
        place: where it lies; None = it covers the picture.
    """

    still: Still
    number: int = 0
    place: Place | None = None

    def pack(self, header: Header) -> bytes:
        """Payload of SETT."""
        pack = Pack().fixed("B", NUMBERED * bool(self.number) | PLACED * (self.place is not None))
        if self.number:
            pack.varint(self.number)
        if self.place is not None:
            if _covers(self.still, self.place, header):
                raise UsageError("a set that covers the picture has no place of its own")
            pack.fixed("H", self.place.scale).signed(self.place.x).signed(self.place.y)
        return pack.raw(self.still.pack()).bytes()

    @classmethod
    def unpack(cls, data: bytes, header: Header, limits: Limits | None = None) -> Set:
        """Raises DamagedError, LimitError or UnsupportedError."""
        limits = limits or Limits()
        take = Take(data, "set")
        flags = take.u8()
        check(not flags & ~(NUMBERED | PLACED), f"set: unknown flags {flags:#x}")
        number = take.varint(limits.max_sets - 1, "number of the set") if flags & NUMBERED else 0
        check(number or not flags & NUMBERED, "set 0 is not written in its short form")
        place = None
        if flags & PLACED:
            place = Place(take.fixed("H")[0], take.signed("place of the set"), take.signed("place of the set"))
            check(place.scale, "a set has no scale")
            check(max(abs(place.x), abs(place.y)) < 1 << 30, "the place of a set is out of range")
        still = Still.take(take, limits)
        covers = place is not None and _covers(still, place, header)
        check(not covers, "a set that covers the picture has a place of its own")
        return cls(still, number, place)


def _covers(still: Still, place: Place, header: Header) -> bool:
    """Whether a set lies where it would without a place."""
    sizes = ((still.width, header.width), (still.height, header.height))
    return not place.x and not place.y and all(UNIT * a == place.scale * b for a, b in sizes)


@dataclass(frozen=True)
class Patch:
    """A picture in place of an actor's square.

    Args:
        track: place of the actor in the segment's list.
        first, frames: which frames of the segment, counted from its first.
        still: the square.
    """

    track: int
    first: int
    frames: int
    still: Still

    @property
    def end(self) -> int:
        return self.first + self.frames


def pack_patches(patches: list[Patch]) -> bytes:
    """The patches of a segment. At least one."""
    pack = Pack().varint(len(patches))
    for patch in patches:
        data = patch.still.pack()
        pack.varint(patch.track).varint(patch.first).varint(patch.frames).varint(len(data)).raw(data)
    return pack.bytes()


def take_patches(take: Take, tracks: int, frames: int, limits: Limits) -> list[Patch]:
    """Patches of a segment of so many actors and frames. Raises DamagedError or LimitError."""
    count = take.varint(limits.max_segment_patches, "number of patches")
    check(count, "patches are announced but there are none")
    patches: list[Patch] = []
    total = 0
    for _ in range(count):
        track, first = take.varint(name="actor of a patch"), take.varint(name="first frame of a patch")
        long = take.varint(name="frames of a patch")
        check(track < tracks and long and first + long <= frames, "a patch lies beside its segment")
        still = Still.take(Take(take.raw(take.varint(name="size of a patch")), "patch"), limits)
        total += len(still.data)
        if total > limits.max_still_bytes:
            raise LimitError(f"more than {limits.max_still_bytes} bytes of patches in one segment")
        patch = Patch(track, first, long, still)
        if patches:
            last = patches[-1]
            after = track > last.track or (track == last.track and first >= last.end)
            check(after, "patches overlap or are out of order")
        patches.append(patch)
    return patches
