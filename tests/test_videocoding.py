"""Video of a segment: coded with SVT-AV1, kept without what all packets share, decoded alone and with care."""

from __future__ import annotations

import os
import sys
import threading
from fractions import Fraction

import numpy as np
import pytest
from fev.codec.draw.footage import KEPT, Footage, between
from fev.codec.media import obu
from fev.codec.media.videodecoder import decode_video
from fev.codec.media.videoencoder import Coding, coded_size, encode_shot
from fev.format.errors import DamagedError, FevError
from fev.format.video import Video, VideoConfig

LENGTHS = (10, 10, 7)


def scene(frames: int, height: int = 90, width: int = 160, shift: int = 0) -> list[np.ndarray]:
    """A ball that crosses a pattern."""
    y, x = np.mgrid[0:height, 0:width]
    out = []
    for t in range(frames):
        ground = 110 + 40 * np.sin(x / 9 + shift) * np.cos(y / 7)
        ball = np.hypot(x - 20 - 4 * t, y - 45) < 18
        out.append(
            np.stack([np.where(ball, 220, ground), ground, np.where(ball, 40, 255 - ground)], 2).astype(np.uint8)
        )
    return out


FRAMES = scene(sum(LENGTHS))
CODING = Coding(160, 90, 1, 28, 8)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * np.log10(255**2 / max(1e-9, np.mean((a.astype(float) - b) ** 2)))


@pytest.fixture(scope="module")
def coded():
    return encode_shot(FRAMES, LENGTHS, Fraction(25), CODING)


def test_it_comes_back(coded):
    assert [len(video.packets) for video in coded.segments] == list(LENGTHS)
    pictures = [rgb for video in coded.segments for rgb in decode_video(coded.config, video)]
    assert all(rgb.shape == (90, 160, 3) for rgb in pictures)
    assert min(map(psnr, FRAMES, pictures)) > 30
    assert max(np.abs(np.mean(a, (0, 1)) - np.mean(b, (0, 1))).max() for a, b in zip(FRAMES, pictures)) < 2, "no tint"


def test_every_segment_decodes_alone(coded):
    together = [list(decode_video(coded.config, video)) for video in coded.segments]
    for video, pictures in zip(coded.segments[::-1], together[::-1]):
        for a, b in zip(decode_video(coded.config, video), pictures):
            assert np.array_equal(a, b)


def test_packets_hold_neither_delimiter_nor_sequence_header_nor_the_last_size(coded):
    assert obu.kind(coded.config.sequence) == obu.SEQUENCE_HEADER and len(obu.split(coded.config.sequence)) == 1
    for packet in (packet for video in coded.segments for packet in video.packets):
        units = obu.split(packet)
        assert not {obu.kind(unit) for unit in units} & {obu.SEQUENCE_HEADER, obu.TEMPORAL_DELIMITER}
        assert [bool(unit[0] & 2) for unit in units] == [True] * (len(units) - 1) + [False]


def test_fewer_pictures_than_frames():
    slow = encode_shot(FRAMES, LENGTHS, Fraction(25), Coding(160, 90, 3, 40, 8))
    assert [len(video.packets) for video in slow.segments] == [4, 4, 3]
    first = list(decode_video(slow.config, slow.segments[1]))
    assert [psnr(FRAMES[10 + 3 * k], rgb) > 28 for k, rgb in enumerate(first)] == [True] * 4


def test_small_pictures_are_coded_in_the_least_size():
    assert coded_size(1280, 720, 320) == (320, 180) and coded_size(720, 1280, 320) == (180, 320)
    assert coded_size(200, 100, 320) == (200, 100) and coded_size(33, 47, 320) == (64, 64)
    width, height = coded_size(33, 47, 320)
    small = encode_shot(scene(3, 47, 33), (3,), Fraction(25), Coding(width, height, 1, 40, 8))
    assert [rgb.shape for rgb in decode_video(small.config, small.segments[0])] == [(64, 64, 3)] * 3


def test_same_frames_same_bytes(coded):
    assert encode_shot(FRAMES, LENGTHS, Fraction(25), CODING) == coded


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how threads are scheduled")
def test_no_thread_is_left_with_real_time_priority(coded):
    seen = []
    thread = threading.Thread(target=lambda: seen.append(os.sched_getscheduler(0)))
    thread.start()
    thread.join()
    assert os.sched_getscheduler(0) != os.SCHED_FIFO and seen[0] != os.SCHED_FIFO


# -- damage


def test_a_size_that_was_not_announced_is_refused(coded):
    for width, height in ((158, 90), (160, 88), (90, 160)):
        config = VideoConfig(width, height, coded.config.sequence)
        with pytest.raises(DamagedError):
            list(decode_video(config, coded.segments[0]))
        assert set(decode_video(config, coded.segments[0], salvage=True)) == {None}
    roomy = VideoConfig(320, 180, coded.config.sequence)
    assert next(iter(decode_video(roomy, coded.segments[0]))).shape == (90, 160, 3), "smaller pictures are welcome"


