"""Motion, identity and delta come back exactly, cost what they should, and refuse what they cannot say."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from fev.format.delta import DeltaTensor, decode_delta, delta_bits, encode_delta
from fev.format.entropy import RangeEncoder
from fev.format.errors import DamagedError, FevError, LimitError, UsageError
from fev.format.header import Header
from fev.format.identity import decode_identity, encode_identity
from fev.format.limits import Limits
from fev.format.motion import (
    decode_motion,
    decode_track,
    encode_motion,
    encode_track,
    motion_bits,
    motion_plan,
    split_block,
    trace,
)
from fev.format.motioncontexts import MotionContexts, PathContexts, Stills, habits, residual_bits
from fev.format.segment import Segment
from fev.format.values import MAX_MAGNITUDE, encode_values, value_bits
from fev.format.wire import Pack
from streams import header, motion


def entropy_bytes(values: np.ndarray) -> float:
    """Zero-order entropy of a row of integers."""
    counts = np.unique(values, return_counts=True)[1]
    return float(-(counts * np.log2(counts / len(values))).sum() / 8)


@pytest.mark.parametrize("seed", range(60))
def test_motion_round_trip(seed):
    rng = np.random.default_rng(seed)
    frames, params = int(rng.integers(1, 25)), int(rng.integers(1, 41))
    scale = 10 ** rng.uniform(-1, 7.5)
    held = rng.random(frames) < 0.2
    values = np.cumsum(rng.laplace(0, scale, (frames, params)), axis=0).clip(-MAX_MAGNITUDE, MAX_MAGNITUDE)
    values = values.astype(np.int32)
    places = rng.integers(-20000, 20000, (frames, 4)).astype(np.int32)
    for t in range(1, frames):
        if held[t]:
            values[t], places[t] = values[t - 1], places[t - 1]
    block = encode_motion(values, places, held=held)
    got, got_places = decode_motion(block, frames, params, has_placement=True, held=held)
    assert got.dtype == np.int32 and np.array_equal(got, values) and np.array_equal(got_places, places)
    size = len(split_block(block, True)[1])
    assert abs(motion_bits(values, held).sum() / 8 - size) < 6 + 0.01 * size


def test_motion_literal_block():
    values = np.array([[0, 5, -40], [1, 5, -41], [1, 5, -41], [300, 4, -41]], np.int32)
    held = np.array([False, False, True, False])
    assert encode_motion(values, held=held).hex() == "283348d8650b663b541e"


def repeating(frames: int, every: int, params: int = 35) -> np.ndarray:
    """Motion that stands still in one frame of `every`, as where a clip was brought to another frame rate."""
    steps = np.round(np.random.default_rng(3).laplace(0, np.linspace(1.5, 0.05, params), (frames, params))).astype(int)
    steps[::every] = 0
    return np.cumsum(steps, 0).astype(np.int32)


def test_frames_that_stand_still_are_left_out():
    values = repeating(150, 3)
    block = encode_motion(values)
    assert np.array_equal(decode_motion(block, 150, 35)[0], values)
    assert motion_plan(values).frames == [0, *(t for t in range(1, 150) if t % 3)]
    moving = values[motion_plan(values).frames]
    flags = len(block) - len(encode_motion(moving))
    every, some = (
        value_bits(*trace(np.diff(v.astype(np.int64), axis=0, prepend=0), MotionContexts(35, 20, 20))).sum() / 8
        for v in (values, moving)
    )
    assert flags < 8 < 60 < every - some, "bytes for 50 frames"


def forged(flag: int, residual: int) -> bytes:
    """Two frames of one parameter, (3) and what the residual makes of it, with a flag of one's own."""
    encoder, contexts = RangeEncoder(), MotionContexts(1, 20, 20)
    encoder.table(np.array([flag]), Stills().row())
    encode_values(encoder, np.array([3]), contexts.levels(0, 1))
    contexts.end_frame(np.array([3]))
    if flag == 0:
        encode_values(encoder, np.array([residual]), contexts.levels(0, 1), contexts.shapes)
    return bytes([20, 20]) + encoder.finish()


def test_standing_still_has_one_spelling():
    assert decode_motion(forged(0, 1), 2, 1)[0].tolist() == [[3], [4]]
    assert decode_motion(forged(1, 0), 2, 1)[0].tolist() == [[3], [3]]
    with pytest.raises(DamagedError, match="stands still is not flagged"):
        decode_motion(forged(0, 0), 2, 1)
    with pytest.raises(DamagedError, match="neither moves nor stands still"):
        decode_motion(forged(2, 0), 2, 1)


