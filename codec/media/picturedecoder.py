"""From a file's packets to pictures with repaired time stamps, each known to be damaged or not.

What the decoder conceals stays in all pictures that are predicted from it, so damage lasts until
the next key frame.  `fev.codec.media.video` makes RGB of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from typing import Any

import av

from ...format.errors import MediaError
from .deinterlace import Deinterlacer, Picture
from .notices import Notices
from .source import SharedView, one_line, translated
from .track import Track
from .videoinfo import nominal_rate

AROUND = range(-3, 2)  # packets at a jump, which FFmpeg calls damaged for the jump alone
B_PICTURE = 3  # in FFmpeg's numbering: others are seldom predicted from it


class PictureDecoder:
    """Iterate once for `Picture`.  Raises MediaError."""

    def __init__(
        self, name: str, container: Any, view: SharedView, stream: Any, track: Track, partial: bool, notices: Notices
    ):
        """partial: packets that are said to be damaged are half there, at the end of a cut file,
        and are left out.
        """
        self.name, self.track, self.partial, self.notices = name, track, partial, notices
        self._container, self._view, self._stream = container, view, stream
        self._base = stream.time_base or Fraction(1, 90000)
        self._count = 0
        self.left_out = 0  # packets that are half there
        self._broken = False
        self._failure: BaseException | None = None

    def __iter__(self) -> Iterator[Picture]:
        smooth = Deinterlacer(self._base)
        for picture in self._timed():
            with translated(self.name, "cannot be deinterlaced"):
                yield from smooth.push(picture)
        with translated(self.name, "cannot be deinterlaced"):
            yield from smooth.rest()
        self._view.check()
        if not self._count and self._failure is not None:
            raise MediaError(f"{self.name}: no picture can be decoded: {one_line(self._failure)}")

    def _timed(self) -> Iterator[Picture]:
        """Missing time stamps continue at the nominal rate, equal ones move by a tick."""
        last: int | None = None
        step = max(1, round(1 / (nominal_rate(self._stream) * self._base)))
        for frame, damaged in self._decoded():
            pts = frame.pts if frame.pts is not None else frame.dts
            if pts is None:
                pts = 0 if last is None else last + step
            elif last is not None and pts <= last:
                pts = last + 1
            last = frame.pts = pts
            self._count += 1
            yield Picture(pts, frame, damaged)

    def _decoded(self) -> Iterator[tuple[av.VideoFrame, bool]]:
        damage = DamageTracker({at + n for at, _ in self.track.jumps for n in AROUND})
        for packet in self._packets():
            if packet.size and self.partial and packet.is_corrupt:
                self.left_out += 1
                continue
            damage.see(packet)
            try:
                frames = packet.decode()
            except (av.FFmpegError, ValueError) as error:
                self._view.check()
                if packet.size:
                    self._failure = error
                    self.notices.add("undecoded")
                    damage.lasts = True
                continue
            for frame in frames:
                yield frame, damage.has(frame)
        if self._broken:  # nobody has asked for what the decoder still holds
            with suppress(av.FFmpegError):
                for frame in self._stream.codec_context.decode(None):
                    yield frame, damage.has(frame)

    def _packets(self) -> Iterator[Any]:
        try:
            for packet in self.track.repaired(self._container.demux(self._stream)):
                self._view.check()
                yield packet
        except (av.InvalidDataError, av.EOFError):  # no packet can be found from here on
            self._view.check()
            self._broken = True
        except (av.FFmpegError, OSError, ValueError) as error:
            raise MediaError(f"{self.name}: damaged after frame {self._count}: {one_line(error)}") from error


class DamageTracker:
    """Which pictures show damage: what arrived damaged, and what is predicted from it.

    Args:
        forgiven: numbers of packets whose mark counts for nothing; the decoder still tells of what
            it conceals there.
    """

    def __init__(self, forgiven: set[int]):
        self.lasts = False  # packets from here on are predicted from damage
        self._forgiven, self._count = forgiven, 0
        self._clean_from: int | None = None  # pts of a key frame; what is shown before it may follow it in the file
        self._marks: dict[int, bool] = {}
        self._concealed = False

    def see(self, packet: Any) -> None:
        """A packet, before it is decoded."""
        if not packet.size:
            return
        bad = packet.is_corrupt and self._count not in self._forgiven
        self._count += 1
        if bad:
            self.lasts = True
        elif packet.is_keyframe:
            self._clean_from = packet.pts if self.lasts else None
            self.lasts = False
        if packet.pts is not None:
            early = self._clean_from is not None and packet.pts < self._clean_from
            self._marks[packet.pts] = self.lasts or early

    def has(self, frame: av.VideoFrame) -> bool:
        """A decoded picture shows damage."""
        marked = self._marks.pop(frame.pts, self.lasts) if frame.pts is not None else self.lasts
        if frame.is_corrupt and int(frame.pict_type) != B_PICTURE:
            self._concealed = True
        elif frame.key_frame and not marked:
            self._concealed = False
        return marked or bool(frame.is_corrupt) or self._concealed
