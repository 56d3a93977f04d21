"""Video in segments: it comes back, costs few bytes beside its packets, and what is lost costs what needs it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from fev.format import Actor, Reader, Segment, Set, Still, Track, Video, VideoConfig, Writer
from fev.format.errors import DamagedError, FevError, LimitError, UsageError
from fev.format.limits import Limits
from fev.tools.vectors import good
from fev.tools.vectors.bent import joined, taken_apart, without
from streams import chunks, header, motion, read, same

CONFIG = VideoConfig(320, 180, b"\x0a\x01\x00")
PACKETS = (b"key frame", b"then", b"another")


def actor() -> Actor:
    return Actor.of(np.arange(9, dtype=np.int32), 20, 30)


def filmed(step: int = 2, frames: int = 6, packets: tuple[bytes, ...] = PACKETS, **changes) -> Segment:
    facts = dict(actors=[], on_set=None, video=Video(step, packets))
    return Segment(0, 0, np.arange(frames), **{**facts, **changes})


def writer(out: io.BytesIO, **changes) -> Writer:
    return Writer(out, header(params=3, **changes), actors=[actor()])


def test_it_comes_back():
    """Alone, and beneath an actor."""
    out = io.BytesIO()
    play = writer(out)
    play.write_video(CONFIG)
    place = np.full((6, 4), 700, np.int32)
    given = [filmed(), filmed(3, 5, PACKETS[:2], actors=[Track(motion(5, 3), place[:5])])]
    given[1].index, given[1].first_frame, given[1].pts = 1, 6, np.arange(6, 11)
    for segment in given:
        play.write_segment(segment)
    play.close()
    reader, got = read(out.getvalue())
    assert all(same(a, b) for a, b in zip(got, given, strict=True)) and reader.cast.video == CONFIG
    assert list(got[0].video.places(6)) == [0, 2, 4] and list(got[1].video.places(5)) == [0, 3]
    assert reader.sections() == play.sections()


def test_it_costs_little_beside_its_packets():
    """A byte for the flags, one for the step, one a packet; two where no actor is."""
    head = header(params=3)
    track = Track(motion(6, 3), np.full((6, 4), 700, np.int32))
    before = Segment(0, 0, np.arange(6), [track]).pack(head)
    under = filmed(actors=[track]).pack(head)
    assert len(under) == len(before) + 2 + len(PACKETS) + sum(map(len, PACKETS))
    alone = filmed().pack(head)
    assert len(alone) == 2 + 1 + 2 + 1 + len(PACKETS) + sum(map(len, PACKETS)) + 2
    out = io.BytesIO()
    play = writer(out)
    play.write_video(CONFIG)
    play.write_segment(filmed())
    assert play.sections()["video"] == 5 + len(CONFIG.sequence) + 1 + len(PACKETS) + sum(map(len, PACKETS))


@pytest.mark.parametrize(
    "wrong",
    [
        filmed(on_set=0),
        filmed(camera=np.ones((6, 4), np.int32)),
        filmed(packets=PACKETS[:2]),
        filmed(packets=(*PACKETS[:2], b"")),
        filmed(7, packets=PACKETS[:1]),
        filmed(packets=(bytes(5 << 20), *PACKETS[1:])),
    ],
    ids=["set", "camera", "packet missing", "empty packet", "step", "large"],
)
def test_what_the_writer_refuses(wrong):
    out = io.BytesIO()
    play = Writer(out, header(params=3), actors=[actor()], sets=[Set(Still(1, 64, 48, 1, False, b"still"))])
    play.write_video(CONFIG)
    with pytest.raises(UsageError):
        play.write_segment(wrong)


def test_what_the_writer_refuses_of_the_header():
    play = writer(io.BytesIO())
    with pytest.raises(UsageError, match="video's header"):
        play.write_segment(filmed())
    for config in (
        VideoConfig(0, 1, b"s"),
        VideoConfig(5000, 1, b"s"),
        VideoConfig(1, 1, b""),
        VideoConfig(1, 1, b"s", 2),
    ):
        with pytest.raises(UsageError):
            play.write_video(config)
    play.write_video(CONFIG)
    play.write_video(CONFIG)
    with pytest.raises(UsageError, match="differs"):
        play.write_video(VideoConfig(320, 180, b"another"))


def test_a_crop_has_video_in_place_of_its_square():
    """And never behind it."""
    head = header(params=3, placement=False, crop=True)
    assert same(Segment.unpack(filmed().pack(head), head), filmed())
    for changes in (dict(placement=False, crop=True), dict(placement=False), dict(crop=True)):
        head = header(params=3, **changes)
        place = np.full((6, 4), 700, np.int32) if head.placement else None
        behind = filmed(actors=[Track(motion(6, 3), place)]).pack(head)
        with pytest.raises(DamagedError):
            Segment.unpack(behind, head)


def test_a_lost_header_is_said_once_and_costs_no_integers():
    whole = good.filmed()
    broken = without(whole, "VIDH", 0)
    with pytest.raises(DamagedError, match="needs the video's header"):
        read(broken)
    reader, got = read(broken, salvage=True)
    assert all(same(a, b) for a, b in zip(got, read(whole)[1], strict=True))
    assert [d.chunk for d in reader.damage] == ["VIDH"] and reader.cast.video is None


def test_a_repetition_mends_it():
    reader, got = read(without(good.filmed_late(), "VIDH", 0), salvage=True)
    assert reader.cast.video is not None and len(got) == 5


def test_joining_late_gives_the_header():
    data = good.filmed_late()
    again = [at for name, at, _ in chunks(data) if name == "HEAD"][2]
    reader, got = read(data[again:], salvage=True)
    assert [segment.index for segment in got] == [4] and reader.cast.video is not None
    assert same(got[0], read(data)[1][4])


def test_every_seek_knows_the_header():
    """Also one over it, into the middle of a stream that has it late."""
    data = good.filmed_late()
    for index in (4, 2, 0, 3):
        reader = Reader(io.BytesIO(data))
        reader.seek(index)
        segment = next(reader.segments())
        assert segment.index == index and (reader.cast.video is not None or segment.video is None)


def test_another_header_is_a_fault():
    parts = taken_apart(good.filmed_late())
    place = [i for i, (name, _) in enumerate(parts) if name == "VIDH"][1]
    parts[place] = ("VIDH", parts[place][1] + b"\0")
    with pytest.raises(DamagedError, match="differs"):
        read(joined(parts))
    reader, got = read(joined(parts), salvage=True)
    assert len(got) == 5 and reader.damage


def test_limits_are_asked_before_packets_are_taken():
    data = good.filmed()
    for limits in (Limits(max_video_bytes_per_segment=20), Limits(max_video_side=32), Limits(max_sequence_bytes=2)):
        with pytest.raises(LimitError):
            read(data, limits=limits)


def test_every_bit_is_noticed_and_costs_one_chunk():
    data = good.filmed()
    wanted = read(data)[1]
    owner, count = [None] * 8, 0
    for name, _, payload in chunks(data):
        owner += [count if name == "SEGM" else None] * (15 + len(payload))
        count += name == "SEGM"
    for bit in range(64, 8 * len(data)):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FevError):
            read(bytes(broken))
        try:
            reader, got = read(bytes(broken), salvage=True)
        except FevError:
            assert bit // 8 < 8 + 99 + 15, "without a header there is nothing to save"
            continue
        assert {s.index for s in got} == set(range(len(wanted))) - {owner[bit // 8]}
        assert all(same(s, wanted[s.index]) for s in got) and reader.damage