def test_what_moves_on_is_cheaper_than_what_turns_back():
    """Under trained shapes; and the first groups, which move the picture most, cost otherwise than the last."""
    on = np.tile(np.arange(40)[:, None], (1, 10))
    back = np.tile((np.arange(40) % 2)[:, None], (1, 10))
    costs = [motion_bits(values.astype(np.int32)) for values in (on, back)]
    assert costs[0].sum() < 0.8 * costs[1].sum()
    assert len({round(bits, 6) for bits in costs[0]}) >= 5
    assert np.array_equal(motion_plan(-on).bits(), motion_plan(on).bits()), "no direction is before the other"


def test_the_bits_of_a_plan_are_those_of_its_residuals_one_by_one():
    """What a search asks of one parameter is what the track's meter says."""
    values = motion(40, 7, 2.0)
    plan = motion_plan(values)
    residuals = np.diff(values[plan.frames].astype(np.int64), axis=0)
    last = np.vstack([np.zeros((1, 7), np.int64), residuals[:-1]])
    assert np.array_equal(residual_bits(residuals, plan.levels[1:], last, habits(7)), plan.bits()[1:])
    signs = np.sign(last)
    assert np.array_equal(residual_bits(residuals, plan.levels[1:], signs, habits(7)), plan.bits()[1:])


def test_what_goes_on_as_fast_costs_next_to_nothing():
    """Placement and camera: a pan of 7 units a frame, whatever its direction, costs its first two frames."""
    frames, none = np.arange(60)[:, None], np.zeros(60, bool)
    pan, rest = (frames * np.array([[7, -3, 0, 1]])).astype(np.int32), np.zeros((60, 4), np.int32)
    assert len(encode_track(pan, none)) - len(encode_track(rest, none)) < 12
    there_and_back = (np.arange(60) % 2 * 7)[:, None].repeat(4, 1).astype(np.int32)
    assert len(encode_track(there_and_back, none)) > 2 * len(encode_track(pan, none))


def test_path_literal():
    """Places 5, 8, 11, 14, 14: coded as 5, then a speed of 3, then 0, 0, and -3."""
    path = np.array([5, 8, 11, 14, 14], np.int32)[:, None] * np.array([[1, 0, 0, 0]], np.int32)
    data = encode_track(path, np.zeros(5, bool))
    assert data.hex() == "1916fbfa67d22c" and np.array_equal(decode_track(data, np.zeros(5, bool), "camera"), path)


def test_speed_goes_on_after_held_frames():
    held = np.array([0, 0, 0, 1, 1, 0, 0], bool)
    path = np.array([0, 4, 8, 8, 8, 12, 16], np.int32)[:, None].repeat(4, 1)
    coded = encode_track(path[~held], held[~held])
    assert encode_track(path, held) == coded and np.array_equal(decode_track(coded, held, "placement"), path)


def test_extremes_of_a_path():
    none = np.zeros(4, bool)
    swing = np.array([1, -1, 1, -1])[:, None].repeat(4, 1).astype(np.int32) * np.int32(MAX_MAGNITUDE)
    assert np.array_equal(decode_track(encode_track(swing, none), none, "camera"), swing)


def test_residuals_whose_sums_could_leave_64_bits_are_refused(monkeypatch):
    monkeypatch.setattr("fev.format.values.MAX_MAGNITUDE", 1 << 60)
    encoder, contexts = RangeEncoder(), PathContexts(4, 99, 99)
    for value in (0, 1 << 46):
        for a, b in contexts.groups:
            values = np.full(b - a, value)
            encode_values(encoder, values, contexts.levels(a, b))
            contexts.saw(a, b, values)
        contexts.end_frame(np.full(4, value))
    with pytest.raises(DamagedError, match="residual is out of range"):
        decode_track(bytes([99, 99]) + encoder.finish(), np.zeros(2, bool), "camera")


def test_extremes():
    values = np.array([[MAX_MAGNITUDE], [-MAX_MAGNITUDE], [MAX_MAGNITUDE]], np.int32)
    assert np.array_equal(decode_motion(encode_motion(values), 3, 1)[0], values)
    with pytest.raises(UsageError):
        encode_motion(values + 1)


def test_still_motion_costs_next_to_nothing():
    assert len(encode_motion(np.zeros((60, 35), np.int32))) < 40


def test_held_frames_must_repeat():
    with pytest.raises(UsageError):
        encode_motion(motion(4, 3), held=np.array([False, True, False, False]))


def lone_segment(values: np.ndarray, **changes) -> tuple[bytes, Header]:
    """A segment of motion alone, and the header it was made with."""
    head = header(placement=False, params=values.shape[1], segment_frames=len(values), **changes)
    return Segment.single(0, 0, np.arange(len(values)), values).pack(head), head


