"""The decoder draws what stands on stage: sets, cameras, actors one over the other, patches, revisions."""

from __future__ import annotations

import io
import time

import fev
import numpy as np
import pytest
from fev.codec.draw.frames import FrameDecoder
from fev.codec.draw.kept import Kept
from fev.codec.draw.options import DecodeOptions
from fev.codec.draw.units import step_code
from fev.codec.face.paste import EDGE
from fev.codec.face.warp import halved, halvings
from fev.codec.media.identities import read_identity
from fev.codec.media.still import encode_still
from fev.format import Actor, Header, Patch, Place, Reader, Segment, Set, Still, Track, Writer
from fev.format.errors import DamagedError, FevError, UsageError
from fev.format.part import cut
from fev.tools.info import describe, render
from fev.tools.player.clock import Clock
from fev.tools.player.feed import Feed

WIDTH, HEIGHT, FRAMES = 96, 72, 4  # of the picture; of a segment


def still_of(rgb: np.ndarray) -> Still:
    return Still(1, rgb.shape[1], rgb.shape[0], 1, False, encode_still(rgb, 100))


def plain(*colour: int) -> Still:
    return still_of(np.full((HEIGHT, WIDTH, 3), colour, np.uint8))


RED, BLUE, GREEN = (200, 40, 40), (40, 40, 200), (40, 200, 40)
SETS = [Set(plain(*RED)), Set(plain(*BLUE), 1)]
LEFT, RIGHT, AHEAD = (30, 36, 24), (60, 36, 24), (48, 36, 30)  # centre and half side of a square


def actor(number: int, revision: int = 0) -> Actor:
    values = np.array([3 + number, revision, 9 * number - 4], np.int32)
    return Actor.of(values, step_code(0.5), step_code(0.25), number=number, revision=revision)


def track(number: int = 0, revision: int = 0, spot: tuple[int, int, int] = AHEAD) -> Track:
    motion = np.random.default_rng(number).integers(-3, 4, (FRAMES, 35)).astype(np.int32)
    return Track(motion, np.tile(np.array([*(8 * v for v in spot), 0], np.int32), (FRAMES, 1)), None, number, revision)


def stream(sha: str, *stages: dict, actors=((0, 0), (1, 0)), sets=SETS, **header) -> bytes:
    """Segments of FRAMES frames: what each has beside its times."""
    facts = {"width": WIDTH, "height": HEIGHT, "placement": True, "params": 35, "segment_frames": FRAMES, **header}
    head = Header(time_base=(1, 25), fps=(25, 1), model_sha256=bytes.fromhex(sha), **facts)
    out = io.BytesIO()
    with Writer(out, head, actors=[actor(*key) for key in actors], sets=sets) as writer:
        for i, stage in enumerate(stages):
            writer.write_segment(Segment(i, FRAMES * i, np.arange(FRAMES * i, FRAMES * i + FRAMES), **stage))
    return out.getvalue()


def pictures(data: bytes, model, **options) -> list[np.ndarray]:
    chosen = DecodeOptions(device="cpu", **options)
    decoder = FrameDecoder(reader := Reader(io.BytesIO(data), salvage=chosen.salvage), chosen, model)
    return [rgb for _, rgb in decoder.frames(reader.segments())]


def inside(spot: tuple[int, int, int]) -> tuple[slice, slice]:
    """Rows and columns where a square hides what is beneath."""
    x, y, half = spot
    reach = int(half * (1 - EDGE)) - 1
    return slice(y - reach, y + reach), slice(x - reach, x + reach)


def destroyed(data: bytes, name: bytes, which: int = 0) -> bytes:
    """With one chunk of a type damaged beyond repair."""
    at = -1
    for _ in range(which + 1):
        at = data.index(b"\xf5\xed" + name, at + 1)
    return data[: at + 14] + bytes([data[at + 14] ^ 255]) + data[at + 15 :]


def same(ours: list[np.ndarray], theirs: list[np.ndarray]) -> bool:
    return len(ours) == len(theirs) > 0 and all((a == b).all() for a, b in zip(ours, theirs, strict=True))


class Pipe:
    """Bytes that come once."""

    def __init__(self, data: bytes):
        self.read = io.BytesIO(data).read


def until(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.002)


# -- actors


