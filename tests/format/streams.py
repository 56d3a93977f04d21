"""Streams that the tests of `format/` share: made by arithmetic, small, and with something of everything in them."""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from fev.format import (
    Actor,
    AudioConfig,
    AudioPacket,
    DeltaTensor,
    FevError,
    Header,
    Limits,
    Modes,
    Pivot,
    Reader,
    Segment,
    Set,
    Still,
    Track,
    Writer,
    excerpts,
)
from fev.format.chunk import make_part
from fev.format.wire import crc16

MODEL = bytes(range(32))
TIGHT = Limits(
    max_frames=10_000, max_delta_values=4096, max_mode_values=8192, max_identity_values=4096, max_segment_frames=64
)


def header(**changes) -> Header:
    facts = dict(
        width=256, height=192, time_base=(1, 30), fps=(30, 1), model_sha256=MODEL, params=5, placement=True,
        segment_frames=6,
    )  # fmt: skip
    return Header(**{**facts, **changes})


def motion(frames: int, params: int, scale: float = 1.5, seed: int = 0) -> np.ndarray:
    """A random walk, (frames, params) int32."""
    rng = np.random.default_rng(seed)
    return np.cumsum(np.rint(rng.laplace(0, scale, (frames, params))), axis=0).astype(np.int32)


@dataclass
class Made:
    data: bytes
    segments: list[Segment]
    writer: Writer
    header: Header
    given: dict = field(default_factory=dict)
    who: dict = field(default_factory=dict)