def test_final_check_notices_another_model_and_other_values():
    data, head = lone_segment(motion(10, 5))
    assert Segment.unpack(data, head).frames == 10
    for wrong in (dict(model_sha256=bytes(32)), dict(segment_frames=9), dict(params=6)):
        with pytest.raises(DamagedError):
            Segment.unpack(data, replace(head, **wrong))


def test_every_flip_in_a_motion_block_is_noticed_without_the_crc():
    data, head = lone_segment(motion(12, 6, 0.7))
    for bit in range(16, 8 * len(data)):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FevError):
            Segment.unpack(bytes(broken), head)


@pytest.mark.parametrize(
    ("count", "scale"), [(1, 3), (7, 1000), (512, 4), (512, 40), (7168, 0.5), (500, 3e8), (64, 0.001)]
)
def test_identity_round_trip(count, scale):
    values = np.random.default_rng(0).laplace(0, scale, count).clip(-MAX_MAGNITUDE, MAX_MAGNITUDE).astype(np.int32)
    data = encode_identity(values)
    assert np.array_equal(decode_identity(data), values)
    if count > 500 and scale < 100:
        assert len(data) < 1.12 * entropy_bytes(values) + 16


def test_identity_refusals():
    with pytest.raises(UsageError):
        encode_identity(np.zeros(0, np.int32))
    with pytest.raises(UsageError):
        encode_identity(np.zeros(3))
    data = encode_identity(np.arange(50, dtype=np.int32))
    with pytest.raises(LimitError):
        decode_identity(data, Limits(max_identity_values=49))
    for cut in range(len(data)):
        with pytest.raises(DamagedError):
            decode_identity(data[:cut])


LAWS = {
    "laplace": lambda rng, n: rng.laplace(0, 0.6, n),
    "spike": lambda rng, n: rng.laplace(0, 3, n) * (rng.random(n) < 0.15),
    "normal": lambda rng, n: rng.normal(0, 1.2, n),
    "large": lambda rng, n: rng.laplace(0, 9, n),
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(("count", "tensors", "slack"), [(3000, 6, 1.08), (60000, 30, 1.03)])
def test_delta_is_near_its_entropy(law, count, tensors, slack):
    rng = np.random.default_rng(3)
    given = [
        DeltaTensor(5 * i, 1, 2, 3, np.rint(LAWS[law](rng, count // tensors)).astype(np.int32)) for i in range(tensors)
    ]
    data = encode_delta(given)
    got = decode_delta(data)
    for a, b in zip(given, got, strict=True):
        assert (a.key, a.variant, a.rank, a.step_code) == (b.key, b.variant, b.rank, b.step_code)
        assert np.array_equal(a.values, b.values)
    bound = entropy_bytes(np.concatenate([tensor.values for tensor in given]))
    assert len(data) - 8 * tensors < slack * bound
    assert sum(delta_bits(tensor.values) for tensor in given) / 8 < 1.1 * bound + 4 * tensors


def test_delta_literal():
    data = encode_delta([DeltaTensor(1, 0, 1, 4, np.array([0, 1, -1, 0, 0, 99, 0, 0], np.int32))])
    assert data.hex() == "010100000104640894f1c3699913"


def test_delta_refusals():
    one = DeltaTensor(1, 0, 1, 4, np.arange(20, dtype=np.int32))
    for wrong in ([], [one, one], [DeltaTensor(1, 0, 1, 4, np.zeros(0, np.int32))]):
        with pytest.raises(UsageError):
            encode_delta(wrong)
    data = encode_delta([one])
    with pytest.raises(LimitError):
        decode_delta(data, Limits(max_delta_values=19))
    for cut in range(len(data)):
        with pytest.raises(DamagedError):
            decode_delta(data[:cut])
    carried = bytearray(data)
    carried[6] = 255  # carry on from a tensor that is not there
    with pytest.raises(DamagedError):
        decode_delta(bytes(carried))


@pytest.mark.parametrize("measure", ["seconds", "bytes"])
def test_bombs_of_counts_take_neither_time_nor_memory(measure):
    """Some twenty bytes that announce as many values as the limits allow."""
    identity = Pack().varint(Limits.max_identity_values).fixed("BB", 0, 0).raw(b"\0\0").bytes()
    tensor = Pack().varint(1).fixed("HBBBB", 1, 0, 1, 1, 0).varint(Limits.max_delta_values).raw(b"\0\0").bytes()
    if measure == "bytes":
        tracemalloc.start()
    start = time.process_time()
    for decode, data in ((decode_identity, identity), (decode_delta, tensor)):
        with pytest.raises(DamagedError):
            decode(data)
    if measure == "bytes":
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 64 << 20
    else:
        assert time.process_time() - start < 1.0
