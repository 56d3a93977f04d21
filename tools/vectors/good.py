"""The vectors that every reader must read: name, what it shows, the bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...format import Place
from ...format.index import End, pack_index
from .bent import base, joined, taken_apart
from .made import Play, stream


def subset() -> Iterator[tuple[str, str, bytes]]:
    """What any encoder may write and every reader must read."""
    yield (
        "minimal",
        "four frames of two parameters, nothing else: the hex dump of the spec",
        stream([4], params=2, placement=False, crop=True, segment_frames=4, identity=4, width=64, height=64, seed=7),
    )
    yield (
        "plain",
        "everything: delta, background, audio, placement, metadata",
        stream(
            [15, 15, 9], audio=True, delta=True, background=True, meta={"writer": "fev vectors", "synthetic": False}
        ),
    )
    yield "modes", "texture and flow modes", stream([15, 9], modes=True, placement=False, crop=True)
    yield "pivot", "a pivot before modes", stream([15, 9], modes=True, pivot=True, placement=False, crop=True)
    yield "jitter", "times a tick off the beat", stream([15, 9], times=lambda f: 3000 * f + f % 3, params=6)
    yield "cropped", "the aligned square itself: no placement", stream([15, 15], placement=False, crop=True)
    yield "held", "frames without a face repeat the one before", stream([15, 15], held=(4, 5, 6, 20, 29))
    yield "still", "nothing moves for two segments", stream([15, 15], size=0)
    yield (
        "ntsc",
        "30000/1001 frames a second, times in units of 1/30000 s",
        stream([15, 8], fps=(30000, 1001), time_base=(1, 30000)),
    )
    yield "indexed", "20 segments and an index", stream([5] * 20, segment_frames=5, params=6)
    yield (
        "elsewhere",
        "refers to the identity that `pivot` holds",
        stream([15, 9], seed=1, modes=True, pivot=True, placement=False, crop=True, elsewhere=True),
    )
    yield "lively", "motion that reaches every group's shapes", stream([15, 15], size=4)
    yield (
        "lively_held",
        "motion goes on from the frame before the held ones",
        stream([15, 15], size=4, held=(1, 4, 5, 6, 20, 29)),
    )
    yield "cut_and_back", "two people, each before a set of their own, cut to and fro", cut_and_back()
    yield "two_people", "two actors in one picture, in either order, then nobody", two_people()
    yield "revisions", "revisions that bring what differs from the one before", revisions()
    yield "moving_camera", "a set larger than the picture, and a camera that pans over it", moving_camera()
    yield "patched_faces", "patches in the place of squares", patched_faces()
    yield "parted", "segments in parts, with two actors, sound and a camera", parted()
    yield "filmed", "video alone, at half its frames, under an actor, then a set", filmed()
    yield "repeats", "frames that stand still, in a pattern", stream([15, 15], size=3, still=3)


def cut_and_back() -> bytes:
    """Two people, each before a set of his own, cut to and fro."""
    play = Play()
    play.actor(0)
    play.segment((0, 0))
    play.actor(1, pivot=True)
    play.set(1)
    play.segment((1, 0), on_set=1)
    play.segment((0, 0))
    play.segment((1, 0), on_set=1)
    return play.data()


def two_people() -> bytes:
    """Both in one picture; the second is held for two frames."""
    play = Play()
    play.actor(0)
    play.actor(1)
    play.segment((1, 0), (0, 0))
    play.segment((0, 0), (1, 0), held=(1,))
    play.segment(on_set=0)
    return play.data()


def revisions() -> bytes:
    """A talk in three chapters: the second and third bring what differs."""
    play = Play()
    play.actor(0)
    play.segment((0, 0))
    play.actor(0, 1, pivot=True, same=True)
    play.segment((0, 1))
    play.segment((0, 0))
    play.actor(0, 2, pivot=True, same=True)
    play.segment((0, 2))
    play.segment((0, 1))
    return play.data()


def moving_camera() -> bytes:
    """A set larger than the picture, over which the camera pans; then it rests."""
    play = Play(sets=False)
    play.set(1, Place(384, -40, 16))
    play.actor(0)
    play.segment((0, 0), on_set=1, camera=True)
    play.segment((0, 0), on_set=1)
    play.segment(on_set=1, camera=True)
    return play.data()


def patched_faces() -> bytes:
    """Patches in the place of squares, with sound beside them."""
    play = Play()
    play.actor(0)
    play.actor(1)
    play.segment((0, 0), patches=((0, 1, 2),))
    play.segment((0, 0), (1, 0), patches=((0, 0, 1), (0, 1, 3), (1, 2, 3)), camera=True, held=(0, 1))
    return play.data()


def parted(**changes: Any) -> bytes:
    """A segment in parts after a whole one, with two actors, held frames, sound and a camera."""
    play = Play(audio=True, **changes)
    play.actor(0)
    play.actor(1)
    play.segment((0, 0), audio=True)
    play.segment((0, 0), (1, 0), camera=True, held=(1,), audio=True, parts=(2, 2, 1))
    play.segment((1, 0), parts=(1, 4))
    play.segment(camera=True, parts=(3, 2))
    return play.data()


def filmed() -> bytes:
    """Shots of nobody, then an actor before a set that moves, then before one that stands."""
    play = Play()
    play.video()
    play.segment(video=1)
    play.segment(video=2)
    play.actor(0)
    play.actor(1)
    play.segment((0, 0), video=3)
    play.segment((0, 0))
    play.segment((1, 0), (0, 0), video=5, held=(1,), patches=((0, 1, 2),))
    return play.data()


def filmed_squares() -> bytes:
    """Where the picture is the aligned square, video stands in the actor's place."""
    play = Play(sets=False, crop=True, placement=False)
    play.actor(0)
    play.segment((0, 0))
    play.video()
    play.segment(video=2)
    return play.data()