def test_parts_show_what_their_segment_shows_as_they_arrive(tiny_model):
    stages = [{"actors": [track(0, spot=LEFT), track(1, spot=RIGHT)], "camera": CAMERA}, {"actors": [track(1)]}]
    data = stream(tiny_model.sha256, *stages)
    whole, out = Reader(io.BytesIO(data)), io.BytesIO()
    with Writer(out, whole.header, actors=[actor(0), actor(1)], sets=SETS) as writer:
        for segment in whole.segments():
            for part in cut(segment, (1, 2, 1), whole.header):
                writer.write_segment(part)
    assert same(pictures(out.getvalue(), tiny_model), pictures(data, tiny_model))
    decoder = FrameDecoder(Reader(io.BytesIO(out.getvalue())), DecodeOptions(device="cpu"), tiny_model)
    arrived = [rgb.astype(int) for _, rgb in decoder.frames(decoder.reader.arriving())]
    # Other numbers of frames are drawn at once: a generator's float32 rounds by one level (spec, 13).
    assert all(np.abs(a - b).max() <= 1 for a, b in zip(arrived, pictures(data, tiny_model), strict=True))


def test_actors_stand_in_their_order(tiny_model):
    def drawn(*tracks: Track) -> np.ndarray:
        return pictures(stream(tiny_model.sha256, {"actors": list(tracks)}), tiny_model)[1]

    left, right = track(0, spot=LEFT), track(1, spot=RIGHT)
    both, swapped, alone = drawn(left, right), drawn(right, left), {0: drawn(left), 1: drawn(right)}
    assert (alone[0][inside(LEFT)] != alone[1][inside(LEFT)]).any()
    assert (both[inside(RIGHT)] == alone[1][inside(RIGHT)]).all()
    assert (swapped[inside(LEFT)] == alone[0][inside(LEFT)]).all()
    overlap = (slice(30, 42), slice(42, 48))
    assert (both[overlap] == alone[1][overlap]).all() and (swapped[overlap] == alone[0][overlap]).all()
    assert (both[:, :30] == alone[0][:, :30]).all() and (both[:, 60:] == alone[1][:, 60:]).all()
    assert np.abs(both[0, 0].astype(int) - RED).max() <= 3


def test_the_segment_says_which_revision(tiny_model):
    stages = [{"actors": [track(0, revision)]} for revision in (0, 1, 0)]
    mixed = pictures(stream(tiny_model.sha256, *stages, actors=[(0, 0), (0, 1)]), tiny_model)
    old = pictures(stream(tiny_model.sha256, stages[0], actors=[(0, 0)]), tiny_model)
    assert same(mixed[:FRAMES], old) and same(mixed[2 * FRAMES :], old) and not same(mixed[FRAMES : 2 * FRAMES], old)


def test_a_stage_without_actors_is_the_set(tiny_model):
    nobody = pictures(stream(tiny_model.sha256, {"actors": []}, {"actors": [], "on_set": None}), tiny_model)
    assert np.abs(nobody[0].astype(int) - RED).max() <= 3 and not nobody[FRAMES].any()
    gone = track()
    gone.placement[1, 2] = 0
    shown = pictures(stream(tiny_model.sha256, {"actors": [gone, track(1, spot=RIGHT)]}), tiny_model)
    other = pictures(stream(tiny_model.sha256, {"actors": [track(1, spot=RIGHT)]}), tiny_model)
    assert (shown[1] == other[1]).all() and (shown[0] != other[0]).any()


def test_a_patch_stands_for_the_square_in_its_frames(tiny_model):
    tracks = [track(0, spot=LEFT), track(1, spot=RIGHT)]
    patch = Patch(0, 1, 2, plain(*GREEN))
    without = pictures(stream(tiny_model.sha256, {"actors": tracks}), tiny_model)
    patched = pictures(stream(tiny_model.sha256, {"actors": tracks, "patches": [patch]}), tiny_model)
    for i in range(FRAMES):
        rows, columns = inside(LEFT)
        seen = patched[i][rows, slice(columns.start, 36)].astype(int)
        assert (np.abs(seen - GREEN).max() <= 3) == (i in (1, 2))
        assert (patched[i][inside(RIGHT)] == without[i][inside(RIGHT)]).all()
    assert same(patched[3:], without[3:])


