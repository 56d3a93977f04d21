"""Every single-bit flip and every truncation of a small file: noticed, located, and paid for by one segment only."""

from __future__ import annotations

import io
import time

import pytest
from fev.format import FevError, Reader, verify
from fev.format.errors import TruncatedError
from streams import chunks, make, read, same

SMALL = dict(segments=3, frames=4, audio=True, background=False, meta=False, params=4, repeat=2)


@pytest.fixture(scope="module")
def small():
    return make(**SMALL)


def owner_of(data: bytes) -> list[tuple[str, int | None]]:
    """For each byte: type of its chunk and, in segments, the index."""
    owners: list[tuple[str, int | None]] = [("signature", None)] * 8
    count = 0
    for name, _, payload in chunks(data):
        segment = count if name == "SEGM" else None
        owners += [(name, segment)] * (15 + len(payload))
        count += name == "SEGM"
    return owners


def test_every_bit_flip_is_noticed_and_located(small):
    owners = owner_of(small.data)
    slowest = 0.0
    for bit in range(8 * len(small.data)):
        broken = bytearray(small.data)
        broken[bit // 8] ^= 1 << bit % 8
        name, segment = owners[bit // 8]
        begin = time.process_time()
        with pytest.raises(FevError):
            read(bytes(broken))
        reader, got = read(bytes(broken), salvage=True)
        slowest = max(slowest, time.process_time() - begin)
        # All other segments are there and identical; the lost one is named, with its time and place.
        lost = {segment} if segment is not None else set()
        assert {s.index for s in got} == {0, 1, 2} - lost, (bit, name, reader.damage)
        assert all(same(s, small.segments[s.index]) for s in got)
        assert {d.segment for d in reader.damage if d.segment is not None} == lost
        assert reader.damage and abs(reader.damage[0].offset - bit // 8) < 400
        if segment is not None:
            assert abs(reader.damage[0].seconds - segment * 4 / 30) < 1e-9
        if name in ("ACTR", "AUDH", "HEAD"):
            # The repetition of the set-up stands in for what was hurt.
            assert reader.who().delta and reader.audio is not None
        assert sum(reader.sections().values()) == len(small.data)
    assert slowest < 0.2


def test_every_truncation_gives_the_segments_before_it(small):
    ends = [at + 15 + len(payload) for name, at, payload in chunks(small.data) if name == "SEGM"]
    setup = next(at for name, at, _ in chunks(small.data) if name == "SEGM")
    for length in range(len(small.data)):
        cut = small.data[:length]
        reader = None
        strict = []
        with pytest.raises(FevError) as caught:
            reader = Reader(io.BytesIO(cut))
            for segment in reader.segments():
                strict.append(segment)
        whole = [end for end in ends if end <= length]
        assert len(strict) == len(whole), "strict reading, too, gives what came before"
        if length:
            assert isinstance(caught.value, TruncatedError), length
        try:
            reader, got = read(cut, salvage=True)
        except FevError:
            assert length < setup, "without a header there is nothing to save"
            continue
        assert len(got) == len(whole) and all(same(a, b) for a, b in zip(got, small.segments, strict=False))
        assert reader.damage


@pytest.mark.parametrize("size", [2, 33, 400])
def test_lost_stretches(small, size):
    """Bytes cut out, doubled or overwritten anywhere: no exception but ours, and what is delivered is right."""
    for at in range(8, len(small.data) - size, 7):
        for broken in (
            small.data[:at] + small.data[at + size :],
            small.data[: at + size] + small.data[at:],
            small.data[:at] + bytes(size) + small.data[at + size :],
        ):
            try:
                reader, got = read(broken, salvage=True)
            except FevError:
                assert at < 500
                continue
            indices = [s.index for s in got]
            assert indices == sorted(set(indices))
            assert got or size == 400, "so short a stretch hurts two at most"
            assert all(same(s, small.segments[s.index]) for s in got)
            assert reader.damage or broken == small.data


def test_verify_reports(small):
    assert verify(io.BytesIO(small.data)) == verify(io.BytesIO(small.data))
    assert verify(io.BytesIO(small.data)).ok
    at = [at for name, at, _ in chunks(small.data) if name == "SEGM"][1]
    broken = bytearray(small.data)
    broken[at + 30] ^= 1
    report = verify(io.BytesIO(bytes(broken)))
    assert not report.ok and report.segments == 2
    assert [(d.chunk, d.offset, d.segment) for d in report.damage] == [("SEGM", at, 1)]
    assert not verify(io.BytesIO(b"")).ok and not verify(io.BytesIO(b"nonsense" * 9)).ok


def test_a_swapped_in_segment_of_another_model_is_noticed_under_a_valid_crc(small):
    from streams import rebuild

    other = make(**{**SMALL, "model_sha256": bytes(32)})
    mixed = [(name, payload) for name, _, payload in chunks(small.data)]
    place = next(i for i, (name, _) in enumerate(mixed) if name == "SEGM")
    assert chunks(other.data)[place][0] == "SEGM"
    mixed[place] = ("SEGM", chunks(other.data)[place][2])
    with pytest.raises(FevError, match="another model"):
        read(rebuild(mixed))
    reader, got = read(rebuild(mixed), salvage=True)
    assert [s.index for s in got] == [1, 2] and reader.damage[0].segment == 0


def test_hostile_damage_does_not_take_for_ever():
    """Thousands of false headers, each sound, each announcing the rest of the file."""
    import struct

    from fev.format.wire import crc16

    head = b"SEGM" + struct.pack("<I", 60_000)[:3]
    junk = (b"\xf5\xed" + head + struct.pack("<H", crc16(head))) * 6000
    data = make(segments=2).data
    begin = time.process_time()
    try:
        read(data[:400] + junk + data[400:], salvage=True)
    except FevError:
        pass
    assert time.process_time() - begin < 3
