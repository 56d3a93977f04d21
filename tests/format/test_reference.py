"""Streams that refer to an identity: its hash, what can be read without it, and the identity alone out of a stream."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace

import numpy as np
import pytest
from fev.format import Actor, Excerpt, FevError, Reader, Writer, excerpt, verify
from fev.format.delta import encode_delta
from fev.format.errors import DamagedError, MissingIdentityError, NotFevError, UsageError
from fev.format.identity import encode_identity
from fev.format.modes import encode_modes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from streams import TIGHT, Made, chunks, header, make, read, rebuild, same


def holder(**changes) -> Made:
    return make(**{**dict(modes=True, pivot=True, segments=3, frames=4), **changes})


def refer(made: Made, repeat: int = 0, **changes) -> bytes:
    """The same stream with the hash in place of the identity."""
    actor = Actor.refer(excerpt(io.BytesIO(made.data)).sha256)
    out = io.BytesIO()
    given_ = {**made.given, "actors": [actor]}
    writer = Writer(out, replace(made.header, **changes), repeat_header_every=repeat, **given_)
    for segment in made.segments:
        writer.write_segment(segment)
    writer.close()
    return out.getvalue()


@pytest.fixture(scope="module")
def made() -> Made:
    return holder()


@pytest.fixture(scope="module")
def data(made) -> bytes:
    return refer(made)


def finder(made: Made):
    who = Reader(io.BytesIO(made.data)).who()
    return lambda sha256: who


def test_the_hash_is_the_one_of_the_spec(made):
    payloads = {name: payload for name, _, payload in chunks(made.data)}
    who = made.who
    parts = {
        "IDEN": encode_identity(who["identity"]),
        "DELT": encode_delta(who["delta"]),
        "MODE": encode_modes(who["modes"]),
        "PIVT": who["pivot"].pack(),
    }
    whole = payloads["HEAD"][28:93] + payloads["ACTR"][1:3]
    for name, part in parts.items():
        assert part in payloads["ACTR"]
        whole += name.encode() + hashlib.sha256(part).digest()
    assert read(made.data)[0].identity_sha256 == hashlib.sha256(whole).digest()
    assert made.header.bound == payloads["HEAD"][28:93]


def test_the_hash_does_not_depend_on_what_it_travels_with(made):
    def hash_of(steps=(20, 30), key=(0, 0), **changes) -> bytes:
        head = header(**{"segment_frames": 4, **changes})
        actor = Actor.of(
            motion_step_code=steps[0], identity_step_code=steps[1], number=key[0], revision=key[1], **made.who
        )
        return Excerpt(head, actor).sha256

    own = read(made.data)[0].identity_sha256
    assert hash_of() == own == hash_of(width=64, height=48, fps=(25, 1), crop=True, placement=False, synthetic=True)
    assert hash_of(key=(3, 2)) == own
    # what its integers mean something with, does count
    others = [
        hash_of(**c) for c in ({"steps": (21, 30)}, {"steps": (20, 31)}, {"params": 9}, {"model_sha256": bytes(32)})
    ]
    assert len({own, *others}) == 5
    assert read(holder(seed=2).data)[0].identity_sha256 != own
    assert read(holder(pivot=False).data)[0].identity_sha256 != own


def test_all_but_the_face_is_read_without_it(made, data):
    reader, segments = read(data)
    assert all(same(a, b) for a, b in zip(made.segments, segments, strict=True))
    reference = reader.cast.newest(0).reference
    assert reader.identity_elsewhere and not reader.cast.newest(0).parts
    assert reference == reader.identity_sha256 == read(made.data)[0].identity_sha256
    assert [*reader.cast.sets.values()] == made.given["sets"] and reader.audio == made.given["audio"]
    sections = reader.sections()
    assert sum(sections.values()) == len(data)
    assert (sections["identity"], sections["delta"], sections["modes"]) == (32, 0, 0)
    assert verify(io.BytesIO(data)).ok
    assert not read(data, salvage=True)[0].damage
    reader.seek(2)
    assert same(next(reader.segments()), made.segments[2])
    with pytest.raises(MissingIdentityError, match=reference.hex()):
        reader.who()


def test_whoever_finds_it_gives_all_of_it(made, data):
    who = Reader(io.BytesIO(data), identities=finder(made)).who()
    own = Reader(io.BytesIO(made.data)).who()
    assert np.array_equal(who.values, own.values) and who.pivot == own.pivot
    assert np.array_equal(who.modes.luma, own.modes.luma) and np.array_equal(who.delta[0].values, own.delta[0].values)
    assert who.sha256 == own.sha256


def test_another_identity_is_not_taken(made, data):
    with pytest.raises(DamagedError, match="does not fit"):
        Reader(io.BytesIO(data), identities=finder(holder(seed=5))).who()
    lying = refer(made, model_sha256=bytes(32))
    assert verify(io.BytesIO(lying)).ok, "nobody can know without the identity"
    with pytest.raises(DamagedError, match="does not fit"):
        Reader(io.BytesIO(lying), identities=finder(made)).who()


def test_a_writer_holds_one_or_refers_to_one(made):
    pivot, ones = made.given["actors"][0].parts, Actor.of(np.ones(3, np.int32), 0, 0).parts
    for parts, reference in (({}, None), (ones, bytes(32)), (pivot, bytes(32))):
        with pytest.raises(UsageError):
            Writer(io.BytesIO(), header(), actors=[Actor(0, 0, 0, 0, parts, reference)])
    with pytest.raises(UsageError):
        Actor.refer(bytes(31))


def test_a_lost_hash_is_damage_and_a_repetition_mends_it(made, data):
    for repeat, lost in ((0, True), (2, False)):
        broken = bytearray(refer(made, repeat))
        broken[broken.index(b"ACTR") + 12] ^= 4
        with pytest.raises(DamagedError):
            read(bytes(broken))
        reader, segments = read(bytes(broken), salvage=True, identities=finder(made))
        assert len(segments) == 3 and reader.damage and (reader.cast.newest(0) is None) == lost
        if lost:
            with pytest.raises(DamagedError, match="lost"):
                reader.who()
        else:
            assert reader.who().sha256 == reader.identity_sha256


def test_every_bit_flip_is_noticed(made):
    small = refer(make(segments=2, frames=3, audio=False, background=False, meta=False, delta=False, params=3))
    for bit in range(8 * len(small)):
        broken = bytearray(small)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FevError):
            read(bytes(broken))


def test_an_identity_that_was_lost_is_said_so(made):
    parts = [(name, payload) for name, _, payload in chunks(made.data) if name != "ACTR"]
    reader, _ = read(rebuild(parts), salvage=True)
    assert reader.identity_sha256 is None
    with pytest.raises(DamagedError, match="lost actor 0 in revision 0"):
        reader.who()


def test_an_excerpt_is_a_stream_of_the_identity_alone(made):
    found = excerpt(io.BytesIO(made.data))
    alone = found.stream()
    assert [name for name, _, _ in chunks(alone)] == ["HEAD", "ACTR", "FEND"]
    assert verify(io.BytesIO(alone)).ok and len(alone) < len(made.data)
    again = excerpt(io.BytesIO(alone))
    assert again.sha256 == found.sha256 == found.identity().sha256 and again.stream() == alone
    kept = Reader(io.BytesIO(made.data))
    assert Excerpt(kept.header, kept.cast.newest(0)).stream() == alone


def test_an_excerpt_needs_the_beginning_only_and_all_of_it(made, data):
    assert excerpt(io.BytesIO(data)) is None, "it refers to an identity itself"
    end = next(at for name, at, _ in chunks(made.data) if name == "SEGM")
    assert excerpt(io.BytesIO(made.data[:end])).sha256 == excerpt(io.BytesIO(made.data)).sha256
    whole = next(at + 15 + len(payload) for name, at, payload in chunks(made.data) if name == "ACTR")
    for length in range(0, whole, 7):
        with pytest.raises(FevError):
            excerpt(io.BytesIO(made.data[:length]))
    with pytest.raises(NotFevError):
        excerpt(io.BytesIO(b"PK\3\4" + made.data))
    parts = [(name, payload) for name, _, payload in chunks(made.data)]
    with_more = rebuild([parts[0], ("thum", b"picture"), *parts[1:]])
    assert excerpt(io.BytesIO(with_more)).sha256 == excerpt(io.BytesIO(made.data)).sha256
    actor = next(place for place, (name, _) in enumerate(parts) if name == "ACTR")
    critical = [*parts[:actor], ("Warp", b""), *parts[actor:]]
    for wrong in (critical, parts[1:], [("HEAD", b""), *parts[1:]]):
        with pytest.raises(FevError):
            excerpt(io.BytesIO(rebuild(wrong)))


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(at=st.integers(0, 3000), what=st.integers(0, 255), raw=st.binary(max_size=60))
def test_nothing_but_a_fev_error_comes_out_of_a_candidate(made, at, what, raw):
    payloads = [(name, payload) for name, _, payload in chunks(made.data)]
    which = at % len(payloads)
    bent = bytearray(payloads[which][1])
    bent[at % len(bent)] = what
    payloads[which] = (payloads[which][0], bytes(bent))
    for stream in (rebuild(payloads), made.data[:20] + raw + made.data[20:]):
        try:
            found = excerpt(io.BytesIO(stream), TIGHT)
            if found is not None:
                found.identity(TIGHT)
        except FevError as error:
            assert "\n" not in str(error)