def test_a_shot_of_another_size_brings_its_own_sequence_header(coded):
    other = encode_shot(scene(4, 72, 128), (4,), Fraction(25), Coding(128, 72, 1, 40, 8))
    assert other.config.sequence != coded.config.sequence
    under = other.under(coded.config)[0]
    assert under.packets[1:] == other.segments[0].packets[1:]
    for a, b in zip(decode_video(coded.config, under), decode_video(other.config, other.segments[0]), strict=True):
        assert np.array_equal(a, b)
    assert coded.under(coded.config) == coded.segments
    with pytest.raises(FevError, match="larger"):
        coded.under(other.config)


def test_a_segment_that_does_not_begin_with_a_key_frame_is_refused(coded):
    video = Video(1, coded.segments[0].packets[1:])
    with pytest.raises(DamagedError):
        list(decode_video(coded.config, video))
    mixed = Video(1, (coded.segments[1].packets[0], *coded.segments[0].packets[2:]))
    for rgb in decode_video(coded.config, mixed, salvage=True):
        assert rgb is None or rgb.shape == (90, 160, 3)


def test_what_is_behind_a_bad_packet_is_held(coded):
    packets = list(coded.segments[0].packets)
    packets[4] = b"\x32" + bytes(20)
    video = Video(1, tuple(packets))
    with pytest.raises(DamagedError):
        list(decode_video(coded.config, video))
    got = list(decode_video(coded.config, video, salvage=True))
    assert [rgb is None for rgb in got] == [False] * 4 + [True] * 6
    footage = Footage(coded.config, video, np.arange(10), salvage=True)
    assert all(np.array_equal(footage.at(place), got[3]) for place in range(4, 10))
    dead = Video(1, (b"\x32" + bytes(20), *packets[1:]))
    assert Footage(coded.config, dead, np.arange(10), salvage=True).at(9) is None


def test_flipped_bits_do_no_harm(coded):
    """Under checks that are right: one bit of a packet or of the sequence header, all of them in a small segment."""
    small = encode_shot(scene(3, 64, 64), (3,), Fraction(25), Coding(64, 64, 1, 63, 8))
    config, video = small.config, small.segments[0]
    whole = [config.sequence, *video.packets]
    for which, data in enumerate(whole):
        for bit in range(0, 8 * len(data), 1 if which == 0 else 3):
            bad = bytearray(data)
            bad[bit // 8] ^= 1 << bit % 8
            sequence, *packets = [*whole[:which], bytes(bad), *whole[which + 1 :]]
            given = VideoConfig(64, 64, sequence), Video(1, tuple(packets))
            for rgb in decode_video(*given, salvage=True):
                assert rgb is None or (rgb.shape[0] <= 64 and rgb.shape[1] <= 64)
            try:
                assert len(list(decode_video(*given))) == 3
            except DamagedError as error:
                assert "\n" not in str(error)


@pytest.mark.parametrize("data", [b"", b"\x12\0", b"\x80\0", b"\x0a", b"\x0a\x05abc", b"\x0a" + b"\xff" * 9, b"\x06"])
def test_no_units(data):
    with pytest.raises(DamagedError):
        obu.packet_of(data)


def test_units_of_any_bytes():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        data = bytes(rng.integers(0, 256, rng.integers(1, 30), np.uint8))
        try:
            assert b"".join(obu.split(data)) == data
        except DamagedError:
            pass


# -- frames between pictures


def test_frames_between_two_pictures_are_on_the_way(coded):
    pts = np.array([0, 10, 20, 30, 40, 50, 90])
    video = Video(3, coded.segments[0].packets[:3])
    pictures = list(decode_video(coded.config, video))
    footage = Footage(coded.config, video, pts, salvage=False)
    assert np.array_equal(footage.at(0), pictures[0]) and np.array_equal(footage.at(3), pictures[1])
    assert np.array_equal(footage.at(1), between(pictures[0], pictures[1], 85))
    assert np.array_equal(footage.at(5), between(pictures[1], pictures[2], 85)), "by time, not by number"
    one = Footage(coded.config, Video(7, video.packets[:1]), pts, salvage=False)
    assert np.array_equal(one.at(6), pictures[0]), "nothing comes after the last"


def test_any_order_and_several_threads(coded):
    video = coded.segments[0]
    wanted = list(decode_video(coded.config, video))
    footage = Footage(coded.config, video, np.arange(10), salvage=False)
    for place in (9, 0, 5, 4, 9, 1):
        assert np.array_equal(footage.at(place), wanted[place])
    found: dict[int, np.ndarray] = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: footage.at(n)})) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(found[n], wanted[n]) for n in range(10))


def test_few_pictures_are_kept():
    long = encode_shot(scene(40, 64, 64), (40,), Fraction(25), Coding(64, 64, 1, 60, 8))
    footage = Footage(long.config, long.segments[0], np.arange(40), salvage=False)
    for place in range(40):
        footage.at(place)
    assert len(footage._kept) == KEPT


def test_a_fault_is_said_to_every_thread(coded):
    packets = (*coded.segments[0].packets[:2], b"\x32" + bytes(20), *coded.segments[0].packets[3:])
    footage = Footage(coded.config, Video(1, packets), np.arange(10), salvage=False)
    for place in (7, 8, 2):
        with pytest.raises(DamagedError, match="no AV1 picture"):
            footage.at(place)
    assert footage.at(1) is not None
