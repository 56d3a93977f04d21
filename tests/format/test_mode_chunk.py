"""Modes come back exactly, cost what they should, and refuse what they cannot say."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from fev.format import Limits, Modes
from fev.format.errors import DamagedError, FevError, LimitError, UsageError
from fev.format.modecontexts import bands
from fev.format.modes import LONELY, decode_modes, encode_modes, modes_bits
from streams import some_modes

FIELDS = ("mix", "luma", "chroma", "flow", "texture_step_codes", "flow_step_codes")


def same(a: Modes, b: Modes) -> bool:
    return a.mix_step_code == b.mix_step_code and all(np.array_equal(getattr(a, f), getattr(b, f)) for f in FIELDS)


@pytest.mark.parametrize("seed", range(6))
def test_round_trip(seed):
    rng = np.random.default_rng(seed)
    modes = some_modes(rng, int(rng.integers(1, 9)), int(rng.integers(1, 40)), 8 << seed % 3, 8 << seed % 2)
    data = encode_modes(modes)
    assert same(decode_modes(data), modes) and encode_modes(decode_modes(data)) == data
    assert modes_bits(modes)[0] / 8 == pytest.approx(len(data), rel=0.25)


def test_the_second_reader_agrees_on_large_planes():
    """Planes of a real clip's size: counts of a kind grow by so much in one turn that they are halved in two."""
    from test_vectors import stranger

    modes = some_modes(np.random.default_rng(4), 4, 35, 128, 16)
    modes.luma[np.random.default_rng(5).random(modes.luma.shape) < 0.97] = 0
    read = stranger.read_modes(encode_modes(modes), stranger.Tables(stranger.TABLES))
    luma, blue, red, across, down = (np.array(part) for part in read["components"])
    assert np.array_equal(luma, modes.luma) and np.array_equal(np.stack([blue, red], 1), modes.chroma)
    assert np.array_equal(np.stack([across, down], 1), modes.flow)


def test_large_values():
    modes = some_modes(np.random.default_rng(1))
    modes.luma[0, 3, 3], modes.flow[2, 1, 7, 7], modes.mix[0, 0] = 1 << 30, -(1 << 30), 70_000
    assert same(decode_modes(encode_modes(modes)), modes)
    modes.luma[0, 3, 3] += 1
    with pytest.raises(UsageError):
        encode_modes(modes)


def test_empty_modes_are_small():
    modes = Modes.empty(np.zeros((35, 3), np.int32), 9)
    assert same(decode_modes(encode_modes(modes)), modes) and len(encode_modes(modes)) < 32


def test_neighbours_pay():
    """The same values cost less where they lie together than scattered."""
    rng = np.random.default_rng(2)
    modes = Modes.empty(np.zeros((35, 1), np.int32), 9)
    luma = np.zeros((1, 64, 64), np.int32)
    luma[0, 32:42, 32:42] = rng.integers(1, 4, (10, 10))
    scattered = luma.copy()
    scattered[0, 32:, 32:] = rng.permutation(luma[0, 32:, 32:].ravel()).reshape(32, 32)
    sizes = [
        len(encode_modes(replace(modes, luma=v, chroma=np.zeros((1, 2, 32, 32), np.int32)))) for v in (luma, scattered)
    ]
    assert sizes[0] < 0.9 * sizes[1]


def test_bands_cover_the_plane_once():
    seen = np.zeros((32, 32), int)
    for side, detail in bands(32):
        low, high = slice(0, side), slice(side, 2 * side)
        for corner in ((low, high), (high, low), (high, high)) if detail else ((low, low),):
            seen[corner] += 1
    assert (seen == 1).all()


