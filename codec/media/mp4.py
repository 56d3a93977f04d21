"""MP4, MP4 in fragments, Matroska and WebM through PyAV: H.264 or VP9 for the pictures, packet copy
for the sound.

`fev.codec.media.mux.VideoWriter` chooses between this and YUV4MPEG2.
"""

from __future__ import annotations

import io
import math
from fractions import Fraction
from typing import cast

import av
import numpy as np

from ...format.audio import CLOCK, AudioConfig, AudioPacket
from .colour import Colour, from_rgb, tag
from .opus import ogg_stream
from .target import MuxTarget

RATE = CLOCK
# A movie's own time scale holds the edit lists.  At MP4's usual 1000 a start of 1001/30000 s would
# be rounded to a millisecond, so a common multiple of picture and sound is taken where it fits.
MAX_TIMESCALE = 0x7FFFFFFF
FORMATS = {"mp4": "mp4", "fmp4": "mp4", "mkv": "matroska", "webm": "webm"}  # as FFmpeg calls them
# WebM holds no H.264.  About what libx264 gives at its crf of 12, as fast as it may be.
VP9 = {"crf": "16", "b": "0", "deadline": "good", "cpu-used": "5", "row-mt": "1"}


class Mp4Writer:
    """One file: its tracks, its clock, and the frame that waits for its duration.

    Matroska and WebM count time in milliseconds.

    Args:
        options: of libx264.
    """

    def __init__(
        self,
        target: MuxTarget,
        width: int,
        height: int,
        time_base: Fraction,
        fps: Fraction,
        audio: AudioConfig | None,
        container: str,
        options: dict[str, str],
    ):
        # MP4 counts time in 1/timescale; a tick of n/d is n ticks of 1/d.
        timescale = time_base.denominator
        movie = math.lcm(timescale, RATE)
        muxer = {"fflags": "+bitexact"}
        if FORMATS[container] == "mp4":
            muxer["video_track_timescale"] = str(timescale)
            muxer["movie_timescale"] = str(movie if movie <= MAX_TIMESCALE else timescale)
        if container == "fmp4":
            # The head waits for the first fragment, because only then are the edit lists known.
            muxer["movflags"] = "frag_keyframe+delay_moov+default_base_moof"
        self._base = Fraction(1, timescale)
        self._ticks = time_base.numerator
        self._duration = max(1, round(1 / (fps * self._base)))
        self._colour = Colour()
        codec, options = ("libvpx-vp9", VP9) if container == "webm" else ("libx264", options)
        odd = codec == "libx264" and (width % 2 or height % 2)
        self._format = "yuv444p" if odd else "yuv420p"
        self._container = av.open(target.for_muxer(), "w", format=FORMATS[container], options=muxer)
        stream = cast(
            av.VideoStream,
            self._container.add_stream(codec, rate=fps, options=options, width=width, height=height),
        )
        stream.pix_fmt = self._format
        stream.time_base = stream.codec_context.time_base = self._base
        stream.codec_context.gop_size = max(1, min(250, round(fps * (1 if container == "fmp4" else 4))))
        self._video = stream
        self._audio = None
        if audio is not None:
            self._template = av.open(io.BytesIO(ogg_stream(audio)), "r", format="ogg")
            self._audio = self._container.add_stream_from_template(self._template.streams.audio[0])
            self._audio.time_base = Fraction(1, RATE)
        self._held: tuple[int, av.VideoFrame] | None = None

    def describe(self, metadata: dict[str, str], colour: Colour, threads: int) -> None:
        """Set what stays at its default otherwise; before the first frame."""
        self._container.metadata.update(metadata)
        self._video.codec_context.thread_count = threads
        self._colour = colour
        tag(self._video.codec_context, colour)

    def write(self, rgb: np.ndarray, pts: int) -> None:
        frame = from_rgb(rgb, self._format, self._colour)
        tick = pts * self._ticks
        frame.pts, frame.time_base = tick, self._base
        # One frame is held back: its duration is known when the next one comes.
        if self._held is not None:
            self._encode(self._held[1], tick - self._held[0])
        self._held = tick, frame

    def _encode(self, frame: av.VideoFrame, duration: int) -> None:
        frame.duration = duration
        self._container.mux(self._video.encode(frame))

    def write_audio(self, packet: AudioPacket) -> None:
        if self._audio is None:
            return
        out = av.Packet(packet.data)
        out.stream, out.time_base = self._audio, Fraction(1, RATE)
        out.pts = out.dts = packet.pts
        out.duration = packet.duration
        out.is_keyframe = True
        self._container.mux(out)

    def close(self) -> None:
        try:
            if self._held is not None:
                self._encode(self._held[1], self._duration)
                self._held = None
            self._container.mux(self._video.encode(None))
        finally:
            self._container.close()
            if self._audio is not None:
                self._template.close()
