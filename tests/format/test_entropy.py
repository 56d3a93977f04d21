"""The range coder gives exactly these bytes, on any machine and under any version of the library below it."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from fev.format import tables
from fev.format.entropy import RangeDecoder, RangeEncoder
from fev.format.errors import DamagedError, FevError, UsageError
from fev.format.tables import LAWS, ROWS, SHAPES
from fev.tools import make_tables


def test_tables_are_what_the_generator_makes():
    made = make_tables.render(make_tables.parse(tables.PATH.read_text())).encode()
    assert made == tables.PATH.read_bytes()
    assert hashlib.sha256(made).hexdigest() == tables.SHA256


def test_tables_are_sound():
    table = tables.load()
    assert (np.diff(table.thresholds) > 0).all() and len(table.thresholds) == tables.LEVELS - 1
    assert (table.frequencies.sum(-1) == 1 << 16).all() and (table.frequencies > 0).all()
    even = table.frequencies[[0, 1, 2, *range(LAWS, SHAPES, 2)]]  # the others follow a movement
    assert (even[..., :31] == even[..., 30::-1]).all(), "v and -v cost the same"
    onward = table.frequencies[LAWS + 1 :: 2]
    assert not (onward[..., :31] == onward[..., 30::-1]).all()


@pytest.mark.parametrize("change", [(" 1 ", " 2 "), (" 1 ", " 0 "), (" 1 ", " "), ("\n1 ", "\n\n1 ")])
def test_trained_rows_have_to_add_up(change):
    text = tables.PATH.read_text()
    at = text.index("shape 3")
    with pytest.raises(ValueError):
        make_tables.parse(text[:at] + text[at:].replace(*change, 1))


def test_literal_rows():
    encoder = RangeEncoder()
    encoder.rows(np.array([15, 16, 14, 31, 0, 30, 15]), np.array([0, 10, 20, 35, 36, 71, 107]))
    assert encoder.finish().hex() == "f50fce850c"


def test_literal_bits():
    encoder = RangeEncoder()
    encoder.bits(np.array([1, 0, 5, 40000, 255]), np.array([1, 1, 3, 16, 8]))
    # Plain bits are nearly the bits themselves: 1 0 101 1001110001000000 11111111
    assert encoder.finish().hex() == "ace207f8"


def test_literal_table():
    encoder = RangeEncoder()
    row = np.full(32, 2048)
    row[0], row[31] = 1, 4095
    encoder.table(np.array([0, 31, 7, 7]), row)
    assert encoder.finish().hex() == "0000f319"


def test_empty_message_is_empty():
    assert RangeEncoder().finish() == b""
    RangeDecoder(b"").finish()


@pytest.mark.parametrize("seed", range(40))
def test_round_trip_of_random_calls(seed):
    rng = np.random.default_rng(seed)
    encoder, script = RangeEncoder(), []
    for _ in range(rng.integers(1, 30)):
        n = int(rng.integers(1, 40))
        kind = rng.integers(3)
        if kind == 0:
            rows = rng.integers(0, SHAPES * ROWS, n)
            # Extremes on purpose: runs of the likeliest symbol, and of the least likely.
            symbols = rng.choice([np.full(n, 15), np.zeros(n), rng.integers(0, 32, n)]).astype(int)
            encoder.rows(symbols, rows)
        elif kind == 1:
            rows = rng.integers(1, 17, n)
            symbols = rng.integers(0, 1 << rows)
            encoder.bits(symbols, rows)
        else:
            rows = np.ones(32, np.int64)
            rows[rng.integers(32)] += (1 << 16) - 32
            symbols = rng.integers(0, 32, n)
            encoder.table(symbols, rows)
        script.append((kind, symbols, rows))
    code = encoder.finish()
    assert code[-1:] != b"\0"
    decoder = RangeDecoder(code)
    for kind, symbols, rows in script:
        got = (
            decoder.rows(rows) if kind == 0 else decoder.bits(rows) if kind == 1 else decoder.table(rows, len(symbols))
        )
        assert np.array_equal(got, symbols)
    decoder.finish()


def test_other_codes_of_the_same_content_are_refused():
    encoder = RangeEncoder()
    rows = np.full(50, 20)
    encoder.rows(np.random.default_rng(0).integers(10, 20, 50), rows)
    code = encoder.finish()
    for other in (code + b"\0", code + b"\1", code + b"\0" * 9):
        decoder = RangeDecoder(other)
        decoder.rows(rows)
        with pytest.raises(DamagedError):
            decoder.finish()


def test_misuse_is_ours_not_the_librarys():
    for call in (
        lambda e: e.rows(np.array([32]), np.array([0])),
        lambda e: e.rows(np.array([-1]), np.array([0])),
        lambda e: e.bits(np.array([2]), np.array([1])),
        lambda e: e.rows(np.array([1]), np.array([9999])),
    ):
        with pytest.raises(UsageError):
            call(RangeEncoder())


def test_random_codes_decode_or_are_refused():
    rng = np.random.default_rng(5)
    rows = rng.integers(0, SHAPES * ROWS, 200)
    for _ in range(300):
        decoder = RangeDecoder(bytes(rng.integers(0, 256, rng.integers(0, 40), np.uint8)))
        try:
            decoder.rows(rows)
            decoder.bits(np.full(10, 16))
            decoder.finish()
        except FevError:
            pass
