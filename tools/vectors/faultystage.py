"""The vectors that every reader must refuse: actors, sets, and what segments say of them. `faulty.py`
has the parts of an actor."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from ...format.motion import encode_track, final_check
from ...format.taken import HAS_CAMERA, HAS_HELD, HAS_PATCHES, HAS_PLACE, HAS_STAGE
from ...format.wire import Pack
from .bent import added, base, bent, changed, joined, patched, segment, taken_apart, without
from .faulty import STILL
from .good import cut_and_back, many_people, moving_camera, nobody, patched_faces, revisions, two_people
from .made import Play, header

Row = tuple[str, str, str, bytes]


def faulty_stage() -> Iterator[Row]:
    """Actors, sets, stages, cameras and patches."""
    yield from _actors()
    yield from _sets()
    yield from _stages()
    yield from _cameras_and_patches()


def _actors() -> Iterator[Row]:
    def number(actor: int, revision: int, flags: int = 0) -> Callable[[bytes], bytes]:
        """The base stream's actor under another number."""
        return lambda p: Pack().fixed("B", p[0] | 64 | flags).varint(actor).varint(revision).raw(p[1:]).bytes()

    own = next(payload for name, payload in base() if name == "ACTR")
    bad = "DamagedError"
    for name, text, error, make in (
        ("actor_flag", "an actor's flag that means nothing", bad, patched(0, b"\x81")),
        ("actor_empty", "an actor of no bytes", bad, lambda p: b""),
        ("actor_without_parts", "an actor that brings nothing", bad, lambda p: b"\0" + p[1:3]),
        ("actor_without_iden", "an actor with a pivot alone", bad, lambda p: b"\x08" + p[1:3] + b"\0" + STILL),
        ("actor_part_size", "a part longer than the chunk", bad, lambda p: b"\x03" + p[1:3] + b"\x7f" + p[3:]),
        ("actor_short_form", "actor 0 in revision 0 is numbered", bad, number(0, 0)),
        ("actor_number_bomb", "actor 2**40", "LimitError", number(1 << 40, 0)),
        ("actor_revision_bomb", "revision 2**40", "LimitError", number(0, 1 << 40)),
        ("actor_out_of_order", "actor 1 comes first", bad, number(1, 0)),
        ("revision_out_of_order", "revision 1 comes first", bad, number(0, 1)),
        ("revision_of_nothing", "revision 0 goes on from another", bad, lambda p: bytes([p[0] | 32]) + p[1:]),
        ("reference_short", "a hash of 31 bytes", bad, lambda p: b"\x10" + bytes(31)),
        ("reference_long", "a hash of 33 bytes", bad, lambda p: b"\x10" + bytes(33)),
        ("reference_and_identity", "a reference, and IDEN too", bad, lambda p: b"\x11" + bytes(32) + p[3:]),
        ("reference_goes_on", "a reference that goes on from another", bad, lambda p: b"\x30" + bytes(32)),
    ):
        yield name, text, error, changed("ACTR", make)
    yield "no_actor", "the actor that the segments need is missing", bad, without(joined(base()), "ACTR", 0)
    other = bytes([own[0], own[1] ^ 1]) + own[2:]
    yield "actor_differs", "an actor comes again with another step", bad, added("ACTR", other, "FEND")
    yield (
        "reference_again",
        "an actor comes again as a reference",
        bad,
        added("ACTR", b"\x10" + bytes(32), "FEND"),
    )
    yield "actor_after_end", "an actor behind the end", bad, joined([*base(), ("ACTR", own)])
    parts = base()
    yield "actor_before_header", "an actor comes first", bad, joined([("ACTR", own), *parts])
    yield "actor_in_setup", "an actor before the metadata", bad, joined([parts[0], parts[2], parts[1], *parts[3:]])
    elsewhere = [(name, b"\x10" + bytes(32) if name == "ACTR" else payload) for name, payload in parts]
    upon = ("ACTR", Pack().fixed("B", own[0] | 96).varint(0).varint(1).raw(own[1:]).bytes())
    yield (
        "revision_of_a_reference",
        "a revision goes on from an identity that lies elsewhere",
        bad,
        joined([*elsewhere[:3], upon, *elsewhere[3:]]),
    )
    yield "revision_missing", "the revision that another goes on from is missing", bad, without(revisions(), "ACTR", 1)
    yield (
        "revision_of_the_forgotten",
        "a revision goes on from one that is not alive",
        bad,
        bent(many_people(), "ACTR", 19, lambda p: bytes([p[0] | 32]) + p[1:]),
    )
    yield "revision_forgotten", "a segment names a revision two before the newest", bad, _forgotten_revision()
    yield "actor_forgotten", "a segment names an actor after sixteen others", bad, without(many_people(), "ACTR", 18)


