"""Structure-aware fuzzing: payloads are bent with the checks repaired, and nothing but a FevError may come out.

`tests/fuzz/` has the long-running harness that shares `feed` with these.
"""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from fev.format import FevError, verify
from fev.format.delta import decode_delta
from fev.format.identity import decode_identity
from fev.format.meta import unpack_meta
from fev.format.modes import decode_modes
from fev.format.motion import decode_motion
from fev.tools.vectors import good
from fev.tools.vectors.made import Place, Play
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from streams import TIGHT, chunks, feed, make, read, rebuild, same

CORPUS = Path(__file__).resolve().parent.parent / "fuzz" / "corpus"
MADE = make(segments=3, frames=4, params=4)
PARTS = [(name, payload) for name, _, payload in chunks(MADE.data)]
PLAYS = [
    [(name, payload) for name, _, payload in chunks(make())]
    for make in (
        good.cut_and_back,
        good.two_people,
        good.revisions,
        good.moving_camera,
        good.patched_faces,
        good.filmed,
        good.parted,
    )  # fmt: skip
]
RELAXED = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


def bend(payload: bytes, moves: list[tuple[int, int, int]]) -> bytes:
    out = bytearray(payload)
    for kind, where, what in moves:
        at = where % (len(out) + 1)
        if kind == 0 and out:
            out[at % len(out)] ^= 1 << what % 8
        elif kind == 1 and out:
            out[at % len(out)] = what
        elif kind == 2:
            out[at:at] = bytes([what] * (1 + what % 5))
        elif kind == 3:
            del out[at : at + 1 + what % 5]
        elif kind == 4 and out:
            out[at % len(out)] = (0, 0x7F, 0x80, 0xFF)[what % 4]
    return bytes(out)


MOVES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=5)


@RELAXED
@given(which=st.integers(0, len(PARTS) - 1), moves=MOVES)
def test_bent_payloads_under_sound_checks(which, moves):
    parts = list(PARTS)
    parts[which] = (parts[which][0], bend(parts[which][1], moves))
    feed(rebuild(parts))


@RELAXED
@given(play=st.sampled_from(PLAYS), which=st.integers(0, 99), moves=MOVES)
def test_bent_stages_under_sound_checks(play, which, moves):
    parts = list(play)
    place = which % len(parts)
    parts[place] = (parts[place][0], bend(parts[place][1], moves))
    feed(rebuild(parts))


@RELAXED
@given(play=st.sampled_from(PLAYS), order=st.lists(st.integers(0, 99), max_size=14))
def test_chunks_of_a_stage_in_any_order(play, order):
    feed(rebuild([play[0], *(play[i % len(play)] for i in order)]))


@RELAXED
@given(order=st.lists(st.integers(0, len(PARTS) - 1), max_size=14))
def test_chunks_in_any_order(order):
    feed(rebuild([PARTS[i] for i in order]))


@RELAXED
@given(
    name=st.text("HEADCTRSGMNXUindxbt", min_size=4, max_size=4), payload=st.binary(max_size=40), at=st.integers(0, 9)
)
def test_foreign_chunks(name, payload, at):
    feed(rebuild([*PARTS[:at], (name, payload), *PARTS[at:]]))


@RELAXED
@given(st.binary(max_size=300))
def test_random_bytes(data):
    feed(data)
    feed(b"\x89FEV\r\n\x1a\n" + data)


@RELAXED
@given(moves=MOVES)
def test_bent_streams(moves):
    feed(bend(MADE.data, moves))