def test_crop_is_the_square_of_one(tiny_model):
    stages = ([track(1), track(0)], [track(1)], [])
    data = stream(tiny_model.sha256, *({"actors": tracks} for tracks in stages))
    first = pictures(data, tiny_model, crop=True)
    other = pictures(data, tiny_model, crop=True, actor=1)
    assert first[0].shape == (64, 64, 3) and (first[0] != other[0]).any()
    assert same(first[FRAMES : 2 * FRAMES], other[FRAMES : 2 * FRAMES])  # the only one there
    zero = pictures(data, tiny_model, crop=True, actor=0)
    assert same(zero[:FRAMES], first[:FRAMES]) and not np.any(zero[FRAMES:]) and not np.any(first[2 * FRAMES :])


def test_an_actor_who_is_not_there_is_refused(tiny_model, tiny_model_file):
    data = stream(tiny_model.sha256, {"actors": [track(1), track(0)]})
    with pytest.raises(FevError, match="actor 7 is not on stage in what was decoded, but actors 0, 1"):
        fev.decode(io.BytesIO(data), io.BytesIO(), container="mp4", model=str(tiny_model_file), crop=True, actor=7)
    with pytest.raises(UsageError, match="crop"):
        DecodeOptions(actor=1)


def test_the_square_itself_of_nobody_is_the_set(tiny_model):
    stages = {"actors": [track()]}, {"actors": []}
    data = stream(tiny_model.sha256, *stages, crop=True)
    got = pictures(data, tiny_model)
    assert np.abs(got[FRAMES].astype(int) - RED).max() <= 3 and got[0].shape == got[FRAMES].shape
    assert not same(got[:FRAMES], got[FRAMES:])


# -- sets and cameras


def test_a_cut_to_another_set_and_back(tiny_model):
    stages = [{"actors": [track(n)], "on_set": n} for n in (0, 1, 0)]
    data = stream(tiny_model.sha256, *stages)
    got = pictures(data, tiny_model)
    for i, colour in enumerate((RED, BLUE, RED)):
        assert np.abs(got[FRAMES * i][0, 0].astype(int) - colour).max() <= 3
    assert same(got[:FRAMES], got[2 * FRAMES :])