def _forgotten_revision() -> bytes:
    parts = taken_apart(revisions())
    names = [name for name, _ in parts]
    last = len(names) - 1 - names[::-1].index("SEGM")
    early = parts[names.index("SEGM")][1]
    return joined([*parts[:last], ("SEGM", _renumbered(early, parts[last][1])), *parts[last + 1 :]])


def _renumbered(payload: bytes, like: bytes) -> bytes:
    """A regular segment under the number of another; both numbers have one byte."""
    return payload[:1] + like[1:2] + payload[2:]


def _sets() -> Iterator[Row]:
    two, bad = cut_and_back(), "DamagedError"
    place = Pack().fixed("H", 256).signed(0).signed(0).bytes()

    def far(payload: bytes) -> bytes:
        return Pack().raw(b"\2\0\1").signed(1 << 40).raw(b"\0" + payload[1:]).bytes()

    for name, text, error, make in (
        ("set_flag", "a set's flag that means nothing", bad, patched(0, b"\x04")),
        ("set_short_form", "set 0 is numbered", bad, lambda p: b"\x01\0" + p[1:]),
        ("set_number_bomb", "set 2**40", "LimitError", lambda p: Pack().raw(b"\1").varint(1 << 40).raw(p[1:]).bytes()),
        ("set_out_of_order", "set 3 comes first", bad, lambda p: b"\1\3" + p[1:]),
        ("set_no_scale", "a set without a scale", bad, lambda p: b"\2\0\0\0\0" + p[1:]),
        (
            "set_far",
            "a set 2**40 pixels away",
            bad,
            lambda p: Pack().raw(b"\2\0\1").signed(1 << 40).raw(b"\0" + p[1:]).bytes(),
        ),
        ("set_codec", "a set in a codec that nobody knows", "UnsupportedError", patched(1, b"\2")),
        ("set_empty", "a set without a picture", bad, lambda p: p[:8]),
    ):
        yield name, text, error, bent(two, "SETT", 0, make)
    yield (
        "set_place",
        "a set that covers the picture says so",
        bad,
        bent(two, "SETT", 0, lambda p: b"\2" + place[:2] + b"\0\0" + p[1:2] + b"\0\1\0\1" + p[6:]),
    )
    yield "set_missing", "set 1, which segments need, is missing", bad, without(two, "SETT", 1)
    yield "set_0_missing", "set 0, which the header announces, is missing", bad, without(two, "SETT", 0)
    yield "set_unannounced", "set 0 without its header flag", bad, added("SETT", b"\0" + STILL, "SEGM")
    sets = [payload for name, payload in taken_apart(two) if name == "SETT"]
    again = ("SETT", sets[0][:-1] + bytes([sets[0][-1] ^ 1]))
    parts = taken_apart(two)
    yield "set_differs", "a set comes again and differs", bad, joined([*parts[:-1], again, parts[-1]])


def _stages() -> Iterator[Row]:
    bad = "DamagedError"
    for name, text, error, stage in (
        ("stage_short_form", "a regular stage is written", bad, b"\1\1\0\0"),
        ("stage_twice", "an actor twice on one stage", bad, b"\1\2\0\0\0\0"),
        ("stage_actor_unknown", "an actor that never came", bad, b"\1\1\1\0"),
        ("stage_revision_unknown", "a revision that never came", bad, b"\1\1\0\1"),
        ("stage_set_unknown", "a set that never came", bad, b"\2\1\0\0"),
        ("stage_nowhere", "nobody, where no placement is written", bad, b"\1\0"),
        ("stage_actors_bomb", "2**40 actors", "LimitError", Pack().varint(1).varint(1 << 40).bytes()),
        ("stage_set_bomb", "set 2**40 behind the actors", "LimitError", Pack().varint(1 << 40).raw(b"\1\0\0").bytes()),
    ):
        yield name, text, error, changed("SEGM", segment(HAS_STAGE, Pack().varint(0).raw(stage)))
    two = two_people()
    crowd = Pack().fixed("B", HAS_PLACE | HAS_STAGE).varint(0).varint(0).varint(1024).raw(b"\1\5")
    crowd.raw(b"\0\0\1\0\2\0\3\0\4\0")
    yield "crowd_bomb", "five actors in 1024 frames", "LimitError", bent(two, "SEGM", 0, lambda p: crowd.bytes())
    yield "block_size", "the first actor's block is longer than the segment", bad, bent(two, "SEGM", 0, _long_block)
    yield (
        "motion_of_nobody",
        "a stage without actors, and motion all the same",
        bad,
        bent(two, "SEGM", 2, lambda p: p[:-2] + b"\0\0" + p[-2:]),
    )
    yield (
        "check_of_nobody",
        "the final check of nothing is wrong",
        bad,
        bent(two, "SEGM", 2, lambda p: p[:-1] + bytes([p[-1] ^ 1])),
    )
    yield (
        "nobody_held",
        "held frames of nobody",
        bad,
        bent(two, "SEGM", 2, lambda p: bytes([p[0] | HAS_HELD]) + p[1:]),
    )
    yield (
        "actors_swapped",
        "two actors' blocks under each other's names",
        bad,
        bent(two, "SEGM", 0, lambda p: p[:2] + b"\1\2\0\0\1\0" + _swapped(p[8:])),
    )
    wide = Play(sets=False, crop=True, placement=True)
    wide.actor(0)
    wide.actor(1)
    wide.segment((0, 0))
    stage = Pack().fixed("B", HAS_STAGE).varint(0).raw(b"\1\2\0\0\1\0\0\0\0").bytes()
    yield "crowded_square", "two actors in the aligned square", bad, bent(wide.data(), "SEGM", 0, lambda p: stage)


