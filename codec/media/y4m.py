"""YUV4MPEG2: the raw video stream that encoders and players read from a pipe.

`fev.codec.media.mux.VideoWriter` chooses between this and MP4.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from ...format.audio import AudioPacket
from .colour import Colour, from_rgb, planes
from .target import MuxTarget


class Y4mWriter:
    """A text line, then the planes of each frame: 4:2:0 with chroma sited as in MPEG-2, no sound.

    The stream has a frame rate and no time stamps: a variable rate cannot be told.
    """

    def __init__(self, file: MuxTarget, width: int, height: int, fps: Fraction, colour: Colour):
        self._file, self._colour = file, colour
        colour_range = "FULL" if colour.full_range else "LIMITED"
        head = f"YUV4MPEG2 W{width} H{height} F{fps.numerator}:{fps.denominator} Ip A1:1 C420mpeg2"
        file.write(f"{head} XYSCSS=420MPEG2 XCOLORRANGE={colour_range}\n".encode())

    def write(self, rgb: np.ndarray, pts: int) -> None:
        del pts
        frame = from_rgb(rgb, "yuv420p", self._colour)
        self._file.write(b"FRAME\n")
        for plane in planes(frame):
            self._file.write(plane.tobytes())

    def write_audio(self, packet: AudioPacket) -> None:
        """YUV4MPEG2 has no sound: dropped."""

    def close(self) -> None:
        """Nothing is held back."""