def room(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A smooth wall at places in pixels of a set."""
    return np.stack(
        [128 + 60 * np.sin(x / 9 + y / 31), 128 + 70 * np.cos(y / 11), 128 + 50 * np.sin(y / 13 - x / 10)], -1
    )


def wall(width: int, height: int, stretch: float = 1.0) -> Still:
    y, x = np.mgrid[0:height, 0:width] + 0.5
    return still_of(np.rint(room(x / stretch, y / stretch)).astype(np.uint8))


CAMERA = np.array([[0, 0, 0, 0], [6, -11, 15, 32], [-50, 18, -36, -20], [-50, 18, -36, -20]], np.int32)


@pytest.mark.parametrize("stretch", [1.0, 1.5, 3.5])
def test_a_large_set_under_a_moving_camera(tiny_model, stretch):
    """Against the wall's own formula, at the places that the spec of the camera names."""
    width, height = (round(v * stretch) for v in (200, 160))
    place = Place(round(256 * stretch), -8 * 40, -8 * 30)
    data = stream(
        tiny_model.sha256, {"actors": [], "camera": CAMERA}, sets=[Set(wall(width, height, stretch), place=place)]
    )
    got = pictures(data, tiny_model)
    for i, (x, y, s, a) in enumerate(CAMERA):
        rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
        shown = (columns - WIDTH / 2 - x / 4) + 1j * (rows - HEIGHT / 2 - y / 4)
        edges = WIDTH + HEIGHT
        at = shown / (1 + s / edges) / np.exp(1j * a / edges) + WIDTH / 2 + 1j * HEIGHT / 2
        distance = np.abs(got[i] - room(at.real + 40, at.imag + 30))
        assert distance.max() <= 6 and distance.mean() < 1.2, (i, distance.max(), distance.mean())
    assert (got[2] == got[3]).all()


def test_the_camera_does_not_move_actors(tiny_model):
    stages = {"actors": [track()]}, {"actors": [track()], "camera": CAMERA}
    still, moved = np.split(
        np.stack(pictures(stream(tiny_model.sha256, *stages, sets=[Set(wall(96, 72))]), tiny_model)), 2
    )
    square = (slice(None), *inside(AHEAD))
    assert (still[square] == moved[square]).all() and (still[0] == moved[0]).all()
    assert np.abs(still[1].astype(int) - moved[1])[:8].mean() > 3


def test_beyond_a_set_stands_its_edge(tiny_model):
    far = np.array([[4 * 200, 0, 0, 0], [0, 4 << 20, 0, 0], [0, 0, 1 - WIDTH - HEIGHT, 0], [-4, 0, 0, 0]], np.int32)
    data = stream(tiny_model.sha256, {"actors": [], "camera": far}, sets=[Set(wall(96, 72))])
    rest = pictures(stream(tiny_model.sha256, {"actors": []}, sets=[Set(wall(96, 72))]), tiny_model)[0]
    got = pictures(data, tiny_model)
    assert (got[0] == rest[:, :1]).all() and (got[1] == rest[:1]).all()
    assert (got[3][:, :-1] == rest[:, 1:]).all() and (got[3][:, -1] == rest[:, -1]).all()
    assert (
        np.abs(got[2][HEIGHT // 2, WIDTH // 2] - rest.mean((0, 1))).max() <= 1 and (got[2][0, 0] == got[2][1, 1]).all()
    )


MOST = (1 << 30) - 1


@pytest.mark.parametrize("place", [None, Place(1, -MOST, MOST), Place(65535, 8, 8), Place(65535, -MOST, -MOST)])
def test_the_farthest_that_can_be_said(tiny_model, place):
    """Every picture is some of the set's colours; nothing overflows."""
    far = 1 - WIDTH - HEIGHT
    camera = np.array([[MOST, -MOST, 0, 0], [0, 0, MOST, MOST], [0, 0, far, -MOST], [MOST, 0, far, 7]], np.int32)
    spots = track()
    spots.placement[:] = [[MOST, MOST, MOST, MOST], [-MOST, 0, MOST, 0], [400, 300, 1, MOST], [0, 0, -MOST, 0]]
    still = still_of(np.where(np.arange(WIDTH)[:, None] < 50, RED, BLUE).astype(np.uint8)[None].repeat(HEIGHT, 0))
    for tracks in ([], [spots]):
        data = stream(tiny_model.sha256, {"actors": tracks, "camera": camera}, sets=[Set(still, 0, place)])
        assert [picture.shape for picture in pictures(data, tiny_model)] == FRAMES * [(HEIGHT, WIDTH, 3)]
    got = np.stack(
        pictures(stream(tiny_model.sha256, {"actors": [], "camera": camera}, sets=[Set(still, 0, place)]), tiny_model)
    )
    assert (got[..., 1] < 60).all() and np.abs(got[..., 0].astype(int) + got[..., 2] - 240).max() < 30


def test_halving():
    assert [halvings(z) for z in (0.1, 1.5, 1.51, 3, 3.01, 2**20)] == [0, 0, 1, 1, 2, 20]
    picture = np.arange(7 * 5 * 3, dtype=np.uint8).reshape(7, 5, 3)
    assert halved(picture, 1).shape == (4, 3, 3) and halved(picture, 9).shape == (1, 1, 3)
    assert (halved(picture, 9)[0, 0] == np.rint(picture.mean((0, 1)))).all()


@pytest.mark.parametrize("coarse", [False, True])
def test_smaller_pictures_show_the_same(tiny_model, coarse):
    stage = {"actors": [track(0, spot=LEFT), track(1, spot=RIGHT)], "camera": CAMERA}
    place = Place(384, -8 * 40, -8 * 30)
    for sets in ([Set(wall(300, 240, 1.5), place=place)], [Set(wall(96, 72))]):
        data = stream(tiny_model.sha256, stage, sets=sets)
        large = pictures(data, tiny_model)
        small = pictures(data, tiny_model, size=48, coarse=coarse)
        for a, b in zip(large, small, strict=True):
            shrunk = a.reshape(36, 2, 48, 2, 3).mean((1, 3))
            assert b.shape == (36, 48, 3) and np.abs(shrunk - b).mean() < (3 if coarse else 0.6)


# -- seeking, and what was lost


@pytest.fixture(scope="module")
def play(tiny_sha) -> bytes:
    """A stage of every kind, one after the other."""
    stages = [
        {"actors": [track(0)]},
        {"actors": [track(1, spot=RIGHT), track(0, 1, spot=LEFT)], "on_set": 1},
        {"actors": [], "on_set": 2, "camera": CAMERA},
        {"actors": [track(1)], "on_set": None, "patches": [Patch(0, 0, 3, plain(*GREEN))]},
        {"actors": [track(0, 1)], "camera": CAMERA[::-1].copy()},
    ]
    sets = [*SETS, Set(wall(200, 160), 2, Place(256, -8 * 40, -8 * 30))]
    return stream(tiny_sha, *stages, actors=[(0, 0), (1, 0), (0, 1)], sets=sets)


@pytest.mark.parametrize("segment", range(5))
def test_a_seek_into_each(tiny_model, tiny_model_file, play, segment, monkeypatch):
    whole = pictures(play, tiny_model)
    reader = Reader(io.BytesIO(play))
    decoder = FrameDecoder(reader, DecodeOptions(device="cpu"), tiny_model)
    reader.seek(segment)
    got = [rgb for _, rgb in decoder.segment(next(reader.segments()))]
    assert same(got, whole[FRAMES * segment : FRAMES * (segment + 1)])
    begin = FRAMES * segment / 25
    out = io.BytesIO()
    made = fev.decode(io.BytesIO(play), out, container="y4m", model=str(tiny_model_file), start=begin, duration=0.16)
    assert made.frames == FRAMES and not made.incomplete
    full = io.BytesIO()
    fev.decode(io.BytesIO(play), full, container="y4m", model=str(tiny_model_file))
    size = len(b"FRAME\n") + WIDTH * HEIGHT * 3 // 2
    assert out.getvalue()[-FRAMES * size :] == full.getvalue()[-(5 - segment) * FRAMES * size :][: FRAMES * size]


def test_a_lost_actor_costs_the_segments_that_need_it(tiny_model, tiny_model_file, play):
    whole = pictures(play, tiny_model)
    broken = destroyed(play, b"ACTR", 1)
    with pytest.raises(DamagedError):
        pictures(broken, tiny_model)
    got = pictures(broken, tiny_model, salvage=True)
    for i in (0, 2, 4):
        assert same(got[FRAMES * i : FRAMES * i + FRAMES], whole[FRAMES * i : FRAMES * i + FRAMES])
    alone = stream(tiny_model.sha256, {"actors": [track(0, 1, spot=LEFT)], "on_set": 1}, actors=[(0, 0), (0, 1)])
    assert same(got[FRAMES : 2 * FRAMES], pictures(alone, tiny_model))  # the other one, before the set
    assert same(got[3 * FRAMES : 4 * FRAMES - 1], whole[3 * FRAMES : 4 * FRAMES - 1])  # patches are there
    assert not got[4 * FRAMES - 1].any()
    report = fev.decode(io.BytesIO(broken), io.BytesIO(), container="mp4", model=str(tiny_model_file), salvage=True)
    assert report.frames == 5 * FRAMES and report.incomplete == FRAMES + 1 == report.notices["incomplete"]


def test_a_lost_set_is_black(tiny_model, tiny_model_file, play):
    whole = pictures(play, tiny_model)
    broken = destroyed(play, b"SETT", 1)
    with pytest.raises(DamagedError):
        pictures(broken, tiny_model)
    got = pictures(broken, tiny_model, salvage=True)
    for i in (0, 2, 3, 4):
        assert same(got[FRAMES * i : FRAMES * i + FRAMES], whole[FRAMES * i : FRAMES * i + FRAMES])
    assert not got[FRAMES][0, 0].any() and (got[FRAMES][inside(LEFT)] == whole[FRAMES][inside(LEFT)]).all()
    report = fev.decode(io.BytesIO(broken), io.BytesIO(), container="mp4", model=str(tiny_model_file), salvage=True)
    assert report.incomplete == FRAMES


def test_who_joins_late_waits_for_a_segment_that_is_whole(tiny_model, tiny_model_file):
    """Of a stream that repeats what is alive every third segment, from before the second on."""
    facts = {"width": WIDTH, "height": HEIGHT, "placement": True, "params": 35, "segment_frames": FRAMES}
    head = Header(time_base=(1, 25), fps=(25, 1), model_sha256=bytes.fromhex(tiny_model.sha256), **facts)
    out, places = io.BytesIO(), []
    with Writer(out, head, actors=[actor(0), actor(1)], sets=SETS, repeat_header_every=3) as writer:
        for i in range(6):
            places.append(writer.bytes_written)
            writer.write_segment(Segment(i, FRAMES * i, np.arange(FRAMES * i, FRAMES * i + FRAMES), [track(i % 2)]))
    data = out.getvalue()
    whole = pictures(data, tiny_model)
    # A header and a set without actors come first, as where a part of the repetition was lost.
    setup = data[data.index(b"\xf5\xedHEAD") : data.index(b"\xf5\xedSETT")]
    joined = setup + data[places[1] :]
    options = {"container": "y4m", "model": str(tiny_model_file), "salvage": True}
    report = fev.decode(Pipe(joined), io.BytesIO(), **options)
    assert report.frames == 3 * FRAMES and not report.incomplete
    reader = Reader(Pipe(joined), salvage=True)
    decoder = FrameDecoder(reader, DecodeOptions(device="cpu"), tiny_model)
    kept = [segment for segment in reader.segments() if not decoder.awaits(segment)]
    assert [segment.index for segment in kept] == [3, 4, 5]
    assert same([rgb for segment in kept for _, rgb in decoder.segment(segment)], whole[3 * FRAMES :])


def test_a_player_goes_to_any_of_it(tiny_model, tiny_model_file, play, one_thread):
    whole = pictures(play, tiny_model)
    feed = Feed(io.BytesIO(play), DecodeOptions(model=str(tiny_model_file), device="cpu"), Clock())
    feed.start()
    assert feed.ready.wait(20) and feed.error is None
    try:
        for i in (3, 1, 4, 0, 2):
            assert feed.seek(FRAMES * i / 25 + 0.001)
            until(lambda: feed.pictures or feed.error)
            shown = feed.pictures[0]
            assert shown.turn == feed.turn and np.abs(shown.rgb.astype(int) - whole[FRAMES * i]).mean() < 0.5
    finally:
        feed.stop()


def test_everything_lost_is_black(tiny_model):
    data = stream(tiny_model.sha256, {"actors": [track()]}, actors=[(0, 0)], sets=SETS[:1])
    got = pictures(destroyed(destroyed(data, b"ACTR"), b"SETT"), tiny_model, salvage=True)
    assert len(got) == FRAMES and not np.any(got)


def test_a_still_that_is_no_picture(tiny_model):
    broken = Still(1, 64, 64, 1, False, b"no picture")
    stages = [{"actors": [track()], "on_set": 1, "patches": [Patch(0, 0, 2, broken)]}, {"actors": [track()]}]
    data = stream(tiny_model.sha256, *stages, sets=[SETS[0], Set(broken, 1)])
    with pytest.raises(DamagedError, match="no AV1 picture"):
        pictures(data, tiny_model)
    got = pictures(data, tiny_model, salvage=True)
    plain = pictures(stream(tiny_model.sha256, {"actors": [track()], "on_set": None}), tiny_model)
    assert same(got[:FRAMES], plain)  # the set is black, the square drawn as if there were no patch


# -- memory


def test_what_is_kept_is_bounded():
    made: list[int] = []

    def value(key: int) -> int:
        made.append(key)
        return key

    few = Kept[int, int](2)
    for key in (1, 2, 1, 3, 1, 2):
        assert few.get(key, lambda key=key: value(key)) == key
    assert made == [1, 2, 3, 2] and len(few) == 2
    heavy = Kept[int, int](9, 10, lambda key: key)
    for key in (4, 5, 6, 30):
        heavy.get(key, lambda key=key: value(key))
    assert len(heavy) == 1


def test_many_actors_are_drawn_with_few_renderers(tiny_model):
    keys = [(number, 0) for number in range(7)]
    stages = [{"actors": [track(n)]} for n in range(7)] + [{"actors": [track(n) for n in range(6)]}, {"actors": []}]
    data = stream(tiny_model.sha256, *stages, actors=keys)
    reader = Reader(io.BytesIO(data))
    decoder = FrameDecoder(reader, DecodeOptions(device="cpu"), tiny_model)
    kept = []
    for segment in reader.segments():
        list(decoder.segment(segment))
        kept.append(len(decoder.stage._renderers))
    assert max(kept[:7]) == 4 and kept[7] == 6


# -- puppets, and what is told


def test_a_puppet_is_of_the_actor_asked_for(tiny_model, tiny_model_file):
    stages = [{"actors": [track(1), track(0)]}, {"actors": [track(1)], "on_set": 1}, {"actors": [track(0)]}]
    data = stream(tiny_model.sha256, *stages)
    out = io.BytesIO()
    asked = {"actor": 1, "motion_actor": 0, "model": str(tiny_model_file)}
    report = fev.puppet(io.BytesIO(data), io.BytesIO(data), out, **asked)
    reader = Reader(io.BytesIO(out.getvalue()))
    segments = list(reader.segments())
    assert report.frames == 3 * FRAMES and reader.header.synthetic and not report.learnt
    assert np.array_equal(reader.who().values, actor(1).identity(reader.header).values)
    assert all(np.array_equal(segment.motion, track(0).motion) for segment in segments[::2])
    assert not segments[1].placement[:, 2].any() and segments[0].placement[:, 2].all()  # he is not there
    assert reader.cast.sets[0].still == SETS[0].still and all(segment.on_set == 0 for segment in segments)


def test_a_puppet_of_nobody_is_refused_and_one_moves_by_several_revisions(tiny_sha, tiny_model_file):
    several = stream(tiny_sha, {"actors": [track(0)]}, {"actors": [track(0, 1)]}, actors=[(0, 0), (0, 1)])
    one = stream(tiny_sha, {"actors": [track(0, 1), track(1)]}, actors=[(0, 0), (0, 1), (1, 0)])
    model = {"model": str(tiny_model_file)}
    assert fev.puppet(io.BytesIO(one), io.BytesIO(several), io.BytesIO(), **model).frames == 2 * FRAMES
    with pytest.raises(FevError, match="actor 4 is not on stage, but actors 0, 1"):
        fev.puppet(io.BytesIO(one), io.BytesIO(one), io.BytesIO(), actor=4, **model)
    with pytest.raises(FevError, match="nobody"):
        fev.puppet(io.BytesIO(stream(tiny_sha, {"actors": []})), io.BytesIO(one), io.BytesIO(), **model)
    fev.puppet(io.BytesIO(one), io.BytesIO(one), io.BytesIO(), **model)


def test_samples_of_an_identity_are_its_own(tiny_sha, tmp_path):
    path = tmp_path / "two.fev"
    path.write_bytes(stream(tiny_sha, {"actors": [track(1), track(0)]}, {"actors": [track(1)]}))
    known = read_identity(path)
    assert np.array_equal(known.motion, track().motion) and known.found.actor.key == (0, 0)


def test_info_lists_the_stage(play, tiny_sha):
    facts = describe(io.BytesIO(play))
    whole = len(actor(0).parts["IDEN"])
    assert [(a["actor"], a["patched_frames"]) for a in facts["actors"]] == [(0, 0), (1, 3)]
    assert [[r["frames"] for r in a["revisions"]] for a in facts["actors"]] == [[FRAMES, 2 * FRAMES], [2 * FRAMES]]
    assert facts["actors"][0]["revisions"][0]["bytes"] == whole
    assert [(s["set"], s["frames"]) for s in facts["sets"]] == [(0, 2 * FRAMES), (1, FRAMES), (2, FRAMES)]
    assert facts["sets"][2]["place"] == {"scale": 1.0, "x": -40.0, "y": -30.0} and facts["sets"][0]["place"] is None
    assert facts["camera"]["frames"] == 2 * FRAMES and facts["patches"]["count"] == 1
    assert facts["camera"]["bytes"] == facts["sections"]["camera"]
    assert facts["patches"]["bytes"] == facts["sections"]["patches"]
    assert sum(facts["sections"].values()) == len(play)
    text = render(facts)
    for line in ("actor 0, revision 1: ", "set 2: 200x160 at -40,-30, scale 1", "camera: moves in", "patches: 1, "):
        assert line in text
    assert "actor 0" not in render(
        describe(io.BytesIO(stream(tiny_sha, {"actors": [track()]}, actors=[(0, 0)], sets=[])))
    )
