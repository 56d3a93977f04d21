"""A thread that reads, decodes and draws ahead of the clock.

Symbols are always read and decoded; what is left out when the machine is too slow is the drawing of frames.  Sound goes
out as soon as its segment is there.  Who shows pictures takes them from `pictures`; a seek empties it and begins anew.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from ...codec.draw.frames import BATCH, FrameDecoder
from ...codec.draw.options import DecodeOptions
from ...codec.media.identities import Search, folder_of
from ...format.audio import CLOCK
from ...format.container import Reader
from ...format.header import UNKNOWN_FRAMES
from ...format.segment import Segment
from .clock import Clock
from .sound import OpusSound

AHEAD = 24  # pictures that may wait
AHEAD_BYTES = 64 << 20  # and their bytes
SOUND_AHEAD = 3.0  # seconds of sound that may be out before its pictures
CALM = 0.25  # seconds ahead from which frames are drawn several at once
NAP = 0.005


@dataclass(frozen=True)
class Shown:
    """A picture and when it is due.

    Attributes:
        turn: counts seeks, so that an old one is known.
        lost: it stands in for others that the stream lost.
    """

    at: float
    rgb: np.ndarray
    turn: int
    lost: bool = False


@dataclass
class Tally:
    """What has happened so far.  bits: seconds since the beginning -> bytes of each section, a segment a row."""

    drawn: int = 0
    dropped: int = 0
    lost: int = 0
    segments: list[tuple[float, float, dict[str, int]]] = field(default_factory=list)
    damage: list[Any] = field(default_factory=list)
    draw_seconds: float = 0.0


class Feed(threading.Thread):
    """stream: open .fev stream.  clock: of the playback.  sound: takes (tick, samples, turn), or None for no sound.

    After `start`, wait for `ready`; `error` is what ended the thread, a FevError if the stream cannot be played.
    """

    def __init__(
        self,
        stream: Any,
        options: DecodeOptions,
        clock: Clock,
        sound: Callable[[int, np.ndarray, int], None] | None = None,
    ):
        super().__init__(name="feed", daemon=True)  # a read of a pipe may never come back
        self.stream, self.options, self.clock, self.sound = stream, options, clock, sound
        self.ready, self.ended, self.error = threading.Event(), threading.Event(), None  # type: Any, Any, Any
        self.pictures: deque[Shown] = deque()
        self.tally = Tally()
        self.turn = 0
        self.waiting = False  # for bytes
        self.length: float | None = None
        self._lock = threading.Lock()
        self._target: float | None = None
        self._stopping = threading.Event()

    # -- from outside

    def stop(self) -> None:
        """End the thread, and wait until it has, unless it waits for bytes that may never come.

        A process that ends while a thread of it draws is aborted by the libraries that draw.
        """
        self._stopping.set()
        while self.is_alive() and not self.waiting:
            self.join(NAP)

    @property
    def seekable(self) -> bool:
        return self.ready.is_set() and self.error is None and self.reader.seekable

    def seek(self, to: float) -> bool:
        """Go on from the frame at `to` seconds; the clock moves at once.  False where the stream cannot."""
        if not self.seekable:
            return False
        with self._lock:
            self.turn += 1
            self._target = max(0.0, to if self.length is None else min(to, max(0.0, self.length - 0.05)))
            self.pictures.clear()
            self.ended.clear()
            self.clock.move(self._target)
        return True

    def take(self, now: float) -> tuple[Shown | None, int]:
        """The newest picture that is due, if there is one; and how many older ones it replaces."""
        found, skipped = None, -1
        with self._lock:
            while self.pictures and self.pictures[0].at <= now:
                found, skipped = self.pictures.popleft(), skipped + 1
        return found, max(0, skipped)

    # -- the thread

    def run(self) -> None:
        try:
            self._open()
            self.ready.set()
            while not self._stopping.is_set():
                self._play()
                if self._target is None:
                    self.ended.set()
                while self._target is None and not self._stopping.is_set():
                    time.sleep(NAP)
        except Exception as error:  # noqa: BLE001 - raised where the pictures are taken
            self.error = error
        finally:
            self.waiting = False
            self.ready.set()
            self.ended.set()

    def _open(self) -> None:
        search = Search(self.options.identity, folder_of(self.stream))
        self.waiting = True
        self.reader = Reader(self.stream, salvage=True, identities=search)
        self.waiting = False
        self.decoder = FrameDecoder(self.reader, self.options)
        h = self.reader.header
        self.base, self.frame = Fraction(*h.time_base), 1 / Fraction(*h.fps)
        self.has_sound = self.reader.audio is not None and self.sound is not None
        self._opus = OpusSound(self.reader.audio) if self.has_sound and self.reader.audio else None
        self._first: Fraction | None = None
        self._last: float | None = None
        if h.frame_count != UNKNOWN_FRAMES and h.pts_step:
            self.length = float(h.frame_count * h.pts_step * self.base)
        self._bytes = self.reader.sections()
        self.once = sum(self._bytes.values())  # what came before the first segment
        size = 3 * self.decoder.width * self.decoder.height
        self.room = max(2, min(AHEAD, AHEAD_BYTES // size))

    def seconds(self, pts: int) -> float:
        return float(pts * self.base - (self._first or 0))

    def _play(self) -> None:
        """Segments from here on, until the stream ends or somebody wants to go elsewhere."""
        target, turn = self._moved()
        segments = self.reader.segments()
        while True:
            self.waiting = True
            segment = next(segments, None)
            self.waiting = False
            if segment is None:
                break
            if self._first is None:
                self._first = int(segment.pts[0]) * self.base - segment.first_frame * self.frame
            self._last = self.seconds(int(segment.pts[-1])) + float(self.frame)
            self._count(segment)
            if self.decoder.awaits(segment):
                self.decoder.expected = segment.first_frame + len(segment.pts)
                continue
            if not self._wait_for_sound(segment, turn):
                return
            for packet in segment.audio if self._opus else ():
                for tick, samples in self._opus.push(packet):  # type: ignore[union-attr]
                    self.sound(tick - round((self._first or 0) * CLOCK), samples, turn)  # type: ignore[misc]
            if not self._draw(segment, target, turn):
                return
            self.tally.damage = list(self.reader.damage)
        if self._last is not None:
            self.length = self._last
        if self.reader.end is not None and 0 < self.decoder.expected < self.reader.end.frames:
            self.tally.lost += self.reader.end.frames - self.decoder.expected
        self.tally.damage = list(self.reader.damage)

    def _moved(self) -> tuple[float | None, int]:
        """Where to go first, and the turn that is played now."""
        with self._lock:
            target, self._target, turn = self._target, None, self.turn
        if target is not None:
            pts = round((Fraction(target).limit_denominator(1_000_000) + (self._first or 0)) / self.base)
            self.reader.seek_pts(pts)
            self._bytes = self.reader.sections()
            self.decoder.expected = 1 << 62  # what lies between is not lost
            if self._opus:
                self._opus.reset()
        return target, turn

    def _count(self, segment: Segment) -> None:
        now = self.reader.sections()
        grown = {k: v - self._bytes.get(k, 0) for k, v in now.items()}
        self._bytes = now
        begin, end = (self.seconds(int(p)) for p in (segment.pts[0], segment.pts[-1]))
        if not self.tally.segments or begin > self.tally.segments[-1][0]:
            self.tally.segments.append((begin, end + float(self.frame), grown))

    def _elsewhere(self, turn: int) -> bool:
        return self._stopping.is_set() or self.turn != turn

    def _wait_for_sound(self, segment: Segment, turn: int) -> bool:
        """Segments may be long: their sound waits until the one before is nearly over.  False to give up."""
        begin = self.seconds(int(segment.pts[0]))
        while begin - self.clock.time() > SOUND_AHEAD and self.clock.running:
            if self._elsewhere(turn):
                return False
            time.sleep(NAP)
        return not self._elsewhere(turn)

    def _draw(self, segment: Segment, target: float | None, turn: int) -> bool:
        """Draw a segment's frames ahead of the clock and leave out those that would be late.  False to give up."""
        at = np.array([self.seconds(int(p)) for p in segment.pts])
        place = 0
        if target is not None:  # the frame that is shown at this time comes first
            place = max(0, int(np.searchsorted(at, target + 1e-6, side="right")) - 1)
            if target > at[-1] + float(self.frame):  # beyond an end that was not known
                self.clock.move(float(at[-1]))
        gap = segment.first_frame - self.decoder.expected
        if gap > 0:
            self.tally.lost += gap
        while place < len(at):
            while len(self.pictures) >= self.room:
                if self._elsewhere(turn):
                    return False
                time.sleep(NAP)
            place, rows = self._next(at, place)
            if not len(rows):
                continue
            started = time.perf_counter()
            for pts, rgb in self.decoder.pictures(segment, rows):
                with self._lock:
                    if self._elsewhere(turn):
                        return False
                    self.pictures.append(Shown(self.seconds(pts), rgb, turn, gap > 0))
            spent = (time.perf_counter() - started) / len(rows)
            self.tally.draw_seconds += 0.2 * (spent - self.tally.draw_seconds) if self.tally.drawn else spent
            self.tally.drawn += len(rows)
        self.decoder.expected = segment.first_frame + len(segment.pts)
        return True

    def _next(self, at: np.ndarray, place: int) -> tuple[int, np.ndarray]:
        """The frames to draw next, and where to go on: those that will not be late when they are done."""
        now = self.clock.time() if self.clock.running else -1.0
        done = now + self.tally.draw_seconds
        if self.clock.running:
            late = int(np.searchsorted(at[place:], done, side="left"))
            # the last of a run of late frames is shown late rather than never: a slow machine still moves
            skip = min(late, len(at) - place)
            if skip and skip == len(at) - place and now - float(at[-1]) < 2 * self.tally.draw_seconds:
                skip -= 1
            self.tally.dropped += skip
            place += skip
        calm = place < len(at) and float(at[place]) - done > CALM
        count = min(BATCH if calm or not self.tally.drawn else 1, len(at) - place, self.room - len(self.pictures))
        return place + count, np.arange(place, place + count)
