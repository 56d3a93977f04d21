"""Actors, revisions, sets, cameras and patches: they come back, and what is lost costs who needs it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from fev.format import Actor, Limits, Patch, Place, Reader, Segment, Set, Still, Track, Writer, excerpts, verify
from fev.format.cast import ALIVE
from fev.format.errors import DamagedError, FevError, LimitError, UsageError
from fev.tools.vectors import good
from fev.tools.vectors.made import Play
from streams import chunks, header, motion, read, rebuild, same

STILL = Still(1, 64, 48, 1, False, b"still")


def actor(number: int = 0, revision: int = 0, seed: int = 0, **parts) -> Actor:
    values = np.random.default_rng(seed).integers(-9, 10, 12).astype(np.int32)
    return Actor.of(values, 20, 30, number=number, revision=revision, **parts)


def without(data: bytes, name: str, which: int) -> bytes:
    parts = [(kind, payload) for kind, _, payload in chunks(data)]
    place = [i for i, (kind, _) in enumerate(parts) if kind == name][which]
    return rebuild([*parts[:place], *parts[place + 1 :]])


STREAMS = (
    good.cut_and_back, good.two_people, good.revisions, good.moving_camera, good.patched_faces, good.joined_late,
    good.many_people, good.nobody, good.filmed, good.filmed_late, good.filmed_squares, good.parted,
)  # fmt: skip


@pytest.mark.parametrize("make", STREAMS, ids=lambda make: make.__name__)
def test_every_seek_gives_what_reading_on_gives(make):
    data = make()
    wanted = read(data)[1]
    assert verify(io.BytesIO(data)).ok and sum(read(data)[0].sections().values()) == len(data)
    for salvage in (False, True):
        reader = Reader(io.BytesIO(data), salvage=salvage)
        for index in [len(wanted) - 1, 0, *range(len(wanted)), *range(len(wanted))[::-1]]:
            reader.seek(index)
            following = reader.segments()
            for want in wanted[index : index + 2]:
                assert same(next(following), want)
                for track in want.actors:
                    assert reader.who((track.actor, track.revision)).values is not None
        assert not reader.damage


def test_a_segment_is_what_was_given():
    """Two actors, a set in its place, a camera, patches: written and read."""
    head = header(params=3, segment_frames=4)
    out = io.BytesIO()
    writer = Writer(out, head, actors=[actor(), actor(1, seed=1)], sets=[Set(STILL), Set(STILL, 1, Place(300, -8, 5))])
    held = np.array([False, True, False, False])
    moves = motion(4, 3)
    moves[1] = moves[0]
    place = np.full((4, 4), 700, np.int32)
    tracks = [Track(moves, place, held, 1, 0), Track(motion(4, 3, seed=1), place + 9, np.zeros(4, bool), 0, 0)]
    camera = motion(4, 4, seed=2)
    patches = [Patch(0, 1, 2, STILL), Patch(0, 3, 1, STILL), Patch(1, 0, 4, STILL)]
    segment = Segment(0, 0, np.arange(4), tracks, [], 1, camera, patches)
    writer.write_segment(segment)
    writer.write_segment(Segment(1, 4, np.arange(4, 8), [], [], None))
    writer.close()
    reader, got = read(out.getvalue())
    assert same(got[0], segment) and got[1].actors == [] and got[1].on_set is None
    assert reader.sections() == writer.sections()
    assert reader.sections()["camera"] > 4 and reader.sections()["patches"] > 3 * len(STILL.data)
    assert reader.cast.sets[1].place == Place(300, -8, 5)
    with pytest.raises(FevError, match="2 actors"):
        _ = got[0].motion


def test_a_camera_at_rest_costs_nothing():
    head = header(params=3, segment_frames=4, placement=False)
    plain = Segment.single(0, 0, np.arange(4), motion(4, 3))
    rests = Segment(0, 0, np.arange(4), plain.actors, camera=np.zeros((4, 4), np.int32))
    assert rests.pack(head) == plain.pack(head)


def test_a_revision_is_paid_by_what_differs():
    data = good.revisions()
    sizes = [len(payload) for name, _, payload in chunks(data) if name == "ACTR"]
    reader = Reader(io.BytesIO(data))
    list(reader.segments())
    before, newest = reader.cast.actors[0]
    assert before.key == (0, 1) and newest.key == (0, 2)
    assert newest.parts["IDEN"] == before.parts["IDEN"] and newest.parts["PIVT"] != before.parts["PIVT"]
    assert sizes[2] < newest.size, "it does not bring its IDEN"


@pytest.mark.parametrize("which", [0, 1])
def test_a_lost_actor_costs_the_segments_that_need_it(which):
    whole = good.cut_and_back()
    wanted, broken = read(whole)[1], without(whole, "ACTR", which)
    with pytest.raises(DamagedError, match=f"needs actor {which} in revision 0|comes before"):
        read(broken)
    reader, got = read(broken, salvage=True)
    assert all(same(a, b) for a, b in zip(got, wanted, strict=True)), "the integers of all segments are whole"
    assert [d.chunk for d in reader.damage] == ["ACTR"] and f"actor {which} in revision 0" in reader.damage[0].reason
    for segment in got:
        key = segment.alone.actor, segment.alone.revision
        if key[0] == which:
            with pytest.raises(DamagedError, match="lost actor"):
                reader.who(key)
        else:
            assert reader.who(key).values is not None


def test_a_lost_set_is_said_once():
    reader, got = read(without(good.cut_and_back(), "SETT", 1), salvage=True)
    assert len(got) == 4 and [d.chunk for d in reader.damage] == ["SETT"] and 1 not in reader.cast.sets


def test_a_lost_revision_costs_those_that_go_on_from_it():
    reader, got = read(without(good.revisions(), "ACTR", 1), salvage=True)
    assert len(got) == 5 and reader.who((0, 0)).values is not None
    for key in ((0, 1), (0, 2)):
        with pytest.raises(DamagedError):
            reader.who(key)


def test_a_repetition_mends_what_was_lost():
    """Also a revision that at first went on from another comes complete."""
    broken = without(good.joined_late(), "ACTR", 1)
    reader, got = read(broken, salvage=True)
    assert len(got) == 5 and reader.who((0, 1)).pivot is not None


def test_joining_late_gives_what_is_alive():
    data = good.joined_late()
    wanted = read(data)[1]
    again = [at for name, at, _ in chunks(data) if name == "HEAD"][1]

    class Pipe(io.RawIOBase):
        def __init__(self, data: bytes) -> None:
            self.rest = io.BytesIO(data)

        def readable(self) -> bool:
            return True

        def read(self, count: int = -1) -> bytes:
            return self.rest.read(count)

    for stream in (io.BytesIO(data[again:]), Pipe(data[again:])):
        reader = Reader(stream, salvage=True)
        got = list(reader.segments())
        assert [s.index for s in got] == [2, 3, 4] and all(same(s, wanted[s.index]) for s in got)
        assert reader.who((0, 1)).pivot is not None and reader.who((1, 0)).values is not None
        assert 0 in reader.cast.sets


def test_what_is_kept_does_not_grow():
    """A thousand actors and as many sets: the last few are alive."""
    out = io.BytesIO()
    writer = Writer(out, header(placement=False), sets=[Set(STILL)])
    for number in range(1000):
        writer.write_actor(actor(number, seed=number))
        if number:
            writer.write_set(Set(STILL, number))
    writer.close()
    reader, _ = read(out.getvalue())
    assert list(reader.cast.actors) == list(range(1000 - ALIVE, 1000)) == list(reader.cast.sets)
    with pytest.raises(LimitError, match="actors and sets"):
        read(out.getvalue(), limits=Limits(max_alive_bytes=200))
    reader, _ = read(out.getvalue(), limits=Limits(max_alive_bytes=200), salvage=True)
    kept = sum(known.size for alive in reader.cast.actors.values() for known in alive)
    assert reader.damage and 0 < kept <= 200, "going on, it keeps within the limit"


def test_a_hostile_stream_does_not_look_ahead_for_ever():
    """Every segment names another revision that never comes."""
    head = header(params=1, segment_frames=1, placement=False)
    out = io.BytesIO()
    Writer(out, head, actors=[actor()])
    parts = [(name, payload) for name, _, payload in chunks(out.getvalue())]
    for i in range(2000):
        segment = Segment(i, i, np.array([i]), [Track(np.zeros((1, 1), np.int32), revision=i + 1)])
        parts.append(("SEGM", segment.pack(head)))
    reader, got = read(rebuild(parts), salvage=True)
    assert len(got) == 2000 and 60 < len(reader.damage) < 70


def test_what_the_writer_refuses():
    head = header(placement=False, segment_frames=4, params=3)

    def fresh(**given) -> Writer:
        return Writer(io.BytesIO(), head, **{"actors": [actor()], **given})

    moves = motion(4, 3)
    for wrong in (
        Segment(0, 0, np.arange(4), [Track(moves, actor=1)]),
        Segment(0, 0, np.arange(4), [Track(moves, revision=1)]),
        Segment(0, 0, np.arange(4), [Track(moves)], on_set=1),
        Segment(0, 0, np.arange(4), []),
        Segment(0, 0, np.arange(4), [Track(moves), Track(moves)]),
        Segment(0, 0, np.arange(4), [Track(moves)], camera=np.ones((3, 4), np.int32)),
        Segment(0, 0, np.arange(4), [Track(moves)], patches=[Patch(1, 0, 1, STILL)]),
        Segment(0, 0, np.arange(4), [Track(moves)], patches=[Patch(0, 2, 3, STILL)]),
    ):
        with pytest.raises(UsageError):
            fresh().write_segment(wrong)
    for wrong in (actor(2), actor(0, 2), actor(0, 0, seed=5)):
        with pytest.raises(UsageError):
            fresh().write_actor(wrong)
    for given in (Set(STILL), Set(STILL, 2)):
        with pytest.raises(UsageError):
            fresh().write_set(given)
    closed = fresh()
    closed.close()
    with pytest.raises(UsageError, match="closed"):
        closed.write_actor(actor(1))


def test_all_identities_before_the_first_segment_are_found():
    data = good.two_people()
    found = list(excerpts(io.BytesIO(data)))
    assert [one.actor.number for one in found] == [0, 1] and len({one.sha256 for one in found}) == 2
    for one in found:
        alone = next(excerpts(io.BytesIO(one.stream())))
        assert alone.sha256 == one.sha256 and alone.actor.key == (0, 0)
        assert np.array_equal(alone.identity().values, Reader(io.BytesIO(data)).who(one.actor.key).values)
    assert [one.actor.key for one in excerpts(io.BytesIO(good.revisions()))] == [(0, 0)]


@pytest.mark.parametrize("make", [good.cut_and_back, good.patched_faces], ids=lambda make: make.__name__)
def test_a_flip_in_any_byte_is_noticed_and_costs_one_chunk(make):
    data = make()
    wanted = read(data)[1]
    owner, count = [], 0
    for name, _, payload in chunks(data):
        owner += [count if name == "SEGM" else None] * (15 + len(payload))
        count += name == "SEGM"
    for at in range(8, len(data)):
        broken = bytearray(data)
        broken[at] ^= 1 << at % 8
        with pytest.raises(FevError):
            read(bytes(broken))
        try:
            reader, got = read(bytes(broken), salvage=True)
        except FevError:
            assert at < 8 + 99 + 15, "without a header there is nothing to save"
            continue
        assert {s.index for s in got} == set(range(len(wanted))) - {owner[at - 8]}
        assert all(same(s, wanted[s.index]) for s in got) and reader.damage


def test_one_still_person_on_one_set_pays_nothing():
    """Against a stream of the same content before there were actors: 15 bytes of framing for each of five parts."""
    play = Play()
    play.actor(0, pivot=True)
    play.segment((0, 0))
    data = play.data()
    names = [name for name, _, _ in chunks(data)]
    assert names == ["HEAD", "SETT", "ACTR", "SEGM", "FEND"]
    actor_bytes = next(len(payload) for name, _, payload in chunks(data) if name == "ACTR")
    parts = play.latest[0].parts
    before = 103 + sum(15 + len(part) for part in parts.values()) + 15
    after = 99 + 15 + actor_bytes + 15 + 1
    assert after < before
    alone = Actor(0, 0, 20, 30, {"IDEN": parts["IDEN"]})
    assert 99 + len(alone.pack()) + 1 <= 103 + len(parts["IDEN"]), "and where there is neither pivot nor modes"


def test_chapters_are_joined_anywhere_in_time():
    """A seek into a chapter goes through what lies before it, once, and decodes one actor."""
    import time

    out = io.BytesIO()
    head = header(segment_frames=30, params=35, placement=False)
    writer = Writer(out, head, actors=[actor()])
    walk = motion(30, 35)
    for i in range(600):
        if i and i % 100 == 0:
            writer.write_actor(actor(0, i // 100, seed=i))
        writer.write_segment(Segment(i, 30 * i, np.arange(30 * i, 30 * i + 30), [Track(walk, revision=i // 100)]))
    writer.close()
    reader = Reader(io.BytesIO(out.getvalue()))
    begin = time.process_time()
    for index in (550, 30, 320):
        reader.seek(index)
        segment = next(reader.segments())
        assert segment.alone.revision == index // 100 and reader.who((0, index // 100)).values is not None
    assert time.process_time() - begin < 1
