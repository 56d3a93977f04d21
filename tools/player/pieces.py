"""A file as pieces of fragmented MP4 for a browser: made on demand, kept for a while, shared by all viewers.

A piece is a segment's part of about a second, so that a picture comes soon and a seek draws little in vain.  Each is a
whole fragmented MP4 (its own head, H.264 and Opus), whose fragments carry the clip's own times, so a
browser's Media Source takes pieces in any order.  One thread makes them.
"""

from __future__ import annotations

import io
import struct
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ...codec.decoder import SOUND_CLOCK, SYNTHETIC_MARK
from ...codec.draw.frames import FrameDecoder
from ...codec.draw.options import DecodeOptions
from ...codec.media.identities import Search
from ...codec.media.mux import VideoWriter
from ...format.audio import AudioPacket
from ...format.container import Reader
from ...format.errors import FevError
from ...format.segment import Segment

CRF, PRESET = 20, "veryfast"
MOST_SIDE = 1280  # of what a browser is sent
SECONDS = 1.0  # of a piece, about
CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf", b"mvex"}


def boxes(data: bytes | memoryview, first: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Type, begin of the content and end of every box of an MP4, those in containers too."""
    end = len(data) if end is None else end
    while first + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, first)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, first + 8)
            head = 16
        if size < head or first + size > end:
            return
        yield kind, first + head, first + size
        if kind in CONTAINERS:
            yield from boxes(data, first + head, first + size)
        first += size


def on_the_clip_s_clock(data: bytes, begins: list[Fraction]) -> bytes:
    """A fragmented MP4 with its tracks begun at these seconds, and without edit lists.

    A muxer counts from its first frame and says the rest in an edit list, which Media Source
    ignores.

    Args:
        begins: of each track, in their order.
    """
    out = bytearray(data)
    scales: list[int] = []
    track = 0
    first: dict[int, int] = {}
    for kind, at, _ in boxes(data):
        if kind == b"mdhd":
            scales.append(struct.unpack_from(">I", data, at + (20 if data[at] else 12))[0])
        elif kind == b"edts":
            out[at - 4 : at] = b"free"
        elif kind == b"tfhd":
            track = struct.unpack_from(">I", data, at + 4)[0]
        elif kind == b"tfdt":
            wide = bool(data[at])
            (was,) = struct.unpack_from(">Q" if wide else ">I", data, at + 4)
            start = round(begins[track - 1] * scales[track - 1])
            now = was - first.setdefault(track, was) + start
            struct.pack_into(">Q" if wide else ">I", out, at + 4, now)
    return bytes(out)


def codec_of(piece: bytes) -> str:
    """What Media Source calls the tracks of a piece."""
    names = []
    at = piece.find(b"avcC")
    if at >= 0:
        names.append("avc1." + piece[at + 5 : at + 8].hex())
    if b"dOps" in piece:
        names.append("opus")
    return f'video/mp4; codecs="{", ".join(names)}"'


def cuts(pts: np.ndarray, base: Fraction) -> list[int]:
    """Where the pieces of a segment begin: places of frames, of which there is one in each.

    Args:
        pts: (n,), rising, in ticks of `base` seconds.
    """
    ticks = (pts - pts[0]).astype(float)
    span = ticks[-1] + 1
    count = max(1, round(span * float(base) / SECONDS))
    _, first = np.unique((ticks * (count / span)).astype(np.int64), return_index=True)
    return [int(place) for place in first]


class Film:
    """One file.  Not for several threads at once.  Raises FevError where it cannot be read or drawn."""

    def __init__(self, path: Path):
        self.path = path
        self._file = open(path, "rb")  # noqa: SIM115 - closed by close()
        try:
            self.reader = Reader(self._file, salvage=True, identities=Search(None, path.parent))
            h = self.reader.header
            side = max(h.width, h.height)
            options = DecodeOptions(size=MOST_SIDE, coarse=True) if side > MOST_SIDE else DecodeOptions()
            self.decoder = FrameDecoder(self.reader, options)
        except BaseException:
            self._file.close()
            raise
        self.base, self.fps = Fraction(*h.time_base), Fraction(*h.fps)

    def close(self) -> None:
        self._file.close()

    def piece(self, number: int, part: int = 0) -> bytes:
        """Part `part` of segment `number` as MP4.  Raises FevError where it is damaged or not there."""
        self.reader.seek(number)
        segment = next(self.reader.segments(), None)
        if segment is None or segment.index != number:
            raise FevError(f"segment {number} is damaged")
        edges = [*cuts(segment.pts, self.base), len(segment.pts)]
        if part >= len(edges) - 1:
            raise FevError(f"segment {number} has no part {part}")
        first, end = edges[part : part + 2]
        start = int(segment.pts[first])
        audio = self.reader.audio
        packets = self._packets(segment, first, end) if audio else []
        width, height = (v - v % 2 for v in (self.decoder.width, self.decoder.height))  # 4:2:0, for browsers
        out = io.BytesIO()
        begins = [start * self.base, packets[0].pts * SOUND_CLOCK if packets else Fraction(0)]
        writer = VideoWriter(
            out, width, height, self.base, self.fps, audio=audio, container="fmp4", crf=CRF, preset=PRESET,
            metadata={"comment": SYNTHETIC_MARK} if self.reader.header.synthetic else {},
        )  # fmt: skip
        with writer:
            for pts, rgb in self.decoder.segment(segment, first, end):
                writer.write(np.ascontiguousarray(rgb[:height, :width]), pts - start)
            for packet in packets:
                writer.write_audio(replace(packet, pts=packet.pts - packets[0].pts))
        return on_the_clip_s_clock(out.getvalue(), [max(Fraction(0), b) for b in begins])

    def _packets(self, segment: Segment, first: int, end: int) -> list[AudioPacket]:
        """The segment's sound from frame `first` on and before frame `end`; what lies beside all frames is kept."""
        begin = int(segment.pts[first]) * self.base if first else None
        over = int(segment.pts[end]) * self.base if end < len(segment.pts) else None
        return [
            packet for packet in segment.audio
            if (begin is None or begin <= packet.pts * SOUND_CLOCK)
            and (over is None or packet.pts * SOUND_CLOCK < over)
        ]  # fmt: skip


class Pieces:
    """Pieces of all files, the last used ones kept.  room: bytes.  films: how many files stay open.

    `piece` may be called from any thread: who asks for what another is waiting for gets the same.
    """

    def __init__(self, room: int = 64 << 20, films: int = 2):
        self.room, self.films = room, films
        self._kept: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()
        self._open: OrderedDict[tuple[Any, ...], Film] = OrderedDict()
        self._lock = threading.Lock()
        self.made = 0

    def piece(self, path: Path, number: int, part: int = 0) -> bytes:
        state = path.stat()
        which = (str(path), state.st_mtime_ns, state.st_size)
        with self._lock:
            key = (*which, number, part)
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            data = self._film(which, path).piece(number, part)
            self.made += 1
            self._kept[key] = data
            while len(self._kept) > 1 and sum(map(len, self._kept.values())) > self.room:
                self._kept.popitem(last=False)
            return data

    def _film(self, which: tuple[Any, ...], path: Path) -> Film:
        if which not in self._open:
            film = Film(path)
            self._open[which] = film
            while len(self._open) > self.films:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(which)
        return self._open[which]

    def close(self) -> None:
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()