def joined_late() -> bytes:
    """What is alive comes again before every second segment, each actor complete."""
    play = Play(repeat=2)
    play.actor(0)
    play.segment((0, 0))
    play.actor(0, 1, pivot=True, same=True)
    play.actor(1)
    play.segment((0, 1), (1, 0))
    play.segment((0, 1), (1, 0))
    play.segment((0, 1))
    play.segment((1, 0))
    return play.data()


def filmed_late() -> bytes:
    """A talk, then video; a receiver may join there."""
    play = Play(repeat=2)
    play.actor(0)
    play.segment((0, 0))
    play.video()
    for _ in range(3):
        play.segment((0, 0), video=2)
    play.segment(video=4, audio=False)
    return play.data()


def nobody() -> bytes:
    """Segments before no set, in which nobody is."""
    play = Play(sets=False)
    play.segment(on_set=None)
    play.segment(camera=True)
    return play.data()


def many_people() -> bytes:
    """Eighteen actors: the first two are forgotten and come again."""
    play = Play()
    for number in range(18):
        play.actor(number)
        play.segment((number, 0))
    play.again(0)
    play.segment((0, 0), (17, 0))
    play.actor(1, 1)
    play.segment((1, 1))
    return play.data()


def uncommon() -> Iterator[tuple[str, str, bytes]]:
    """Legal, but rarely met."""
    yield (
        "repeated",
        "the set-up comes again before every second segment",
        stream([5] * 6, segment_frames=5, params=6, repeat=2, delta=True, audio=True),
    )
    yield (
        "uneven_times",
        "variable frame rate, from before zero",
        stream([7, 7, 1], segment_frames=7, params=6, times=lambda f: 5 * f + f * f % 5 - 4),
    )
    yield (
        "long_gap",
        "a frame that lasts 2**40 ticks",
        stream([7, 1], segment_frames=7, params=6, times=lambda f: 5 * f + (1 << 40) * (f > 3)),
    )
    yield "uneven_segments", "segments of 1, 9, 2 and 4 frames", stream([1, 9, 2, 4], segment_frames=4, params=6)
    yield "no_regular_length", "the header names no segment length", stream([4, 4], segment_frames=0, params=6)
    yield (
        "large_values",
        "escapes, and levels beyond the last row, seen from either side",
        stream([9, 9], size=90000, segment_frames=9),
    )
    yield (
        "three_parameters",
        "groups of one parameter, and others that are empty",
        stream([9], size=3, params=3, segment_frames=9),
    )
    yield "one_parameter", "groups of parameters that are empty", stream([9], params=1, segment_frames=9)
    yield "held_first", "a held frame begins a segment and is coded all the same", stream([5, 5], held=(5,), params=4)
    yield "nothing", "no segments at all", stream([])
    yield (
        "private_metadata",
        "keys that begin with x-",
        stream([4], params=3, meta={"x-lens": "85 mm", "x-take": -3, "title": "Überprüfung"}),
    )
    yield "joined_late", "actors, sets and set-up come again; a receiver may join there", joined_late()
    yield "many_people", "more actors than are alive at once; two come back", many_people()
    yield "parted_uneven", "segments in parts at uneven times", parted(segment_frames=0, fps=(30000, 1001))
    yield "filmed_late", "video behind the first segments; its header comes again", filmed_late()
    yield "filmed_squares", "the aligned square, and video in its place", filmed_squares()
    yield "nobody", "no actor and no set, black", nobody()
    parts = base()
    yield (
        "unknown_ancillary",
        "lower-case chunk types that nobody knows are skipped",
        joined([*parts[:2], ("thum", b"picture"), *parts[2:-1], ("zzZZ", b""), parts[-1]]),
    )
    whole = taken_apart(stream([5] * 20, segment_frames=5, params=6))
    place = next(i for i, (name, _) in enumerate(whole) if name == "indx")
    lie = pack_index(8, [200, 201, 202])
    lying = [*whole[:place], ("indx", lie), ("FEND", End(20, 100, 15 + len(lie)).pack())]
    yield "lying_index", "the index points into the middle of chunks; it is only a hint", joined(lying)
