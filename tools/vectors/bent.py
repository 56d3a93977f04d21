"""Streams taken apart, changed in one place and joined again with sound checks: what faulty ones are made with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...format import AudioConfig
from ...format.chunk import PART, PART_SYNC, SIGNATURE, make_chunk, make_part
from ...format.entropy import RangeEncoder
from ...format.motion import encode_motion, final_check
from ...format.reference import PARTS
from ...format.values import encode_values
from ...format.wire import Pack
from .made import header, stream

Chunks = list[tuple[str, bytes]]


def taken_apart(data: bytes) -> Chunks:
    """Type and payload of all chunks, and of the parts of segments, of which each is below 128 bytes."""
    at, parts = len(SIGNATURE), []
    while at < len(data):
        if data[at : at + 2] == PART_SYNC:
            size = data[at + 2]
            parts.append((PART, data[at + 3 : at + 3 + size]))
            at += 5 + size
            continue
        size = int.from_bytes(data[at + 6 : at + 9], "little")
        parts.append((data[at + 2 : at + 6].decode("ascii"), data[at + 11 : at + 11 + size]))
        at += 15 + size
    return parts


def joined(parts: Chunks) -> bytes:
    return SIGNATURE + b"".join(
        make_part(payload) if name == PART else make_chunk(name, payload) for name, payload in parts
    )


def without(data: bytes, name: str, which: int) -> bytes:
    """A stream without the `which`th chunk of a type."""
    return joined(replaced(data, name, which, []))


def replaced(data: bytes, name: str, which: int, chunks: Chunks) -> Chunks:
    """A stream with others in the place of its `which`th chunk of a type."""
    parts = taken_apart(data)
    place = [i for i, (kind, _) in enumerate(parts) if kind == name][which]
    return [*parts[:place], *chunks, *parts[place + 1 :]]


def bent(data: bytes, name: str, which: int, make: Callable[[bytes], bytes]) -> bytes:
    """A stream with the payload of its `which`th chunk of a type changed."""
    payload = [payload for kind, payload in taken_apart(data) if kind == name][which]
    return joined(replaced(data, name, which, [(name, make(payload))]))


def base() -> Chunks:
    """The stream the faulty ones are made from: two short segments, no index."""
    return taken_apart(
        stream([4, 3], params=3, placement=False, segment_frames=4, meta={"writer": "fev vectors"}, index=False)
    )


def changed(name: str, make: Callable[[bytes], bytes], which: int = 0) -> bytes:
    """The base stream with the payload of one chunk (the `which`th of its type) replaced; all checks are right."""
    parts, count = base(), 0
    for place, (kind, payload) in enumerate(parts):
        if kind == name:
            if count == which:
                parts[place] = (kind, make(payload))
            count += 1
    return joined(parts)


def patched(at: int, data: bytes) -> Callable[[bytes], bytes]:
    return lambda payload: payload[:at] + data + payload[at + len(data) :]


def added(name: str, payload: bytes, before: str) -> bytes:
    parts = base()
    place = next(i for i, (kind, _) in enumerate(parts) if kind == before)
    return joined([*parts[:place], (name, payload), *parts[place:]])


def segment(flags: int, fields: Pack, count: int = 4) -> Callable[[bytes], bytes]:
    """A segment payload with fields of one's own and a sound entropy block of `count` frames."""
    head = header()
    nothing = np.zeros((count, 3), np.int32)
    check = final_check(nothing, None, head.check_seed)
    block = encode_motion(nothing)
    return lambda _: Pack().varint(flags).raw(fields.bytes()).raw(block).fixed("H", check).bytes()


def crc(data: bytes) -> int:
    """CRC-16/CCITT-FALSE, by its definition."""
    value = 0xFFFF
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1 ^ 0x1021) & 0xFFFF if value & 0x8000 else value << 1
    return value


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


def with_part(name: str, payload: bytes) -> bytes:
    """The base stream with one more part of its actor."""
    bit = PARTS.index(name)

    def more(actor: bytes) -> bytes:
        fields = Pack().fixed("B", actor[0] | 1 << bit).raw(actor[1:3])
        return fields.varint(len(actor) - 3).raw(actor[3:]).raw(payload).bytes()

    return changed("ACTR", more)


def with_delta(fields: Pack) -> bytes:
    return with_part("DELT", fields.raw(b"\0" * 8).bytes())


def with_modes(fields: Pack) -> bytes:
    return with_part("MODE", fields.raw(b"\0" * 600).bytes())


def coded_steps(jitter: list[int]) -> bytes:
    """Period, level, size and code of the deviations of times from their base."""
    values, encoder = np.array(jitter), RangeEncoder()
    level = 20
    encode_values(encoder, values, np.full(len(values), level))
    code = encoder.finish()
    return Pack().fixed("BB", 0, level).varint(len(code)).raw(code).bytes()


def with_pivot(fields: Pack) -> bytes:
    return with_part("PIVT", fields.bytes())


def with_audio(fields: Pack) -> bytes:
    parts = base()
    head = patched(93, b"\x08")(parts[0][1])
    bad = Pack().fixed("B", 8).varint(0).raw(fields.bytes()).raw(b"\0" * 8).bytes()
    place = next(i for i, (name, _) in enumerate(parts) if name == "SEGM")
    return joined([("HEAD", head), ("AUDH", AudioConfig().pack()), *parts[1:place], ("SEGM", bad), *parts[place + 1 :]])