def some_modes(rng: np.random.Generator, planes: int = 4, params: int = 5, size: int = 16, grid: int = 8) -> Modes:
    """Sparse planes with a few large values."""

    def sparse(*shape: int) -> np.ndarray:
        return np.round(rng.laplace(size=shape) * rng.choice([0, 0.4, 3], shape)).astype(np.int32)

    luma, chroma, flow = (
        sparse(planes, size, size),
        sparse(planes, 2, size // 2, size // 2),
        sparse(planes, 2, grid, grid),
    )
    luma[planes // 2], chroma[0], flow[:, 0, 4:] = 0, 0, 0
    steps = rng.integers(0, 256, (2, planes))
    return Modes(sparse(params, min(3, planes)), 7, luma, chroma, flow, steps[0], steps[1])


def make(
    segments: int = 3,
    *,
    frames: int = 6,
    audio: bool = True,
    delta: bool = True,
    background: bool = True,
    meta: bool = True,
    modes: bool = False,
    pivot: bool = False,
    repeat: int = 0,
    index: bool = True,
    irregular: bool = False,
    seed: int = 1,
    **changes,
) -> Made:
    """A whole stream. The last segment is shorter; the second has held frames; `irregular` makes all times uneven."""
    rng = np.random.default_rng(seed)
    head = header(segment_frames=0 if irregular else frames, **changes)
    who = dict(
        identity=rng.integers(-9, 10, 24).astype(np.int32),
        delta=[DeltaTensor(7, 1, 2, 3, rng.integers(-2, 3, 40).astype(np.int32))] if delta else None,
        modes=some_modes(rng) if modes else None,
        pivot=Pivot((0, -3, 9000), Still(1, 256, 256, 1, False, b"still")) if pivot else None,
    )
    still = Still(1, 64, 48, 1, False, bytes(rng.integers(0, 256, 20, np.uint8)))
    given = dict(
        actors=[Actor.of(motion_step_code=20, identity_step_code=30, **who)],
        sets=[Set(still)] if background else [],
        audio=AudioConfig(bitrate=16000) if audio else None,
        meta={"writer": "test 1", "synthetic": False} if meta else None,
    )
    out = io.BytesIO()
    writer = Writer(out, head, repeat_header_every=repeat, **given)
    made = []
    walk = motion(segments * frames, head.params, seed=seed)
    places = motion(segments * frames, 4, 3, seed=seed + 1) + np.array([1000, 900, 500, -20], np.int32)
    pts = np.arange(segments * frames) * head.pts_step
    if not head.pts_step:
        pts = np.arange(segments * frames) * 30 * head.fps[1] // head.fps[0]
    if irregular:
        pts = np.cumsum(rng.integers(1, 9, segments * frames)) - 3
    at = 0
    for i in range(segments):
        n = frames if i < segments - 1 or segments == 1 else max(1, frames - 2)
        held = np.zeros(n, bool)
        if i == 1 and n > 4:
            held[2:4] = True
            walk[at + 2 : at + 4] = walk[at + 1]
            places[at + 2 : at + 4] = places[at + 1]
        packets = []
        if audio:
            packets = [
                AudioPacket(1600 * at + 960 * k, 960, bytes(rng.integers(0, 256, 9 + k, np.uint8))) for k in range(3)
            ]
        segment = Segment.single(
            i, at, pts[at : at + n].astype(np.int64), walk[at : at + n].astype(np.int32),
            places[at : at + n].astype(np.int32) if head.placement else None, held, packets,
        )  # fmt: skip
        writer.write_segment(segment)
        made.append(segment)
        at += n
    writer.close(index=index)
    return Made(out.getvalue(), made, writer, writer.header, given, who)


def same(a: Segment, b: Segment) -> bool:
    """All content equal."""

    def equal(x: np.ndarray | None, y: np.ndarray | None) -> bool:
        return (x is None) == (y is None) and (x is None or np.array_equal(x, y))

    def alike(x: Track, y: Track) -> bool:
        held = [np.zeros(len(t.motion), bool) if t.held is None else t.held for t in (x, y)]
        who = (x.actor, x.revision) == (y.actor, y.revision)
        return who and equal(x.motion, y.motion) and equal(x.placement, y.placement) and np.array_equal(*held)

    facts = [(s.index, s.first_frame, s.audio, s.on_set, s.patches, s.video, len(s.actors)) for s in (a, b)]
    return (
        facts[0] == facts[1]
        and equal(a.pts, b.pts)
        and equal(a.camera, b.camera)
        and all(map(alike, a.actors, b.actors))
    )


def read(data: bytes, **options) -> tuple[Reader, list[Segment]]:
    reader = Reader(io.BytesIO(data), **options)
    return reader, list(reader.segments())


class Dribble:
    """One byte at a time, and no seek."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, count: int) -> bytes:
        return self._file.read(min(1, count))


def chunk(name: str, payload: bytes) -> bytes:
    """A chunk built by hand, from the text of the spec."""
    head = name.encode() + struct.pack("<I", len(payload))[:3]
    crc = zlib.crc32(head + payload)
    return b"\xf5\xed" + head + struct.pack("<H", crc16(head)) + payload + struct.pack("<I", crc)


def chunks(data: bytes) -> list[tuple[str, int, bytes]]:
    """(type, offset, payload) of every chunk of an undamaged stream."""
    at, out = 8, []
    while at < len(data):
        if data[at : at + 2] == b"\xf5\xee":  # a part of a segment, below 128 bytes
            out.append(("+", at, data[at + 3 : at + 3 + data[at + 2]]))
            at += 5 + data[at + 2]
            continue
        size = int.from_bytes(data[at + 6 : at + 9], "little")
        out.append((data[at + 2 : at + 6].decode(), at, data[at + 11 : at + 11 + size]))
        at += 15 + size
    return out


def rebuild(parts: list[tuple[str, bytes]]) -> bytes:
    """A stream from chunk types and payloads, with sound checks."""
    return b"\x89FEV\r\n\x1a\n" + b"".join(
        make_part(payload) if name == "+" else chunk(name, payload) for name, payload in parts
    )


def feed(data: bytes) -> None:
    """Everything a reader can do with bytes; only FevError may be raised."""
    for salvage in (False, True):
        try:
            reader = Reader(io.BytesIO(data), limits=TIGHT, salvage=salvage)
            for segment in reader.segments():
                for track in segment.actors:
                    assert track.motion.shape == (len(segment.pts), reader.header.params)
                    with suppress(FevError):
                        assert len(reader.who((track.actor, track.revision)).values)
            assert sum(reader.sections().values()) <= len(data)
            reader.seek_frame(1)
            next(reader.segments(), None)
            list(excerpts(io.BytesIO(data), TIGHT))
        except FevError as error:
            assert str(error) and "\n" not in str(error)


def repair(data: bytes) -> bytes:
    """The same bytes with every check that can be found made right, so that a fuzzer gets past them."""
    out, at = bytearray(data), 8
    out[:8] = b"\x89FEV\r\n\x1a\n"[: len(out)]
    while at + 5 <= len(out):
        end = at + 3 + out[at + 2] if out[at : at + 2] == b"\xf5\xee" else len(out)
        if end + 2 <= len(out):  # a part of a segment
            out[end : end + 2] = struct.pack("<H", crc16(bytes(out[at + 2 : end])))
            at = end + 2
            continue
        size = int.from_bytes(out[at + 6 : at + 9], "little")
        if out[at : at + 2] != b"\xf5\xed" or at + 15 + size > len(out):
            at += 1
            continue
        out[at + 9 : at + 11] = struct.pack("<H", crc16(bytes(out[at + 2 : at + 9])))
        body = bytes(out[at + 2 : at + 9] + out[at + 11 : at + 11 + size])
        out[at + 11 + size : at + 15 + size] = struct.pack("<I", zlib.crc32(body))
        at += 15 + size
    return bytes(out)
