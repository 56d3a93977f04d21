"""What is known of a video stream before its frames are read.

`fev.codec.media.video` fills it in; `fev.codec.media.audio` puts sound on the same clock with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av

from .track import Track

NTSC = tuple(Fraction(n * 1000, 1001) for n in (24, 30, 48, 60, 120))


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video stream once its first frame is decoded.

    Args:
        width, height: pixels of the frames as delivered (rotation applied, pixels made square).
        fps: nominal frame rate; the truth is in the time stamps.
        time_base: seconds a tick of pts.
        first_pts: pts of the first delivered frame; 0 if a start was asked for.
        end_pts: delivered frames have pts below it; None means to the end of the stream.
        frames_hint: expected number of frames, None if unknown; a hint, never exact by promise.
        rotation: degrees counter-clockwise by which the stored frames were turned: 0, 90, 180, 270.
        mirrored: they were mirrored left to right after that.
        matrix: ISO/IEC 23091-2 code point the frames were converted with (guessed if untagged).
        full_range: range of the stored samples; the delivered RGB is always 0..255.
        duration: seconds from the first delivered frame to the end, None if unknown.
        trimmed: a start was asked for, so sound before the first frame is not wanted.
        origin: seconds on the source's clock where pts is 0.
        pixel_aspect: width of a stored pixel over its height.
        sound: the audio stream that goes with it, None if there is none.
    """

    width: int
    height: int
    fps: Fraction
    time_base: Fraction
    first_pts: int
    end_pts: int | None
    frames_hint: int | None
    rotation: int
    matrix: int
    full_range: bool
    duration: Fraction | None
    trimmed: bool = False
    origin: Fraction = Fraction(0)
    pixel_aspect: Fraction = Fraction(1)
    mirrored: bool = False
    sound: Track | None = None

    @property
    def start_time(self) -> Fraction:
        """Seconds of the first delivered frame, on the clock of pts."""
        return self.first_pts * self.time_base

    @property
    def end_time(self) -> Fraction | None:
        """Seconds where delivery stops, on the clock of pts; None for the end of the stream."""
        return None if self.end_pts is None else self.end_pts * self.time_base


def nominal_rate(stream: av.VideoStream) -> Fraction:
    """Average rate, made exact where it is nearly a usual one.

    Containers round 30000/1001 to 29.97 in several ways, and one odd frame moves the average of a
    short clip; the base rate (the grid the time stamps lie on) then says what was meant.
    """
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate or Fraction(25)
    if not 0 < rate <= 1000:
        rate = Fraction(25)
    base = stream.base_rate
    if base and abs(rate - base) < base / 50:
        rate = base
    for exact in (*NTSC, Fraction(round(rate))):
        if exact and abs(rate - exact) < exact / 5000:
            return exact
    return rate.limit_denominator(60000)
