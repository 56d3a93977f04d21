#!/usr/bin/env python3
"""A second .fev reader, written from `spec/fev-1.md`: checks and decodes integers.

It needs a standard library only. It is one file, longer than others here, so that it runs with
nothing beside it but the tables. It shares no code with `format/`, and a test holds the two against
each other. Slow and strict: it opens no sockets, draws no picture, and stops at the first fault.
Usage: fev_read.py FILE [TABLES]
"""

from __future__ import annotations

import binascii
import hashlib
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TABLES = Path(__file__).resolve().parent.parent / "spec" / "tables" / "fev-1.txt"
PLACES = {"HEAD": 0, "AUDH": 1, "meta": 2, "ACTR": 3, "SETT": 3, "VIDH": 3, "SEGM": 3, "indx": 4, "FEND": 5}
PARTS = ("IDEN", "DELT", "MODE", "PIVT")
ALIVE = 16
MAX_MAGNITUDE = 1 << 30
MAX_PAYLOAD = 8 << 20


class Fault(Exception):
    """Anything that is wrong with the file."""


def need(condition: object, message: str) -> None:
    if not condition:
        raise Fault(message)


class Tables:
    """spec: Tables. The file as integers."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        self.sha256 = hashlib.sha256(data).digest()
        lines = data.decode("ascii").splitlines()
        self.thresholds = [int(line) for line in lines[2:101]]
        self.rows = []  # of all shapes, 36 each
        for shape in range(13):
            for line in lines[102 + 37 * shape : 138 + 37 * shape]:
                self.rows.append([int(word) for word in line.split()])

    def level(self, mean: int) -> int:
        low, high = 0, len(self.thresholds)
        while low < high:
            middle = (low + high) // 2
            if self.thresholds[middle] <= mean:
                low = middle + 1
            else:
                high = middle
        return low


class Bytes:
    """spec: Conventions. A payload read front to back."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def raw(self, count: int) -> bytes:
        need(0 <= count <= len(self.data) - self.at, "payload too short")
        self.at += count
        return self.data[self.at - count : self.at]

    def left(self) -> int:
        return len(self.data) - self.at

    def fixed(self, code: str) -> tuple[Any, ...]:
        return struct.unpack("<" + code, self.raw(struct.calcsize("<" + code)))

    def varint(self, limit: int = (1 << 63) - 1) -> int:
        value = 0
        for i in range(9):
            byte = self.raw(1)[0]
            value |= (byte & 127) << 7 * i
            if byte < 128:
                need(byte or not i, "varint not in its shortest form")
                need(value <= limit, "value beyond its limit")
                return value
        raise Fault("varint too long")

    def signed(self) -> int:
        value = self.varint()
        return -((value + 1) // 2) if value % 2 else value // 2


class RangeDecoder:
    """spec: The range coder. `low` is kept in full, so that the ending can be checked."""

    def __init__(self, code: bytes) -> None:
        self.code, self.at = code, 0
        self.low, self.range, self.words = 0, (1 << 64) - 1, 2
        self.ahead = self.word() << 32 | self.word()  # the code's number minus low

    def word(self) -> int:
        word = self.code[self.at : self.at + 4].ljust(4, b"\0")
        self.at += 4
        return int.from_bytes(word, "big")

    def narrow(self, start: int, size: int, scale: int) -> None:
        self.low += scale * start
        self.ahead -= scale * start
        self.range = scale * size
        if self.range < 1 << 32:
            self.range <<= 32
            self.low <<= 32
            self.ahead = self.ahead << 32 | self.word()
            self.words += 1

    def symbol(self, row: list[int]) -> int:
        scale = self.range >> 24
        target = self.ahead // scale
        need(target < 1 << 24, "invalid code")
        start = 0
        for symbol, frequency in enumerate(row):
            if target < start + 256 * frequency:
                self.narrow(start, 256 * frequency, scale)
                return symbol
            start += 256 * frequency
        raise Fault("row does not add up")

    def bits(self, width: int) -> int:
        """Plain bits, the upper part first, at most 16 together."""
        value = 0
        while width:
            part = min(width, 16)
            scale = self.range >> 24
            target = self.ahead // scale
            need(target < 1 << 24, "invalid code")
            piece = target >> (24 - part)
            self.narrow(piece << (24 - part), 1 << (24 - part), scale)
            value = value << part | piece
            width -= part
        return value

    def escaped(self) -> int:
        negative = self.bits(1)
        width = 2
        while self.bits(1):
            width += 1
            need(width <= 32, "escape out of range")
        magnitude = (1 << width | self.bits(width)) - 4 + 16
        return -magnitude if negative else magnitude

    def finish(self) -> None:
        for size in range(max(0, 4 * self.words - 8), 4 * self.words + 1):
            unit = 8 * (4 * self.words - size)
            number = -(-self.low >> unit)
            if number << unit < self.low + self.range:
                need(self.code == number.to_bytes(size, "big").rstrip(b"\0"), "code not canonical")
                return
        raise Fault("no code for the final interval")


def decode_group(decoder: RangeDecoder, tables: Tables, levels: list[int], shapes: int | list[int] = 0) -> list[int]:
    """spec: Values at levels."""
    shapes = [shapes] * len(levels) if isinstance(shapes, int) else shapes
    rows = [level if level < 36 else 32 + level % 4 for level in levels]
    shifts = [0 if level < 36 else (level - 32) // 4 for level in levels]
    symbols = [decoder.symbol(tables.rows[36 * shape + row]) for shape, row in zip(shapes, rows)]
    values = [symbol - 15 if symbol < 31 else decoder.escaped() for symbol in symbols]
    return [value << shift | decoder.bits(shift) if shift else value for value, shift in zip(values, shifts)]


def decode_tracks(
    data: bytes, tables: Tables, held: list[bool], params: int, groups: int, is_motion: bool
) -> list[list[int]]:
    """spec: Motion. One list of values per frame."""
    need(len(data) >= 2, "levels to begin with")
    decoder = RangeDecoder(data[2:])
    frames = Track(tables, data[:2], params, groups, is_motion).decode(decoder, held)
    decoder.finish()
    return frames


class Track:
    """spec: Motion. What it keeps from frame to frame, and Parts: from part to part."""

    def __init__(self, tables: Tables, levels: bytes, params: int, groups: int, is_motion: bool) -> None:
        need(max(levels) < 100, "levels to begin with")
        self.tables, self.first, self.params, self.is_motion = tables, levels[0], params, is_motion
        every = [(params * g // groups, params * (g + 1) // groups, g) for g in range(groups)]
        self.spans = [(a, b, g) for a, b, g in every if b > a]
        self.last = [0] * params
        self.mean = [tables.thresholds[levels[1] - 1] if levels[1] else 0] * params
        self.previous = [0] * params
        self.coded = 0
        self.moves = [[4, 1] for _ in range(8)]
        self.before = 0

    def stills(self, decoder: RangeDecoder, held: list[bool]) -> list[bool]:
        """Frames that stand still."""
        out = [False] * len(held)
        for t in range(0 if self.coded else 1, len(held)):
            if held[t]:
                continue
            moved, still = self.moves[self.before]
            share = 512 + 64000 * still // (moved + still)
            flag = decoder.symbol([65506 - share, share] + [1] * 30)
            need(flag < 2, "neither moves nor stands still")
            out[t] = bool(flag)
            self.moves[self.before][flag] += 1
            self.before = (2 * self.before + flag) % 8
        return out

    def decode(self, decoder: RangeDecoder, held: list[bool]) -> list[list[int]]:
        """The next frames."""
        frames = []
        stills = self.stills(decoder, held) if self.is_motion else [False] * len(held)
        for hold, still in zip(held, stills):
            if not (hold and self.coded) and not still:
                self.previous = [v + r for v, r in zip(self.previous, self.residual(decoder))]
            frames.append(self.previous)
        need(all(abs(v) <= MAX_MAGNITUDE for frame in frames for v in frame), "value out of range")
        return frames

    def residual(self, decoder: RangeDecoder) -> list[int]:
        """Of a frame that is coded."""
        tables, mean, last, coded, is_motion = self.tables, self.mean, self.last, self.coded, self.is_motion
        code: list[int] = []
        seen = expected = 65536
        for a, b, g in self.spans:
            if coded == 0:
                levels = [self.first] * (b - a)
            else:
                gain = min(max(seen * 256 // expected, 16), 2048)
                levels = [tables.level(m * gain >> 8) for m in mean[a:b]]
            shapes = [3 + 2 * g + (r != 0) for r in last[a:b]] if is_motion and coded else 0
            group = decode_group(decoder, tables, levels, shapes)
            seen += sum(map(abs, group)) << 16
            expected += sum(mean[a:b])
            code += group
        if is_motion:
            residual = [-c if r < 0 else c for c, r in zip(code, last)]
        else:
            residual = [c + r for c, r in zip(code, last)]
        if coded:
            need(not is_motion or any(residual), "stands still without a flag")
            self.last = residual
            step = 2 if coded <= 5 else 3
            self.mean = [m + ((abs(c) << 16) - m >> step) for m, c in zip(mean, code)]
        self.coded += 1
        return residual


def words(values: list[int]) -> bytes:
    return struct.pack(f"<{len(values)}i", *values)


def read_head(data: bytes, tables: Tables) -> dict[str, Any]:
    """spec: HEAD."""
    take = Bytes(data)
    head: dict[str, Any] = {}
    need(take.fixed("I")[0] == 1, "another version of the format")
    names = ("width", "height", "tb_num", "tb_den", "fps_num", "fps_den", "frames", "model", "tables", "params")
    head.update(zip(names, take.fixed("HHIIIII32s32sB")))
    head.update(zip(("flags", "segment_frames", "matrix", "primaries", "transfer"), take.fixed("BHBBB")))
    need(not take.left(), "header too long")
    need(1 <= head["width"] <= 8192 and 1 <= head["height"] <= 8192, "picture size")
    need(all(0 < head[k] < 1 << 31 for k in ("tb_num", "tb_den", "fps_num", "fps_den")), "time base or rate")
    need(1 <= head["params"] <= 64 and head["segment_frames"] <= 1024, "parameters or segment length")
    need(head["frames"] == 0xFFFFFFFF or head["frames"] <= 1 << 24, "frame count")
    need(head["flags"] < 64, "reserved bits")
    need(head["tables"] == tables.sha256, "made with other tables")
    ticks, rest = divmod(head["fps_den"] * head["tb_den"], head["fps_num"] * head["tb_num"])
    head["step"] = 0 if rest else ticks
    head["seed"] = binascii.crc_hqx(head["model"] + head["tables"], 0xFFFF)
    return head


def identity_sha256(head: bytes, actor: dict[str, Any]) -> str:
    """spec: IREF. The hash of the identity that an actor holds or refers to."""
    if actor["reference"] is not None:
        return str(actor["reference"].hex())
    digest = hashlib.sha256(head[28:93] + bytes(actor["steps"]))
    for name in PARTS:
        if name in actor["parts"]:
            digest.update(name.encode() + hashlib.sha256(actor["parts"][name]).digest())
    return digest.hexdigest()


def read_actor(data: bytes, before: dict[tuple[int, int], dict[str, Any]], tables: Tables) -> dict[str, Any]:
    """spec: ACTR. The revision complete: its parts as bytes, and decoded.

    before: what is alive.
    """
    take = Bytes(data)
    flags = take.fixed("B")[0]
    need(flags < 128, "actor flags")
    number, revision = (take.varint(1023), take.varint(65535)) if flags & 64 else (0, 0)
    need(not flags & 64 or number or revision, "actor not in its short form")
    out: dict[str, Any] = dict(number=number, revision=revision, steps=(0, 0), parts={}, reference=None)
    names = [name for bit, name in enumerate(PARTS) if flags >> bit & 1]
    if flags & 16:
        need(not names and not flags & 32 and take.left() == 32, "reference")
        out["reference"] = take.raw(32)
        return out
    need(names and (flags & 33) and (revision or not flags & 32), "parts of an actor")
    out["steps"] = take.fixed("BB")
    if flags & 32:
        base = before.get((number, revision - 1))
        need(base is not None and base["reference"] is None, "nothing to go on from")
        assert base is not None
        out["parts"].update(base["parts"])
    for name in names:
        out["parts"][name] = take.raw(take.left() if name == names[-1] else take.varint())
    parts = out["parts"]
    need(sum(map(len, parts.values())) <= MAX_PAYLOAD, "actor too large")
    out["identity"] = read_identity(parts["IDEN"], tables)
    out["delta"] = read_delta(parts["DELT"], tables) if "DELT" in parts else None
    if "MODE" in parts:
        out["modes"] = read_modes(parts["MODE"], tables)
    if "PIVT" in parts:
        out["pivot"] = read_pivot(parts["PIVT"])
    return out


class Cast:
    """spec: What is alive. Actors and sets that a segment may name."""

    def __init__(self, head: bytes, flags: int) -> None:
        self.head, self.has_set = head, bool(flags & 16)
        self.actors: dict[tuple[int, int], dict[str, Any]] = {}
        self.sets: dict[int, dict[str, Any]] = {}
        self.seen: dict[int, dict[int, Any]] = {}
        self.seen_sets: dict[int, bytes] = {}
        self.video: bytes | None = None

    def actor(self, actor: dict[str, Any]) -> None:
        number, revision = actor["number"], actor["revision"]
        state = actor["reference"] is None, identity_sha256(self.head, actor)
        known = self.seen.setdefault(number, {})
        if revision in known:
            need(known[revision] == state, "actor comes again and differs")
        else:
            need(known or number == len(self.seen) - 1, "actor out of order")
            need(revision == max(known, default=-1) + 1, "revision out of order")
        known[revision] = state
        self.seen[number] = {r: known[r] for r in sorted(known)[-2:]}
        own = {r: a for (n, r), a in self.actors.items() if n == number}
        own[revision] = actor
        self.actors = {key: a for key, a in self.actors.items() if key[0] != number}
        self.actors.update({(number, r): own[r] for r in sorted(own)[-2:]})
        numbers = list(dict.fromkeys(n for n, _ in self.actors))
        self.actors = {key: a for key, a in self.actors.items() if key[0] in numbers[-ALIVE:]}
        self.weigh()

    def set(self, given: dict[str, Any], data: bytes) -> None:
        number = given["number"]
        need(number or self.has_set, "set 0 without its flag")
        need(self.seen_sets.get(number, data) == data, "set comes again and differs")
        need(number in self.seen_sets or number == len(self.seen_sets) + (not self.has_set), "set out of order")
        self.seen_sets[number] = data
        self.sets.pop(number, None)
        self.sets[number] = given
        while len(self.sets) > ALIVE:
            del self.sets[next(iter(self.sets))]
        self.weigh()

    def weigh(self) -> None:
        total = sum(len(part) for actor in self.actors.values() for part in actor["parts"].values())
        need(total + sum(len(given["still"]["data"]) for given in self.sets.values()) <= 32 << 20, "too much alive")

    def check(self, segment: dict[str, Any]) -> None:
        for track in segment["actors"]:
            need((track["actor"], track["revision"]) in self.actors, "an actor is not there")
        number = segment["set"]
        need(number is None or number in self.sets or (number == 0 and not self.has_set), "a set is not there")
        need(segment["video"] is None or self.video is not None, "video without its header")


def read_set(data: bytes, head: dict[str, Any]) -> dict[str, Any]:
    """spec: SETT."""
    take = Bytes(data)
    flags = take.fixed("B")[0]
    need(flags < 4, "set flags")
    number = take.varint(1023) if flags & 1 else 0
    need(number or not flags & 1, "set not in its short form")
    place = (take.fixed("H")[0], take.signed(), take.signed()) if flags & 2 else None
    still = read_still(take)
    if place is not None:
        scale, x, y = place
        need(scale and max(abs(x), abs(y)) < 1 << 30, "place of a set")
        covers = all(256 * still[k] == scale * head[k] for k in ("width", "height"))
        need(x or y or not covers, "place not in its short form")
    return dict(number=number, place=place, still=still)


def read_video_header(data: bytes) -> dict[str, Any]:
    """spec: VIDH."""
    take = Bytes(data)
    codec, width, height = take.fixed("BHH")
    need(codec == 1 and 0 < width <= 4096 and 0 < height <= 4096, "video")
    need(0 < take.left() <= 1024, "sequence header")
    return dict(width=width, height=height, sequence=take.raw(take.left()))


def read_identity(data: bytes, tables: Tables) -> list[int]:
    """spec: IDEN."""
    take = Bytes(data)
    count = take.varint(1 << 14)
    level, shape = take.fixed("BB")
    need(count and level < 100 and shape < 3 and take.left() >= 2, "identity fields")
    decoder = RangeDecoder(take.raw(take.left() - 2))
    mean = tables.thresholds[level - 1] if level else 0
    values: list[int] = []
    while len(values) < count:
        size = min(8, count - len(values))
        group = decode_group(decoder, tables, [tables.level(mean)] * size, shape)
        values += group
        mean += (sum(map(abs, group)) << 16) // size - mean >> 2
    decoder.finish()
    need(all(abs(v) <= MAX_MAGNITUDE for v in values), "value out of range")
    need(binascii.crc_hqx(words(values), 0xFFFF) == take.fixed("H")[0], "identity check")
    return values


def row_of(counts: list[int]) -> list[int]:
    """spec: DELT, the row that counts turn into."""
    total = sum(counts)
    row = [1 + count * 65504 // total for count in counts]
    row[15] += 65536 - sum(row)
    return row


def count(counts: list[int], symbol: int) -> None:
    """spec: DELT, a symbol moves the counts."""
    counts[symbol] += 512
    counts[30 - symbol if symbol < 31 else 31] += 512


def halve(counts: list[int]) -> None:
    """spec: DELT, counts that have become too large."""
    if sum(counts) > 64 << 16:
        counts[:] = [count >> 1 for count in counts]


def read_delta(data: bytes, tables: Tables) -> list[tuple[Any, ...]]:
    """spec: DELT. (key, variant, rank, step_code, values) of each tensor."""
    take = Bytes(data)
    listed = [(*take.fixed("HBBBB"), take.varint(1 << 19)) for _ in range(take.varint(4096))]
    need(listed and all(entry[5] for entry in listed) and sum(entry[5] for entry in listed) <= 1 << 19, "delta counts")
    need(len({entry[:2] for entry in listed}) == len(listed), "tensor twice")
    need(take.left() >= 2, "delta too short")
    decoder = RangeDecoder(take.raw(take.left() - 2))
    counts: list[int] = []
    known, check, tensors = 0, 0xFFFF, []
    for key, variant, rank, step_code, start, size in listed:
        if start != 255:
            need(start < 108, "unknown row")
            counts, known = list(tables.rows[start]), 0
        need(counts, "nothing to carry on")
        values: list[int] = []
        while len(values) < size:
            row = row_of(counts)
            block = min(16 if known < 512 else 128, size - len(values))
            symbols = [decoder.symbol(row) for _ in range(block)]
            values += [symbol - 15 if symbol < 31 else decoder.escaped() for symbol in symbols]
            for symbol in symbols:
                count(counts, symbol)
            halve(counts)
            known += block
        need(all(abs(v) <= MAX_MAGNITUDE for v in values), "value out of range")
        check = binascii.crc_hqx(words(values), check)
        tensors.append((key, variant, rank, step_code, values))
    decoder.finish()
    need(check == take.fixed("H")[0], "delta check")
    return tensors


def read_modes(data: bytes, tables: Tables) -> dict[str, list[Any]]:
    """spec: MODE. The mix by columns, and five components: a list of planes, each a list of
    rows."""
    take = Bytes(data)
    planes, params, columns, size, grid, mix_step_code = take.fixed("BBBBBB")
    need(planes and params and 1 <= columns <= planes and 3 <= size <= 16 and 3 <= grid <= 16, "modes")
    need(planes * (3 * 4**size // 2 + 2 * 4**grid) <= 1 << 21, "too many mode values")
    steps = list(take.raw(2 * planes))
    need(take.left() >= 2, "modes too short")
    decoder = RangeDecoder(take.raw(take.left() - 2))
    mix = []
    for _ in range(columns):
        level = decoder.bits(7)
        need(level < 100, "unknown level")
        mix.append(decode_group(decoder, tables, [level] * params, 0))
        need(tables.level((sum(map(abs, mix[-1])) << 16) // params) == level, "level of a column")
    begin = [72 + row for row in (0, 8, 11, 13, 15, 16, 18, 19, 21, 22, 24, 26, 27, 30, 32, 35, 35)] * 2
    own, colour, flow = ([list(tables.rows[row]) for row in begin] for _ in range(3))
    luma = read_component(decoder, planes, 1 << size, LUMA, own, None)
    blue = read_component(decoder, planes, 1 << size - 1, COLOUR, colour, luma)
    red = read_component(decoder, planes, 1 << size - 1, COLOUR, colour, blue)
    across = read_component(decoder, planes, 1 << grid, FLOW, flow, None)
    down = read_component(decoder, planes, 1 << grid, FLOW, flow, across)
    decoder.finish()
    check = binascii.crc_hqx(words([column[i] for i in range(params) for column in mix]), 0xFFFF)
    for parts in ((luma,), (blue, red), (across, down)):
        values = [value for k in range(planes) for part in parts for row in part[k] for value in row]
        need(all(abs(value) <= MAX_MAGNITUDE for value in values), "value out of range")
        check = binascii.crc_hqx(words(values), check)
    need(check == take.fixed("H")[0], "modes check")
    return {"mix": mix, "mix_step_code": [mix_step_code], "steps": steps, "components": [luma, blue, red, across, down]}


# spec: MODE, the weights of its table, for odd = 0 and 1; and the bounds of the sum
LUMA = ((21, 0, 0, 6, 0, 17, 3), (13, 0, 45, 1, 0, 5, 2))
COLOUR = ((21, 12, 0, 5, 2, 12, 2), (11, 6, 41, 2, 0, 5, 2))
FLOW = ((16, 32, 0, 14, 15, 12, 5), (10, 19, 42, 4, 4, 4, 3))
BOUNDS = (10, 20, 31, 44, 59, 77, 102, 128, 166, 218, 282, 384, 538, 819, 1280, 2048)


Plane = list[list[int]]  # rows of a plane of coefficients


def read_component(
    decoder: RangeDecoder,
    planes: int,
    side: int,
    weights: tuple[tuple[int, ...], ...],
    counts: list[list[int]],
    guide: list[Plane] | None,
) -> list[Plane]:
    """spec: MODE, a component. One list of rows a plane."""
    bands = side.bit_length() - 2
    present = [[decoder.bits(1) for _ in range(bands)] for _ in range(planes)]
    out = [[[0] * side for _ in range(side)] for _ in range(planes)]

    def size(plane: Plane | None, y: int, x: int) -> int:
        return min(abs(plane[y][x]), 31) if plane else 0

    for band in range(bands):
        half = 4 << max(0, band - 1)
        corners = [(0, half), (half, 0), (half, half)] if band else [(0, 0)]
        places = [(top, left, y, x) for top, left in corners for y in range(half) for x in range(half)]
        history = dict.fromkeys(places, 0)
        for k in range(planes):
            if not present[k][band]:
                continue
            now, before, beside = out[k], out[k - 1] if k else None, guide[k] if guide else None
            for odd in (0, 1):
                a, b, c, d, e, f, g = weights[odd]
                here = [place for place in places if (place[2] + place[3]) % 2 == odd]
                kinds = []
                for top, left, y, x in here:
                    total = a * size(before, top + y, left + x) + b * size(beside, top + y, left + x)
                    total += g * history[top, left, y, x]
                    for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                        if 0 <= v < half and 0 <= u < half:
                            total += d * size(before, top + v, left + u) + e * size(beside, top + v, left + u)
                            if odd:
                                total += c * size(now, top + v, left + u)
                            if band > 1:
                                total += f * size(now, top // 2 + v // 2, left // 2 + u // 2)
                    kinds.append(sum(total >= bound for bound in BOUNDS) + 17 * odd)
                rows = {kind: row_of(counts[kind]) for kind in set(kinds)}
                symbols = [decoder.symbol(rows[kind]) for kind in kinds]
                for (top, left, y, x), kind, symbol in zip(here, kinds, symbols):
                    now[top + y][left + x] = symbol - 15 if symbol < 31 else decoder.escaped()
                    count(counts[kind], symbol)
                for own in counts:  # also those that this turn did not use: one that grew by much is halved twice
                    halve(own)
            for top, left, y, x in places:
                history[top, left, y, x] = (3 * history[top, left, y, x] >> 2) + 4 * size(now, top + y, left + x)
            need(any(now[top + y][left + x] for top, left, y, x in places), "empty band")
    return out


def read_audio(take: Bytes, begin: int = 0) -> list[tuple[int, int, bytes]]:
    """spec: Audio packets. (pts, duration, bytes) each. Times count from `begin`."""
    count = take.varint(16384)
    need(0 < count <= take.left(), "packet count")
    first = at = begin + take.signed()
    common = take.varint(1 << 24)
    times = []
    for _ in range(count):
        start = at if common else at + take.signed()
        duration = common or take.varint(1 << 24)
        need(duration, "packet without duration")
        times.append((start, duration))
        at = start + duration
    need(all(abs(start) < 1 << 53 for start, _ in times) and times[0][0] == first, "audio time")
    steady = all(time == (first + i * times[0][1], times[0][1]) for i, time in enumerate(times))
    need(bool(common) == steady, "audio times not in their short form")
    sizes = [take.varint() for _ in range(count)]
    need(sum(sizes) <= 1 << 20, "too much audio")
    return [(start, duration, take.raw(size)) for (start, duration), size in zip(times, sizes)]


def read_steps(take: Bytes, count: int, tables: Tables) -> list[int]:
    """spec: SEGM, times."""
    base = take.varint(1 << 53)
    if not base:
        steps = [take.varint(1 << 53) for _ in range(count)]
        middle = sorted(steps)[(count - 1) // 2]
        need(any(abs(step - middle) > MAX_MAGNITUDE for step in steps), "times not in their short form")
        return steps
    period, level = take.fixed("BB")
    need(period < 16 and level < 100, "unknown period or level")
    decoder = RangeDecoder(take.raw(take.varint()))
    news = decode_group(decoder, tables, [level] * count, 0)
    decoder.finish()
    jitter: list[int] = []
    for value in news:
        jitter.append(value + (jitter[-period] if 0 < period <= len(jitter) else 0))
    need(all(abs(value) <= MAX_MAGNITUDE for value in jitter), "value out of range")
    need(sorted(jitter)[(count - 1) // 2] == 0, "base of the times")
    return [base + value for value in jitter]


def read_pivot(data: bytes) -> tuple[list[int], dict[str, Any]]:
    """spec: PIVT. The parameters, and the picture."""
    take = Bytes(data)
    count = take.varint(64)
    reference = [take.signed() for _ in range(count)]
    need(not count or reference[-1] != 0, "pivot's parameters")
    need(all(abs(value) <= MAX_MAGNITUDE for value in reference), "value out of range")
    return reference, read_still(take)


def read_still(take: Bytes) -> dict[str, Any]:
    """spec: Stills. The compressed picture under `data`, beside its fields."""
    codec, width, height, matrix, full = take.fixed("BHHBB")
    need(codec == 1 and 0 < width <= 8192 and 0 < height <= 8192 and full < 2, "still")
    need(0 < take.left() <= 4 << 20, "size of a still")
    return dict(width=width, height=height, matrix=matrix, full=bool(full), data=take.raw(take.left()))


def read_times(take: Bytes, first: int, count: int, tables: Tables) -> list[int]:
    """spec: SEGM, times, after that of the first frame."""
    step = take.varint(1 << 53) if count > 1 else 0
    steps = [step] * (count - 1) if step or count == 1 else read_steps(take, count - 1, tables)
    need(all(step > 0 for step in steps) and (step or len(steps) == 0 or len(set(steps)) > 1), "times")
    pts = [first]
    for step in steps:
        pts.append(pts[-1] + step)
    need(all(abs(p) < 1 << 53 for p in pts), "times")
    return pts


def read_segment(data: bytes, head: dict[str, Any], tables: Tables) -> dict[str, Any]:
    """spec: SEGM."""
    take = Bytes(data)
    flags = take.varint()
    need(flags < 512 and not (flags & 256 and flags & 192), "segment flags")
    index = take.varint(1 << 22)
    count = head["segment_frames"]
    first, part_number = index * count, 0
    if flags & 256:
        need(flags & 1 or count, "segment place")
        part_number, count = take.fixed("B")[0], take.varint(1024)
        need(part_number < 100, "number of a part")
    if flags & 1:
        begins, first = first, take.varint(1 << 24)
        count = count if flags & 256 else take.varint(1024)
        like = head["segment_frames"] and (flags & 256 or head["segment_frames"] == count)
        need(not like or first != begins, "place not in its short form")
    need(count and first + count <= 1 << 24, "segment place")
    regular = [(first + i) * head["step"] for i in range(count)] if head["step"] else []
    if (first + count) * head["step"] >= 1 << 53:
        regular = []
    pts = regular
    if flags & 2:
        pts = read_times(take, take.signed(), count, tables)
        need(pts != regular, "times")
    need(pts, "no times")
    regular_stage = -1 if flags & 128 else 0, [(0, 0)]
    number, cast = regular_stage
    if flags & 16:
        number = take.varint(1024) - 1
        cast = [(take.varint(1023), take.varint(65535)) for _ in range(take.varint(16))]
        need(len({actor for actor, _ in cast}) == len(cast), "an actor twice")
        need((number, cast) != regular_stage, "stage not in its short form")
    video_alone = bool(flags & 128) and not cast
    need(video_alone or len(cast) == 1 or head["flags"] & 2, "where the actors stand")
    need(len(cast) < 2 or not head["flags"] & 1, "actors in the aligned square")
    if flags & 128:
        need(video_alone or head["flags"] & 3 == 2, "video behind the aligned square")
        need(number < 0 and not flags & 32, "video with a set or a camera")
    need(count * len(cast) <= 4096, "frames of all actors")
    helds = [read_runs(take, count) if flags & 4 else [False] * count for _ in cast]
    need(not flags & 4 or any(map(any, helds)), "no held frame")
    audio = read_audio(take) if flags & 8 else []
    if flags & 256:
        need(take.left() >= 2, "no final check")
        out = dict(index=index, first=first, pts=pts, audio=audio, camera=None, patches=[], video=None)
        out.update(set=None if number < 0 else number, number=part_number, coders={}, last=count)
        out["actors"] = [dict(actor=a, revision=r, held=[], motion=[], placement=[]) for a, r in cast]
        read_code(take.raw(take.left() - 2), out, helds, bool(flags & 32), head, tables)
        check = head["seed"]
        for frame in values_of(out):
            check = binascii.crc_hqx(words(frame), check)
        need(check == take.fixed("H")[0], "final check")
        return out
    camera = None
    if flags & 32:
        camera = decode_tracks(take.raw(take.varint()), tables, [False] * count, 4, 2, False)
        edges = head["width"] + head["height"]
        need(any(map(any, camera)) and all(frame[2] > -edges for frame in camera), "camera")
    patches = read_patches(take, len(cast), count) if flags & 64 else []
    video = read_video(take, count) if flags & 128 else None
    blocks = [take.raw(take.varint()) for _ in cast[1:]]
    need(take.left() >= 2, "no final check")
    blocks.append(take.raw(take.left() - 2))
    need(cast or not blocks[0], "motion of nobody")
    tracks, check = [], head["seed"]
    for (actor, revision), held, block in zip(cast, helds, blocks):
        code, placement = Bytes(block), None
        if head["flags"] & 2:
            placement = decode_tracks(code.raw(code.varint()), tables, held, 4, 2, False)
        motion = decode_tracks(code.raw(code.left()), tables, held, head["params"], 5, True)
        tracks.append(dict(actor=actor, revision=revision, held=held, motion=motion, placement=placement))
    out = dict(index=index, first=first, pts=pts, audio=audio, actors=tracks, camera=camera, patches=patches)
    out.update(set=None if number < 0 else number, video=video)
    for frame in values_of(out):
        check = binascii.crc_hqx(words(frame), check)
    need(check == take.fixed("H")[0], "final check")
    return out


def read_code(
    data: bytes, segment: dict[str, Any], helds: list[list[bool]], moves: bool, head: dict[str, Any], tables: Tables
) -> None:
    """spec: Parts. The code of a part, whose frames join those of the segment."""
    take, coders, count = Bytes(data), segment["coders"], segment["last"]
    lines: list[tuple[Any, list[bool]]] = []
    for k, held in enumerate(helds):
        names = ("placement", "motion") if head["flags"] & 2 else ("motion",)
        lines += [((k, name), held) for name in names]
    lines += [("camera", [False] * count)] if moves else []
    for key, _ in lines:
        if key not in coders:
            params, groups = (head["params"], 5) if key[1] == "motion" else (4, 2)
            coders[key] = Track(tables, take.raw(2), params, groups, key[1] == "motion")
    decoder = RangeDecoder(take.raw(take.left()))
    got = {key: coders[key].decode(decoder, held) for key, held in lines}
    decoder.finish()
    for k, (track, held) in enumerate(zip(segment["actors"], helds)):
        track["held"] += held
        for name in ("motion", "placement"):
            track[name] = track[name] + got[k, name] if (k, name) in got else None
    camera, edges = got.get("camera", [[0] * 4] * count), head["width"] + head["height"]
    need(not moves or any(map(any, camera)), "camera at rest")
    need(all(frame[2] > -edges for frame in camera), "camera")
    if not moves and "camera" in coders:
        coders["camera"].previous = [0] * 4
    if moves or segment["camera"]:
        segment["camera"] = (segment["camera"] or [[0] * 4] * (len(segment["pts"]) - count)) + camera


def read_part(data: bytes, segment: dict[str, Any], head: dict[str, Any], tables: Tables) -> None:
    """spec: Parts. A part after the first joins its segment."""
    take = Bytes(data)
    byte = take.fixed("B")[0]
    segment["number"] = (segment["number"] + 1) % 100
    need(byte & 127 == segment["number"], "number of a part")
    flags = take.fixed("B")[0] if byte & 128 else 0
    need(bool(flags) == bool(byte & 128) and not flags & ~47, "part flags")
    count, first, last = segment["last"], segment["first"] + len(segment["pts"]), segment["pts"][-1]
    if flags & 1:
        count = take.varint(1024)
        need(count and count != segment["last"], "frames of a part")
    frames = len(segment["pts"]) + count
    need(frames <= 1024 and frames * len(segment["actors"]) <= 4096 and first + count <= 1 << 24, "frames of a segment")
    regular = [(first + i) * head["step"] for i in range(count)] if head["step"] else []
    regular = [] if (first + count) * head["step"] >= 1 << 53 else regular
    pts = read_times(take, last + take.varint(1 << 53), count, tables) if flags & 2 else regular
    need(pts and pts[0] > last and not (flags & 2 and pts == regular), "times")
    helds = [read_runs(take, count) if flags & 4 else [False] * count for _ in segment["actors"]]
    need(not flags & 4 or any(map(any, helds)), "no held frame")
    audio = segment["audio"]
    if flags & 8:
        need(head["flags"] & 8, "audio without header")
        audio += read_audio(take, audio[-1][0] + audio[-1][1] if audio else 0)
        need(len(audio) <= 16384 and sum(len(packet[2]) for packet in audio) <= 1 << 20, "too much audio")
    segment["pts"] += pts
    segment["last"] = count
    read_code(take.raw(take.left()), segment, helds, bool(flags & 32), head, tables)


def values_of(segment: dict[str, Any]) -> Iterator[list[int]]:
    """spec: Final check. The values of a segment in the order in which checks and hashes take them."""
    for track in segment["actors"]:
        yield from track["motion"]
        yield from track["placement"] or []
    yield from segment["camera"] or []


def read_runs(take: Bytes, count: int) -> list[bool]:
    """spec: SEGM, held."""
    held: list[bool] = []
    while len(held) < count:
        state = bool(held) and not held[-1]
        run = take.varint(count - len(held))
        if not held and not run:
            run, state = take.varint(count), True
        need(run, "empty run")
        held += [state] * run
    return held


def read_patches(take: Bytes, tracks: int, frames: int) -> list[dict[str, Any]]:
    """spec: Patches."""
    patches: list[dict[str, Any]] = []
    count = take.varint(64)
    need(count, "no patches")
    for _ in range(count):
        track, first, long = take.varint(), take.varint(), take.varint()
        need(track < tracks and long and first + long <= frames, "patch beside its segment")
        still = read_still(Bytes(take.raw(take.varint())))
        if patches:
            last = patches[-1]
            after = track == last["track"] and first >= last["first"] + last["frames"]
            need(track > last["track"] or after, "patches overlap")
        patches.append(dict(track=track, first=first, frames=long, still=still))
    need(sum(len(patch["still"]["data"]) for patch in patches) <= 4 << 20, "size of patches")
    return patches


def read_video(take: Bytes, frames: int) -> tuple[int, list[bytes]]:
    """spec: Video. Step and packets."""
    step = take.varint(frames)
    need(step, "video without a step")
    sizes = [take.varint() for _ in range(0, frames, step)]
    need(all(sizes) and sum(sizes) <= 4 << 20, "size of the video")
    return step, [take.raw(size) for size in sizes]


def read_chunks(data: bytes) -> Iterator[tuple[str, int, bytes]]:
    """spec: Chunks. Yields (type, offset, payload); the type of a part is +."""
    need(data[:8] == b"\x89FEV\r\n\x1a\n", "signature")
    at = 8
    while at < len(data):
        if data[at : at + 2] == b"\xf5\xee":
            take = Bytes(data)
            take.at = at + 2
            content = take.raw(take.varint(MAX_PAYLOAD))
            check = binascii.crc_hqx(data[at + 2 : take.at], 0xFFFF)
            need(check == take.fixed("H")[0], "part CRC")
            yield "+", at, content
            at = take.at
            continue
        need(len(data) - at >= 15, "truncated")
        name, size = data[at + 2 : at + 6], int.from_bytes(data[at + 6 : at + 9], "little")
        need(data[at : at + 2] == b"\xf5\xed", "no sync")
        need(
            binascii.crc_hqx(data[at + 2 : at + 9], 0xFFFF) == struct.unpack("<H", data[at + 9 : at + 11])[0],
            "header CRC",
        )
        need(name.isalpha() and size <= MAX_PAYLOAD, "chunk type or size")
        payload = data[at + 11 : at + 11 + size]
        tail = data[at + 11 + size : at + 15 + size]
        need(len(tail) == 4, "truncated")
        need(zlib.crc32(data[at + 2 : at + 9] + payload) == struct.unpack("<I", tail)[0], "chunk CRC")
        yield name.decode(), at, payload
        at += 15 + size


def read_index(data: bytes, own: int) -> list[int]:
    """spec: indx."""
    take = Bytes(data)
    stride, count, at, offsets = take.varint(), take.varint(1 << 20), 0, []
    need(stride and count and count <= take.left(), "index fields")
    for _ in range(count):
        step = take.varint()
        at += step
        need(step and at < own, "index offset")
        offsets.append(at)
    need(not take.left(), "index too long")
    return offsets


def read(data: bytes, tables_path: Path = TABLES) -> dict[str, Any]:
    """The whole stream as plain integers. Raises Fault.

    `actors` are all revisions in the order in which they first came, `sets` likewise.
    """
    tables = Tables(tables_path)
    setup: dict[str, bytes] = {}
    group: set[str] = set()
    out: dict[str, Any] = dict(chunks=[], segments=[], actors={}, sets={}, video=None)
    place, index_at, ended, frame, last = -1, None, False, 0, None
    cast: Cast | None = None
    going = False  # a segment in parts that may go on
    for name, at, payload in read_chunks(data):
        need(not ended, "bytes after the end")
        out["chunks"].append((name, at, len(payload)))
        if name == "+":
            need(going, "a part follows no other")
            segment = out["segments"][-1]
            read_part(payload, segment, out["head"], tables)
            frame, last = segment["first"] + len(segment["pts"]), segment["pts"][-1]
            continue
        going = False
        if name not in PLACES:
            need(place >= 0, "chunk before the header")
            need(name[0].islower(), f"unknown critical chunk {name}")
            continue
        now = PLACES[name]
        need(place >= 0 or now == 0, "chunk before the header")
        need(now > place or now == place == 3 or (now == 0 and place == 3), "chunk out of order")
        need(not (place < 3 <= now) or group == set(setup), "set-up incomplete")
        place = now
        if now < 3:
            group = {name} if now == 0 else group | {name}
            need(name not in setup or setup[name] == payload, "repeated set-up differs")
            need(name in setup or cast is None, "set-up comes late")
            setup[name] = payload
            if name == "HEAD":
                out["head"] = read_head(payload, tables)
            continue
        head = out["head"]
        need(bool(head["flags"] & 8) == ("AUDH" in setup), "flags and set-up disagree")
        cast = cast or Cast(setup["HEAD"], head["flags"])
        if name == "ACTR":
            actor = read_actor(payload, cast.actors, tables)
            cast.actor(actor)
            out["actors"].setdefault((actor["number"], actor["revision"]), actor)
        elif name == "SETT":
            given = read_set(payload, head)
            cast.set(given, payload)
            out["sets"].setdefault(given["number"], given)
        elif name == "VIDH":
            need(cast.video in (None, payload), "video's header comes again and differs")
            cast.video, out["video"] = payload, read_video_header(payload)
        elif name == "SEGM":
            segment = read_segment(payload, head, tables)
            need(segment["index"] == len(out["segments"]) and segment["first"] == frame, "segment does not follow")
            need(last is None or segment["pts"][0] > last, "time goes back")
            need(not segment["audio"] or head["flags"] & 8, "audio without header")
            cast.check(segment)
            frame, last = frame + len(segment["pts"]), segment["pts"][-1]
            out["segments"].append(segment)
            going = "coders" in segment
        elif name == "indx":
            index_at = at
            read_index(payload, at)
        else:
            take = Bytes(payload)
            totals, back = (take.varint(), take.varint()), take.varint()
            need(not take.left(), "end too long")
            need(totals == (len(out["segments"]), frame), "totals")
            need(head["frames"] in (0xFFFFFFFF, frame), "promised frames")
            need((at - back if back else None) == index_at, "index distance")
            ended = True
    need(ended, "truncated")
    for actor in out["actors"].values():
        actor["sha256"] = identity_sha256(setup["HEAD"], actor)
    return out


def symbols_sha256(stream: dict[str, Any]) -> str:
    """spec: Conformance. Hash of all motion, placement and camera."""
    digest = hashlib.sha256()
    for segment in stream["segments"]:
        for frame in values_of(segment):
            digest.update(words(frame))
    return digest.hexdigest()


def main() -> int:
    if len(sys.argv) not in (2, 3):
        print("usage: fev_read.py FILE [TABLES]", file=sys.stderr)
        return 2
    try:
        stream = read(Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]) if len(sys.argv) == 3 else TABLES)
    except (Fault, OSError) as fault:
        print(f"fev_read: {fault}", file=sys.stderr)
        return 1
    for name, at, size in stream["chunks"]:
        print(f"{at:>10} {name} {size}")
    for (number, revision), actor in stream["actors"].items():
        print(f"actor {number} revision {revision} sha256 {actor['sha256']}")
    print(f"{len(stream['segments'])} segments, symbols sha256 {symbols_sha256(stream)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
