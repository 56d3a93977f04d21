"""Writing video: frames and Opus packets to MP4, fragmented MP4, Matroska, WebM or YUV4MPEG2.

`fev.codec.media.video` and `fev.codec.media.audio` are the reading side.

A picture keeps its pts: the track is given the source's time base, so frame count, time stamps and
duration of the copy equal the source, at a variable rate too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from fractions import Fraction
from typing import Any, BinaryIO, Protocol

import av
import numpy as np

from ...format.audio import AudioConfig, AudioPacket
from ...format.errors import MediaError
from .colour import Colour, default_colour
from .containers import CONTAINERS
from .mp4 import Mp4Writer
from .source import name_of, one_line
from .target import MuxTarget, can_seek
from .y4m import Y4mWriter


class ContainerWriter(Protocol):
    """What VideoWriter does: the same three calls for every container."""

    def write(self, rgb: np.ndarray, pts: int) -> None: ...
    def write_audio(self, packet: AudioPacket) -> None: ...
    def close(self) -> None: ...


class VideoWriter:
    """Write frames and, if `audio` says so, Opus packets.

    Args:
        dst: path or binary file object with write(); "mp4" needs one that can seek,
            the others do not.  A file object is flushed but not closed.
        width, height: pixels of every frame.
        time_base: seconds a tick of pts.
        fps: nominal rate (y4m header; duration of the last frame).
        audio: what the packets given to write_audio() are; None for no sound.
        container: "mp4", "fmp4" (fragmented, for pipes), "mkv", "webm" (VP9; both count in
            milliseconds), "y4m" (raw, no sound, no time stamps: one picture a frame at the nominal
            rate, so a variable rate is lost).
        crf, preset: of libx264.
        threads: encoder threads, 0 for automatic.
        metadata: text tags for MP4: title, comment, description, artist, copyright.
        colour: matrix and range written and tagged; BT.709 limited by default.  y4m cannot say its
            matrix, so there the rule that readers apply to untagged video is followed.

    H.264 is 8-bit yuv420p, which everything plays.  It cannot hold an odd width or height, and
    padding would change the picture's size, so such pictures are written as yuv444p (High 4:4:4
    profile), which keeps the exact size and is read by FFmpeg, VLC and mpv, not by all browsers.

    Raises:
        MediaError: when writing fails; BrokenPipeError passes through.
    """

    def __init__(
        self,
        dst: str | os.PathLike[str] | BinaryIO,
        width: int,
        height: int,
        time_base: Fraction,
        fps: Fraction,
        audio: AudioConfig | None = None,
        container: str = "mp4",
        *,
        crf: float = 12,
        preset: str = "veryfast",
        threads: int = 0,
        metadata: Mapping[str, str] | None = None,
        colour: Colour | None = None,
    ):
        if container not in CONTAINERS:
            raise ValueError(f"container {container!r} is not one of {', '.join(CONTAINERS)}")
        self.name = name_of(dst)
        self.width, self.height = width, height
        self.frames = 0
        self._last: int | None = None
        self.unheard = 0
        self._heard: int | None = None
        self._owned = isinstance(dst, (str, os.PathLike))
        try:
            self._file: Any = open(dst, "wb") if isinstance(dst, (str, os.PathLike)) else dst  # noqa: SIM115
        except OSError as error:
            raise MediaError(f"{self.name}: cannot be written: {one_line(error)}") from error
        self._target = MuxTarget(self._file)
        self._writer: ContainerWriter | None = None
        try:
            if container == "y4m":
                self._writer = Y4mWriter(self._target, width, height, fps, colour or default_colour(height))
            else:
                if container == "mp4" and not can_seek(self._file):
                    raise MediaError(f"{self.name}: MP4 cannot be written to a pipe; fragmented MP4 can")
                # No B-frames: decoding order is display order, so a variable rate comes out exact
                # to the tick.
                options = {"crf": str(crf), "preset": preset, "bf": "0"}
                self._writer = Mp4Writer(self._target, width, height, time_base, fps, audio, container, options)
                self._writer.describe(dict(metadata or {}), colour or Colour(), threads)
            self._target.check()
        except BaseException as error:
            self.abort()
            if isinstance(error, (av.FFmpegError, OSError)) and not isinstance(error, BrokenPipeError):
                raise self._failed(error) from error
            raise

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def write(self, rgb: np.ndarray, pts: int) -> None:
        """Write one frame: uint8 (height, width, 3); pts in time_base, strictly increasing."""
        if rgb.shape != (self.height, self.width, 3) or rgb.dtype != np.uint8:
            raise ValueError(f"uint8 {(self.height, self.width, 3)} expected, got {rgb.dtype} {rgb.shape}")
        if self._last is not None and pts <= self._last:
            raise ValueError(f"pts {pts} does not come after {self._last}")
        self._last = pts
        self._guard("write", rgb, pts)
        self.frames += 1

    def write_audio(self, packet: AudioPacket) -> None:
        """Write one Opus packet, soon after the frames of its time; pts on their clock in ticks of
        1/48000 s.

        One that does not come after the one before is left out and counted.
        """
        if self._heard is not None and packet.pts <= self._heard:
            self.unheard += 1
            return
        self._heard = packet.pts
        self._guard("write_audio", packet)

    def close(self) -> None:
        """Finish the file; MediaError if no frame was written.  Calling it again does nothing."""
        if self._writer is None:
            return
        try:
            if not self.frames:
                raise MediaError(f"{self.name}: cannot be written: there is no frame")
            self._guard("close")
        except BaseException:
            self.abort()
            raise
        self._writer = None
        if self._owned:
            self._file.close()

    def abort(self) -> None:
        """Give up: release everything and leave the unfinished file to the caller.  Never raises."""
        writer, self._writer = self._writer, None
        self._target.give_up()
        with suppress(Exception):
            if writer is not None:
                writer.close()
        if self._owned:
            with suppress(OSError):
                self._file.close()

    def _guard(self, method: str, *args: Any) -> None:
        if self._writer is None:
            raise ValueError("the writer is closed")
        try:
            getattr(self._writer, method)(*args)
            if method == "close":
                self._target.flush()
            self._target.check()
        except BrokenPipeError:
            raise
        except (av.ArgumentError, av.InvalidDataError, OverflowError) as error:
            raise MediaError(f"{self.name}: cannot be written: time stamps that its container cannot hold") from error
        except (av.FFmpegError, OSError) as error:
            raise self._failed(error) from error

    def _failed(self, error: BaseException) -> MediaError:
        return MediaError(f"{self.name}: cannot be written: {one_line(error)}")
