"""Video of a segment lies beneath its actors: alone, under a square, at fewer pictures, after damage."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import fev
import numpy as np
import pytest
import torch
from fev.codec.draw import render as render_room
from fev.codec.draw.frames import FrameDecoder
from fev.codec.draw.options import DecodeOptions
from fev.codec.face.warp import resize
from fev.codec.media import colour
from fev.codec.media.videodecoder import decode_video
from fev.codec.media.videoencoder import Coding, encode_shot
from fev.format import Header, Reader, Segment, Set, Video, Writer
from fev.format.errors import DamagedError
from fev.tools import fev_draw, fev_model, fev_read
from fev.tools.info import describe, render
from test_fev_draw import compare
from test_stage_drawing import (
    AHEAD,
    FRAMES,
    HEIGHT,
    RED,
    WIDTH,
    Pipe,
    actor,
    destroyed,
    inside,
    pictures,
    plain,
    same,
    track,
)
from test_videocoding import scene

SHOT = scene(2 * FRAMES, 90, 160)
LENGTHS = (FRAMES, FRAMES)


@pytest.fixture(scope="module")
def coded():
    return encode_shot(SHOT, LENGTHS, Fraction(25), Coding(64, 64, 1, 30, 10))


@pytest.fixture(scope="module")
def slow():
    return encode_shot(SHOT, LENGTHS, Fraction(25), Coding(64, 64, 2, 30, 10))


def stream(sha: str, config, *stages: dict, sets=(), repeat: int = 0, **header) -> bytes:
    """Segments of FRAMES frames: what each has beside its times."""
    facts = {"width": WIDTH, "height": HEIGHT, "placement": True, "params": 35, "segment_frames": FRAMES, **header}
    head = Header(time_base=(1, 25), fps=(25, 1), model_sha256=bytes.fromhex(sha), **facts)
    out = io.BytesIO()
    with Writer(out, head, actors=[actor(0)], sets=sets, repeat_header_every=repeat) as writer:
        writer.write_video(config)
        for i, stage in enumerate(stages):
            times = np.arange(FRAMES * i, FRAMES * i + FRAMES)
            writer.write_segment(Segment(i, FRAMES * i, times, **{"actors": [], "on_set": None, **stage}))
    return out.getvalue()


def filmed(coded) -> list[dict]:
    return [{"video": video} for video in coded.segments]


def test_a_shot_of_nobody_is_its_video(tiny_model, coded):
    shown = pictures(stream(tiny_model.sha256, coded.config, *filmed(coded)), tiny_model)
    wanted = [resize(rgb, WIDTH, HEIGHT) for video in coded.segments for rgb in decode_video(coded.config, video)]
    assert same(shown, wanted)
    assert all(np.abs(a.astype(int) - resize(b, WIDTH, HEIGHT)).mean() < 12 for a, b in zip(shown, SHOT))


def test_actors_stand_before_it(tiny_model, coded):
    """As before any set: the same square on another ground."""
    both = pictures(
        stream(tiny_model.sha256, coded.config, {"video": coded.segments[0], "actors": [track()]}), tiny_model
    )
    film = pictures(stream(tiny_model.sha256, coded.config, {"video": coded.segments[0]}), tiny_model)
    black = pictures(stream(tiny_model.sha256, coded.config, {"actors": [track()]}), tiny_model)
    for shown, beneath, alone in zip(both, film, black):
        assert (shown[inside(AHEAD)] == alone[inside(AHEAD)]).all()
        assert (shown[:, :10] == beneath[:, :10]).all() and (shown[:5] == beneath[:5]).all()


def test_then_a_set_stands_again(tiny_model, coded):
    stages = [{"video": coded.segments[0]}, {"actors": [], "on_set": 0}]
    shown = pictures(stream(tiny_model.sha256, coded.config, *stages, sets=[Set(plain(*RED))]), tiny_model)
    assert np.abs(shown[FRAMES][0, 0].astype(int) - RED).max() <= 3 and (shown[0][0, 0] != shown[FRAMES][0, 0]).any()


def test_fewer_pictures_are_blended(tiny_model, slow):
    shown = pictures(stream(tiny_model.sha256, slow.config, *filmed(slow)), tiny_model)
    first, second = decode_video(slow.config, slow.segments[0])
    middle = (first.astype(int) + second + 1) // 2
    assert same(shown[:3], [resize(rgb, WIDTH, HEIGHT) for rgb in (first, middle.astype(np.uint8), second)])
    assert same(shown[3:4], shown[2:3]), "nothing comes after the last"


def test_the_second_decoder_draws_the_same(tiny_model, tiny_model_bytes, slow, monkeypatch):
    monkeypatch.setattr(render_room, "pick_dtype", lambda device: torch.float32)
    stages = [{"video": slow.segments[0], "actors": [track()]}, {"video": slow.segments[1]}]
    for size in ((WIDTH, HEIGHT), (60, 50)):
        data = stream(tiny_model.sha256, slow.config, *stages, width=size[0], height=size[1])
        other, planes = fev_read.read(data), {}
        for segment in other["segments"]:
            decoder = av.CodecContext.create("libdav1d", "r")
            decoder.thread_count = 1
            before = other["video"]["sequence"]
            for k, packet in enumerate(segment["video"][1]):
                frames = decoder.decode(av.Packet(before + packet))
                planes["video", segment["index"], k] = tuple(colour.planes(frames[0]))
                before = b""
        drawing = fev_draw.Drawing(other, fev_model.Model(tiny_model_bytes), planes)
        theirs = [drawing.frame(*frame) for frame in fev_draw.frames(other)]
        compare(theirs, pictures(data, tiny_model), "still, enlarged")


def test_any_part_is_drawn_alike(tiny_model, coded):
    data = stream(tiny_model.sha256, coded.config, *filmed(coded))
    whole = pictures(data, tiny_model)
    reader = Reader(io.BytesIO(data))
    decoder = FrameDecoder(reader, DecodeOptions(device="cpu"), tiny_model)
    for index in (1, 0, 1):
        reader.seek(index)
        segment = next(reader.segments())
        for rows in (np.array([3]), np.array([0, 1]), np.arange(FRAMES)):
            got = [rgb for _, rgb in decoder.pictures(segment, rows)]
            assert same(got, [whole[FRAMES * index + row] for row in rows])


def test_a_smaller_picture(tiny_model, coded):
    data = stream(tiny_model.sha256, coded.config, *filmed(coded))
    for coarse in (False, True):
        assert pictures(data, tiny_model, size=48, coarse=coarse)[0].shape == (36, 48, 3)


def test_in_place_of_the_aligned_square(tiny_model, coded):
    head = dict(crop=True, placement=False, width=64, height=64)
    alone = track()
    alone.placement = None
    stages = [{"actors": [alone], "on_set": 0}, {"video": coded.segments[0]}]
    shown = pictures(stream(tiny_model.sha256, coded.config, *stages, **head), tiny_model)
    assert same(shown[FRAMES:], list(decode_video(coded.config, coded.segments[0])))


# -- damage


def test_a_lost_header_is_black_beneath_the_actors(tiny_model, coded):
    whole = stream(tiny_model.sha256, coded.config, {"video": coded.segments[0], "actors": [track()]})
    broken = destroyed(whole, b"VIDH")
    with pytest.raises(DamagedError):
        pictures(broken, tiny_model)
    black = pictures(stream(tiny_model.sha256, coded.config, {"actors": [track()]}), tiny_model)
    assert same(pictures(broken, tiny_model, salvage=True), black)


def test_a_repeated_header_mends_it(tiny_model, coded):
    stages = [*filmed(coded), *filmed(coded)]
    whole = stream(tiny_model.sha256, coded.config, *stages, repeat=1)
    broken = destroyed(whole, b"VIDH")
    assert same(pictures(broken, tiny_model, salvage=True), pictures(whole, tiny_model))


def test_what_cannot_be_decoded_is_held_and_counted(tiny_model, tiny_model_file, coded):
    packets = list(coded.segments[0].packets)
    packets[2] = b"\x32" + bytes(9)
    data = stream(tiny_model.sha256, coded.config, {"video": Video(1, tuple(packets))}, filmed(coded)[1])
    with pytest.raises(DamagedError):
        pictures(data, tiny_model)
    shown = pictures(data, tiny_model, salvage=True)
    whole = pictures(stream(tiny_model.sha256, coded.config, *filmed(coded)), tiny_model)
    assert same(shown[:2], whole[:2]) and same(shown[2:4], [whole[1]] * 2) and same(shown[4:], whole[4:])
    report = fev.decode(io.BytesIO(data), io.BytesIO(), container="mp4", model=str(tiny_model_file), salvage=True)
    assert report.frames == 2 * FRAMES and report.incomplete == 2


def test_a_lost_segment_is_held(tiny_model, coded):
    whole = stream(tiny_model.sha256, coded.config, *filmed(coded), *filmed(coded))
    broken = destroyed(whole, b"SEGM", 1)
    shown, wanted = pictures(broken, tiny_model, salvage=True), pictures(whole, tiny_model)
    assert same(shown[FRAMES : 2 * FRAMES], [wanted[FRAMES - 1]] * FRAMES)
    assert same(shown[2 * FRAMES :], wanted[2 * FRAMES :])


def test_info_says_what_there_is(tiny_sha, coded, slow):
    facts = describe(io.BytesIO(stream(tiny_sha, slow.config, *filmed(slow), {"actors": [track()]})))
    size = facts["sections"]["video"] - 5 - len(slow.config.sequence)
    assert facts["video"] == dict(codec="av1", width=64, height=64, frames=2 * FRAMES, pictures=FRAMES, bytes=size)
    assert f"video av1: 64x64, {FRAMES} pictures in {2 * FRAMES} frames, {size} bytes" in render(facts)
    assert describe(io.BytesIO(stream(tiny_sha, coded.config, {"actors": [track()]})))["video"] is None


def test_who_joins_late_waits_for_the_header(tiny_model, coded):
    """Of a stream that repeats what is alive every second segment."""
    whole = stream(tiny_model.sha256, coded.config, *filmed(coded), *filmed(coded), repeat=2)
    setup = whole[whole.index(b"\xf5\xedHEAD") : whole.index(b"\xf5\xedACTR")]
    joined = setup + whole[whole.index(b"\xf5\xedSEGM", whole.index(b"\xf5\xedSEGM") + 1) :]
    reader = Reader(Pipe(joined), salvage=True)
    decoder = FrameDecoder(reader, DecodeOptions(device="cpu"), tiny_model)
    kept = [segment for segment in reader.segments() if not decoder.awaits(segment)]
    assert [segment.index for segment in kept] == [2, 3]
    assert same(
        [rgb for segment in kept for _, rgb in decoder.segment(segment)], pictures(whole, tiny_model)[2 * FRAMES :]
    )
