"""Break a file in every possible place: each single bit turned over, each length it can be cut to.

    python -m fev.tools.lab.torture FILE.fev [--json]

Counts the changes that are noticed and named by place, compares every segment that salvaging delivers with the
whole file's, and states the slowest reading and the memory on top of what the start took.  Minutes for a few
kilobytes; meant for small files with at least two segments.
"""

from __future__ import annotations

import hashlib
import io
import resource
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from ...format.chunk import FRAME_BYTES, PART, PART_SYNC, SIGNATURE, read_chunk
from ...format.errors import FevError
from ...format.reader import Reader
from ...format.segment import Segment
from ...format.source import Source
from ..common import parser, print_json, run, say


def owners(data: bytes) -> list[tuple[str, int, int]]:
    """For each byte: type and offset of its chunk and, in segments, which; else -1."""
    out: list[tuple[str, int, int]] = [("signature", 0, -1)] * len(SIGNATURE)
    at, count = len(SIGNATURE), 0
    while at < len(data):
        if data[at : at + 2] == PART_SYNC:
            chunk = read_chunk(Source(io.BytesIO(data[at:])), len(data))
            assert chunk is not None
            out += [(PART, at, count - 1)] * chunk.size
            at += chunk.size
            continue
        name = data[at + 2 : at + 6].decode("ascii")
        size = int.from_bytes(data[at + 6 : at + 9], "little") + FRAME_BYTES
        out += [(name, at, count if name == "SEGM" else -1)] * size
        count += name == "SEGM"
        at += size
    return out


def mark(segment: Segment) -> str:
    """Everything a segment says, as a hash."""
    digest = hashlib.sha256(repr((segment.index, segment.first_frame, segment.audio)).encode())
    digest.update(repr((segment.on_set, segment.patches, segment.video)).encode())
    digest.update(repr([(t.actor, t.revision) for t in segment.actors]).encode())
    tracks = [values for track in segment.actors for values in (track.motion, track.placement, track.held)]
    for values in (segment.pts, segment.camera, *tracks):
        digest.update(b"-" if values is None else values.tobytes())
    return digest.hexdigest()


class Torture:
    """Reads one broken copy after the other and counts."""

    def __init__(self, data: bytes):
        self.data = data
        self.whole = {segment.index: mark(segment) for segment in Reader(io.BytesIO(data)).segments()}
        self.counts: Counter[str] = Counter()
        self.slowest = 0.0

    def read(self, broken: bytes, salvage: bool) -> tuple[Reader | None, dict[int, str], FevError | None]:
        """What one reading gives.  Anything but a FevError is let through: it ends the run."""
        begin = time.process_time()
        reader, got, fault = None, {}, None
        try:
            reader = Reader(io.BytesIO(broken), salvage=salvage)
            for segment in reader.segments():
                got[segment.index] = mark(segment)
        except FevError as error:
            fault = error
        self.slowest = max(self.slowest, time.process_time() - begin)
        return reader, got, fault

    def flips(self) -> None:
        for place, (name, at, own) in enumerate(owners(self.data)):
            for bit in range(8):
                broken = bytearray(self.data)
                broken[place] ^= 1 << bit
                _, _, strict = self.read(bytes(broken), False)
                self.counts["flips"] += 1
                self.counts["flips noticed"] += strict is not None
                reader, got, fault = self.read(bytes(broken), True)
                got.pop(own, None)  # of one in parts those before the broken one
                found = reader.damage[0] if reader is not None and reader.damage else fault
                near = [error is not None and at <= (error.offset or 0) <= place for error in (strict, found)]
                self.counts["flips located in their chunk"] += near[0]
                self.counts["flips located by salvaging"] += near[1]
                expected = {k: v for k, v in self.whole.items() if k != own}
                if name == "HEAD" and not got:
                    self.counts["flips that lose the only header"] += 1
                else:
                    self.counts["flips that cost no other segment"] += got == expected

    def cuts(self) -> None:
        places = owners(self.data)
        last = {own: place for place, (_, _, own) in enumerate(places) if own >= 0}
        for length, (name, _, own) in enumerate(places):
            self.counts["cuts"] += 1
            _, strict, fault = self.read(self.data[:length], False)
            self.counts["cuts noticed"] += fault is not None
            _, got, _ = self.read(self.data[:length], True)
            if name == PART:  # of one in parts those before the cut
                got.pop(own, None)
                strict.pop(own, None)
            right = all(self.whole.get(k) == v for k, v in got.items()) and strict == got
            self.counts["cuts that give every whole segment before"] += right and len(got) == sum(
                place < length for place in last.values()
            )


def work(arguments: list[str] | None = None) -> int:
    options = parser("fev.tools.lab.torture", "Break a small .fev file in every possible place and count what happens.")
    options.add_argument("file", type=Path)
    options.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = options.parse_args(arguments)
    torture = Torture(chosen.file.read_bytes())
    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    torture.cuts()
    torture.flips()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before
    facts: dict[str, Any] = dict(bytes=len(torture.data), segments=len(torture.whole), **torture.counts)
    facts |= {"slowest_s": round(torture.slowest, 4), "memory_mb": round(grown / 2**20, 1)}
    if chosen.json:
        print_json(facts)
    else:
        for name, value in facts.items():
            say(f"{name:<44}{value}")
    return 0


if __name__ == "__main__":
    run(work)
