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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from streams import TIGHT, chunks, feed, make, read, rebuild, same

CORPUS = Path(__file__).resolve().parent.parent / "fuzz" / "corpus"
MADE = make(segments=3, frames=4, params=4)
PARTS = [(name, payload) for name, _, payload in chunks(MADE.data)]
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


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 1 << 30))
def test_the_second_reader_agrees_on_random_motion(frames, params, seed):
    from test_vectors import stranger

    made = make(1, frames=min(frames, 20), params=params, seed=seed, placement=bool(seed & 1))
    assert [s["tracks"][0]["motion"] for s in stranger.read(made.data)["segments"]] == [
        s.motion.tolist() for s in made.segments
    ]


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*")) if CORPUS.is_dir() else [], ids=lambda path: path.name)
def test_old_finds_and_corpus(path):
    feed(path.read_bytes())
