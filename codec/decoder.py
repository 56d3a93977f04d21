"""The decoder: a `.fev` stream in, a video out.  `draw/frames.py` draws its pictures,
`fev.codec.media.mux` writes them.

Reading and drawing run beside writing (`ahead`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np

from ..format.audio import AudioPacket
from ..format.container import Reader
from ..format.errors import FevError, UsageError
from ..format.segment import Segment
from .draw.frames import FrameDecoder
from .draw.options import DecodeOptions
from .media.containers import SILENT, container_of
from .media.identities import Search, excerpt_of, folder_of, remember
from .media.mux import VideoWriter
from .threads.ahead import Ahead

DRAWN_AHEAD = 4  # pictures that may wait to be written
PATIENCE = 2.0  # seconds that an end before its time waits for a reader of a pipe
SOUND_CLOCK = Fraction(1, 48_000)
SYNTHETIC_MARK = "synthetic: the motion in this video was not performed by the person shown"


@dataclass(frozen=True)
class DecodeReport:
    """What was written.

    Args:
        repeated: frames lost to damage, filled with the last good picture.
        incomplete: frames that lack an actor or a set that was lost to damage.
        elapsed_s: wall time.
        notices: what there is to say, counts by the keys of `notices.WORDS`.
    """

    frames: int
    repeated: int
    incomplete: int
    width: int
    height: int
    elapsed_s: float
    synthetic: bool
    damage: list[Any] = field(default_factory=list)
    notices: dict[str, int] = field(default_factory=dict)


def decode(
    src: BinaryIO, dst: Any, options: DecodeOptions, progress: Callable[[str, int, int], None] = lambda s, d, t: None
) -> DecodeReport:
    """Decode the `.fev` stream `src` and write video to `dst` (path or binary file object).

    Raises:
        FevError.
    """
    started = time.perf_counter()
    container = options.container or container_of(dst)
    silent = container in SILENT
    search = Search(options.identity, folder_of(src))
    reader = Reader(src, salvage=options.salvage, identities=search)
    elsewhere = any(actor.reference is not None for alive in reader.cast.actors.values() for actor in alive)
    if options.identity is not None and not elsewhere:
        raise UsageError("the file holds its own identity; fev-puppet puts another one in its place")
    decoder = FrameDecoder(reader, options)
    if options.remember:
        found = excerpt_of(reader, search)
        if found is not None:
            remember(found)
    h = reader.header
    time_base, fps = Fraction(*h.time_base), Fraction(*h.fps)
    metadata = {"comment": SYNTHETIC_MARK} if h.synthetic else {}
    window = _Window(options, time_base, fps)
    count, total = 0, window.frames(reader.stated_frames())
    progress("decode", 0, total)
    with VideoWriter(
        dst, decoder.width, decoder.height, time_base, fps,
        audio=None if silent else reader.audio, container=container, metadata=metadata,
    ) as writer:  # fmt: skip
        shown = _shown(reader, decoder, window, silent)
        with Ahead(shown, DRAWN_AHEAD, threads=0, patience=PATIENCE) as items:
            for item in items:
                if isinstance(item, AudioPacket):
                    writer.write_audio(replace(item, pts=item.pts - round(window.origin / SOUND_CLOCK)))
                    continue
                writer.write(item[1], item[0] - round(window.origin / time_base))
                count += 1
                progress("decode", count, total)
        if not count:
            raise FevError("nothing to decode: the file holds no frame of the wanted part")
        decoder.check_seen()
    decoder.notices.add("sound_back", writer.unheard)
    lost = decoder.notices["repeated"], decoder.notices["incomplete"]
    return DecodeReport(
        count, *lost, decoder.width, decoder.height, time.perf_counter() - started, h.synthetic, list(reader.damage),
        decoder.notices.as_dict(),
    )  # fmt: skip


def _shown(
    reader: Reader, decoder: FrameDecoder, window: _Window, silent: bool
) -> Iterator[AudioPacket | tuple[int, np.ndarray]]:
    """What the wanted part shows and sounds, in the order of the file."""
    for segment in _from_start(reader, window):
        if window.before(segment) or decoder.awaits(segment):
            decoder.expected = segment.first_frame + len(segment.pts)
            continue
        if window.after(segment):
            return
        for packet in () if silent else segment.audio:
            if window.wants(packet.pts, SOUND_CLOCK):
                yield packet
        for pts, picture in decoder.frames(iter([segment])):
            if window.wants(pts, window.time_base):
                yield pts, picture
    # not cut short by the wanted part: a lost end is held
    for pts, picture in decoder.tail():
        if window.wants(pts, window.time_base):
            yield pts, picture


def _from_start(reader: Reader, window: _Window) -> Iterator[Segment]:
    """The segments of a stream; where it can seek, without those before the wanted part.

    A salvaging reader goes through all of them: it is to report all damage.
    """
    segments = reader.segments()
    first = next(segments, None)
    if first is None:
        return
    window.see(first)
    yield first
    if window.before(first) and reader.seekable and not reader.salvage:
        if reader.seek_pts(window.start_pts) > first.index:
            segments = reader.segments()
        yield from segments
        return
    yield from segments


class _Window:
    """The wanted part of a file, in seconds from its first frame."""

    def __init__(self, options: DecodeOptions, time_base: Fraction, fps: Fraction):
        self.start = Fraction(options.start or 0).limit_denominator(1_000_000)
        length = None if options.duration is None else Fraction(options.duration).limit_denominator(1_000_000)
        self.stop = None if length is None else self.start + length
        self.time_base, self.frame = time_base, 1 / fps
        self.first: Fraction | None = None

    def see(self, segment: Segment) -> None:
        """Set the clock by the first segment; a lost beginning leaves it where its first frame
        would have been.
        """
        if self.first is None:
            self.first = int(segment.pts[0]) * self.time_base - segment.first_frame * self.frame

    @property
    def origin(self) -> Fraction:
        """Seconds to take off all times, so that a part begins at 0.

        A whole file keeps its times, unless it begins before 0: an MP4 does not show what lies
        there.
        """
        first = self.first or Fraction(0)
        return first + self.start if self.start else min(first, Fraction(0))

    @property
    def start_pts(self) -> int:
        """The first tick of the wanted part."""
        return math.ceil(((self.first or Fraction(0)) + self.start) / self.time_base)

    def frames(self, whole: int | None) -> int:
        """About how many frames the part has, of a file of `whole`; 0 where nobody knows."""
        rate = 1 / self.frame
        wanted = 0 if self.stop is None else round((self.stop - self.start) * rate)
        if whole is None:
            return wanted
        left = max(0, whole - round(self.start * rate))
        return min(left, wanted) if wanted else left

    def seconds(self, pts: int, time_base: Fraction) -> Fraction:
        return pts * time_base - (self.first or Fraction(0))

    def before(self, segment: Segment) -> bool:
        return self.seconds(int(segment.pts[-1]), self.time_base) < self.start

    def after(self, segment: Segment) -> bool:
        return self.stop is not None and self.seconds(int(segment.pts[0]), self.time_base) >= self.stop

    def wants(self, pts: int, time_base: Fraction) -> bool:
        """Whether the part holds this time; a whole file also holds sound from before its first
        frame.
        """
        at = self.seconds(pts, time_base)
        return (not self.start or at >= self.start) and (self.stop is None or at < self.stop)