def test_refusals():
    modes = some_modes(np.random.default_rng(3))
    for wrong in (
        replace(modes, chroma=modes.chroma[:-1]),
        replace(modes, luma=modes.luma[:, :12, :12]),
        replace(modes, mix=np.zeros((5, 9), np.int32)),
        replace(modes, flow_step_codes=modes.flow_step_codes[:2]),
    ):
        with pytest.raises(UsageError):
            encode_modes(wrong)
    data = encode_modes(modes)
    with pytest.raises(LimitError):
        decode_modes(data, Limits(max_mode_values=2047))
    for cut in range(len(data)):
        with pytest.raises(FevError):
            decode_modes(data[:cut])


def test_every_flip_is_noticed_without_the_crc():
    data = encode_modes(some_modes(np.random.default_rng(4), 2, 3, 8, 8))
    head = 6 + 4  # sizes and step codes: those that change no integer are the chunk's CRC-32 to notice
    for bit in range(8 * head, 8 * len(data)):
        bent = bytearray(data)
        bent[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamagedError):
            decode_modes(bytes(bent))


def test_a_present_band_has_a_value():
    """One content has one code: a band that is announced and empty is refused."""
    import fev.format.modes as module

    modes = some_modes(np.random.default_rng(5))
    honest = module.present
    module.present = lambda planes: np.ones_like(honest(planes))
    try:
        data = encode_modes(modes)
    finally:
        module.present = honest
    with pytest.raises(DamagedError):
        decode_modes(data)


@pytest.mark.parametrize("measure", ["seconds", "bytes"])
def test_bombs_take_neither_time_nor_memory(measure):
    """A few hundred bytes that announce as many values as the limits allow."""
    planes = 84  # of 128 x 128: just below the limit
    data = bytes([planes, 35, 1, 7, 3, 9]) + bytes(2 * planes) + b"\xff" * 100 + b"\0\0"
    if measure == "bytes":
        tracemalloc.start()
    start = time.process_time()
    with pytest.raises(DamagedError):
        decode_modes(data)
    if measure == "bytes":
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 128 << 20
    else:
        assert time.process_time() - start < 4.0


def test_a_lonely_value_is_dear():
    """What `modes_bits` tells an encoder: a 1 costs least among others, most where there is nothing."""
    rng = np.random.default_rng(6)
    luma = np.zeros((3, 32, 32), np.int32)
    luma[:, 16:24, :8] = rng.integers(-3, 4, (3, 8, 8))  # a corner of one square of the finest band
    rest = np.zeros((3, 2, 16, 16), np.int32)
    steps = np.zeros(3, np.int64)
    modes = Modes(np.zeros((2, 1), np.int32), 0, luma, rest, rest, steps, steps)
    bits, (of_luma, of_chroma, of_flow) = modes_bits(modes)
    assert bits / 8 == pytest.approx(len(encode_modes(modes)), rel=0.05)
    among, apart = of_luma[2, 17:23, 1:7].mean(), of_luma[2, 26:, 10:16].mean()
    assert among < 2.5 < 5 < apart
    assert (of_luma[:, :16, :16] == LONELY).all() and (of_chroma == LONELY).all() and (of_flow == LONELY).all()
    assert of_chroma.shape == of_flow.shape == (3, 2, 16, 16)


def test_one_large_plane_stays_within_the_memory_that_the_spec_promises():
    """218 good bytes of 1.7 million values: the working copies count too, 28 bytes a value in all."""
    size, grid = 1024, 256
    luma, chroma = np.zeros((1, size, size), np.int32), np.zeros((1, 2, size // 2, size // 2), np.int32)
    flow = np.zeros((1, 2, grid, grid), np.int32)
    for plane in (luma[0], *chroma[0], *flow[0]):
        for side, detail in bands(plane.shape[-1]):
            plane[(side, 0) if detail else (0, 0)] = 1
    step = np.zeros(1, np.int64)
    data = encode_modes(Modes(np.zeros((35, 1), np.int32), 0, luma, chroma, flow, step, step))
    assert len(data) < 300
    tracemalloc.start()
    decoded = decode_modes(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(decoded.luma, luma) and np.array_equal(decoded.flow, flow)
    assert peak < 28 * (luma.size + chroma.size + flow.size)