@RELAXED
@given(payload=st.binary(max_size=120), frames=st.integers(1, 40), params=st.integers(1, 40), placed=st.booleans())
def test_random_payloads(payload, frames, params, placed):
    for decode in (
        lambda: decode_motion(payload, frames, params, has_placement=placed),
        lambda: decode_identity(payload, TIGHT),
        lambda: decode_delta(payload, TIGHT),
        lambda: decode_modes(payload, TIGHT),
        lambda: unpack_meta(payload),
    ):
        try:
            decode()
        except FevError:
            pass


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    segments=st.integers(1, 6),
    frames=st.integers(1, 9),
    params=st.integers(1, 40),
    flags=st.tuples(*[st.booleans()] * 9),
    repeat=st.integers(0, 3),
    seed=st.integers(0, 1 << 30),
)
def test_random_legal_streams_come_back(segments, frames, params, flags, repeat, seed):
    """An encoder that decides at random, as in Opus' own tests."""
    audio, delta, background, meta, placement, index, irregular, modes, pivot = flags
    made = make(
        segments, frames=frames, params=params, audio=audio, delta=delta, background=background, meta=meta,
        placement=placement, index=index, irregular=irregular, modes=modes, pivot=pivot, repeat=repeat, seed=seed,
    )  # fmt: skip
    for salvage in (False, True):
        reader, got = read(made.data, salvage=salvage)
        assert all(same(a, b) for a, b in zip(made.segments, got, strict=True)) and not reader.damage
    assert verify(io.BytesIO(made.data)).ok


MOMENT = st.tuples(st.sampled_from(["actor", "revision", "set", "video", "segment"]), st.integers(0, 1 << 20))


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(moments=st.lists(MOMENT, min_size=1, max_size=25), sets=st.booleans(), repeat=st.integers(0, 3))
def test_random_plays_come_back_and_the_second_reader_agrees(moments, sets, repeat):
    """Whoever is alive may be on stage: written, read, sought, and read by the other."""
    from test_vectors import stranger

    play = Play(sets=sets, repeat=repeat)
    count = int(sets)
    for what, dice in moments:
        cast = play.writer.alive
        if what == "actor" or not play.latest:
            play.actor(len(play.latest), pivot=bool(dice % 2))
        elif what == "revision":
            number = dice % len(play.latest)
            same_parts = bool(dice % 3) and any(number == key[0] for key in cast.keys())
            play.actor(number, play.latest[number].revision + 1, pivot=True, same=same_parts)
        elif what == "set":
            play.set(count or 1, Place(300 + dice % 99, dice % 50, 0) if dice % 2 else None)
            count = (count or 1) + 1
        elif what == "video":
            play.video()
        else:
            keys = cast.keys()
            keys = list({key[0]: key for key in keys[dice % len(keys) :][: 1 + dice % 3]}.values())
            behind = [None, *cast.sets]
            filmed = dice % 11 % 6 if cast.video else 0
            play.segment(
                *keys, on_set=behind[dice % len(behind)], camera=dice % 5 == 0 and not filmed, held=(dice % 3,),
                patches=((0, 1, 2),) if dice % 7 == 0 else (), video=filmed,
            )  # fmt: skip
    data = play.data()
    for salvage in (False, True):
        reader, got = read(data, salvage=salvage)
        assert not reader.damage
        for segment in got[::-1]:
            reader.seek(segment.index)
            assert same(next(reader.segments()), segment)
            for track in segment.actors:
                assert len(reader.who((track.actor, track.revision)).values)
    other = stranger.read(data)
    tracks = [[t.motion.tolist() for t in s.actors] for s in got]
    assert [[t["motion"] for t in s["actors"]] for s in other["segments"]] == tracks
    assert [s["video"] for s in other["segments"]] == [s.video and (s.video.step, [*s.video.packets]) for s in got]


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 1 << 30))
def test_the_second_reader_agrees_on_random_motion(frames, params, seed):
    from test_vectors import stranger

    made = make(1, frames=min(frames, 20), params=params, seed=seed, placement=bool(seed & 1))
    assert [s["actors"][0]["motion"] for s in stranger.read(made.data)["segments"]] == [
        s.motion.tolist() for s in made.segments
    ]


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*")) if CORPUS.is_dir() else [], ids=lambda path: path.name)
def test_old_finds_and_corpus(path):
    feed(path.read_bytes())