def _long_block(payload: bytes) -> bytes:
    """Flags, index, stage of six bytes, size."""
    return payload[:8] + b"\x7f" + payload[9:]


def _swapped(blocks: bytes) -> bytes:
    size = blocks[0]
    first, second, check = blocks[1 : 1 + size], blocks[1 + size : -2], blocks[-2:]
    return Pack().varint(len(second)).raw(second + first + check).bytes()


def _cameras_and_patches() -> Iterator[Row]:
    bad = "DamagedError"
    moving = moving_camera()
    stage = 2 + 4  # flags, index, stage
    still, pointed = np.zeros((5, 4), np.int32), np.tile(np.array([0, 0, -header().edges, 0], np.int32), (5, 1))
    yield "camera_rests", "a camera at rest is written", bad, bent(nobody(), "SEGM", 0, _under(still))
    yield (
        "camera_empty",
        "a camera of no bytes",
        bad,
        bent(moving, "SEGM", 1, lambda p: bytes([p[0] | HAS_CAMERA]) + p[1:stage] + b"\0" + p[stage:]),
    )
    yield "camera_no_scale", "a camera that shows the set as a point", bad, bent(nobody(), "SEGM", 0, _under(pointed))
    yield "camera_long", "a camera longer than its segment", bad, bent(moving, "SEGM", 0, patched(stage, b"\x7f"))
    faces = patched_faces()
    one = Pack().varint(len(STILL)).raw(STILL).bytes()

    def patches(data: bytes) -> Callable[[bytes], bytes]:
        """A regular segment with patches of one's own."""
        return lambda p: Pack().fixed("B", HAS_PATCHES).varint(0).raw(data).bytes()

    for name, text, error, data in (
        ("patches_none", "patches are announced and there are none", bad, b"\0"),
        ("patches_bomb", "2**40 patches", "LimitError", Pack().varint(1 << 40).bytes()),
        ("patch_of_nobody", "a patch of a second actor of one", bad, b"\1\1\0\1" + one),
        ("patch_beside", "a patch that begins behind the segment", bad, b"\1\0\5\1" + one),
        ("patch_long", "a patch longer than the segment", bad, b"\1\0\3\3" + one),
        ("patch_no_frames", "a patch of no frames", bad, b"\1\0\0\0" + one),
        ("patches_overlap", "two patches in one frame", bad, b"\2\0\0\2" + one + b"\0\1\1" + one),
        ("patches_unordered", "a later patch before an earlier one", bad, b"\2\0\3\1" + one + b"\0\1\1" + one),
        ("patch_size", "a patch longer than its segment", bad, b"\1\0\0\1\x7f" + STILL),
        ("patch_empty", "a patch without a picture", bad, b"\1\0\0\1\x07" + STILL[:7]),
    ):
        yield name, text, error, bent(faces, "SEGM", 0, patches(data))
    yield "patch_check", "the final check beside a patch is wrong", bad, bent(faces, "SEGM", 0, _wrong_check)


def _under(values: NDArray[np.int32]) -> Callable[[bytes], bytes]:
    """Five frames of set 0 behind nobody, under a camera of one's own."""
    code = encode_track(values, np.zeros(5, bool))
    fields = Pack().fixed("B", HAS_STAGE | HAS_CAMERA).varint(0).raw(b"\1\0").varint(len(code)).raw(code)
    payload = fields.fixed("H", final_check(values, None, header().check_seed)).bytes()
    return lambda _: payload


def _wrong_check(payload: bytes) -> bytes:
    return payload[:-1] + bytes([payload[-1] ^ 1])
