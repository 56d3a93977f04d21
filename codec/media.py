"""Reading video: frames as RGB arrays with exact time stamps, rotation and colour already dealt with.

Sound is read by `fev.codec.audio`; both are written back by `fev.codec.mux`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction

import av
import numpy as np

from ..format.errors import MediaError, UsageError
from .colour import Colour, colour_of, to_rgb
from .frame import Frame
from .source import Source, name_of, one_line, open_container, rereadable, translated
from .videoinfo import VideoInfo, nominal_rate

MIN_SIDE = 64  # pixels; below this there is no face to find
MAX_SIDE = 8192  # pixels; more is refused before a frame is allocated


def open_video(
    src: Source, start: float | None = None, duration: float | None = None, *, threads: int = 0
) -> VideoReader:
    """Open the first video stream of `src` and decode its first frame.

    Args:
        src: path, or binary file object; a pipe is spooled to disk (see `source.rereadable`, to be
            used by callers that open the same pipe more than once).
        start, duration: seconds; the part to deliver, counted from the first frame of the stream.
        threads: decoder threads, 0 for as many as there are processors.  Does not change a pixel.

    Raises MediaError for everything that is wrong with the input.
    """
    return VideoReader(src, start, duration, threads)


def check_part(start: float | None, duration: float | None) -> None:
    """Refuse a part of a clip that cannot be.  Raises UsageError."""
    if start is not None and not 0 <= start < float("inf"):
        raise UsageError(f"start {start} is not a number of seconds, 0 or more")
    if duration is not None and not 0 < duration < float("inf"):
        raise UsageError(f"duration {duration} is not a number of seconds above 0")


class VideoReader:
    """Frames of a video, once, in order: iterate for `Frame`, its rgb contiguous.

    pts are integers in `info.time_base`, strictly increasing: the stream's own, or counted from the
    first delivered frame if a start was asked for.  One frame is held in memory at a time.  Use as a
    context manager, or call close().
    """

    def __init__(self, src: Source, start: float | None = None, duration: float | None = None, threads: int = 0):
        check_part(start, duration)
        self.name = name_of(src)
        self._threads = threads
        self._stack = ExitStack()
        self._frames: Iterator[tuple[int, av.VideoFrame]] = iter(())
        try:
            self._file = self._stack.enter_context(rereadable(src))
            self._open()
            self._limits(start, duration)
            first = self._first_frame()
            self._turns = round((first[1].rotation or 0) / 90) % 4
            self._colour = self._check_colour(first[1])
            self.info = self._describe(*first, start is not None and start > 0)
        except BaseException:
            self.close()
            raise
        self._pending: tuple[int, av.VideoFrame] | None = first
        self._used = False

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._frames = iter(())  # the generator holds self and the container: break the circle
        self._pending = None
        self._stack.close()

    def __iter__(self) -> Iterator[Frame]:
        if self._used:
            raise RuntimeError("a VideoReader delivers its frames once; open the video again")
        self._used = True
        first, self._pending = self._pending, None
        if first is not None:
            yield self._deliver(*first)
            del first
        for pts, frame in self._frames:
            if self._end is not None and pts >= self._end:
                break
            yield self._deliver(pts, frame)

    def _open(self) -> None:
        container, self._view = open_container(self._file, self.name)
        self._stack.enter_context(container)
        videos = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not videos:
            kind = "only audio" if container.streams.audio else "no video"
            raise MediaError(f"{self.name}: holds {kind}: a video stream is needed")
        self._container, self._stream = container, videos[0]
        context = self._stream.codec_context
        if context is None:
            raise MediaError(f"{self.name}: no decoder for its video codec")
        _check_size(self.name, context.width, context.height, unknown=True)
        self._check_complete()
        context.thread_count = self._threads or min(os.cpu_count() or 1, 16)
        context.thread_type = "AUTO"
        self._frames = self._decode()

    def _check_complete(self) -> None:
        """An MP4 with its index in front opens well when it is cut; its index then points past the end."""
        if "mp4" not in self._container.format.name:
            return
        entries = self._stream.index_entries
        size = self._container.size
        lost = sum(1 for e in entries if e.pos + e.size > size)
        if lost:
            raise MediaError(f"{self.name}: truncated: {lost} of {len(entries)} frames lie beyond its end")

    def _limits(self, start: float | None, duration: float | None) -> None:
        base = self._time_base = self._stream.time_base or Fraction(1, 90000)
        self._begin: int | None = None
        self._end: int | None = None
        if start is None and duration is None:
            return
        origin = self._stream.start_time
        if origin is None:
            origin = self._first_frame()[0]
            self._reopen()
        begin = origin + round(Fraction(start or 0) / base)
        if start:
            self._begin = begin
            with translated(self.name, "cannot be positioned"):
                self._container.seek(begin, stream=self._stream)
        if duration is not None:
            self._end = begin + max(1, round(Fraction(duration) / base))

    def _reopen(self) -> None:
        self._container.close()
        self._open()

    def _first_frame(self) -> tuple[int, av.VideoFrame]:
        found = next(self._frames, None)
        if self._begin is not None:
            if found is None or found[0] > self._begin:
                # Some containers cannot seek exactly and land behind the target: walk there instead.
                self._reopen()
                found = next(self._frames, None)
            while found is not None and found[0] < self._begin:
                found = next(self._frames, None)
        if found is None or (self._end is not None and found[0] >= self._end):
            raise MediaError(
                f"{self.name}: has no video frame" + (" in the part asked for" if self._begin or self._end else "")
            )
        _check_size(self.name, found[1].width, found[1].height)
        return found

    def _decode(self) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decoded frames with pts repaired: missing ones continue at the nominal rate, equal ones move by a tick."""
        count, last = 0, None
        step = max(1, round(1 / (nominal_rate(self._stream) * (self._stream.time_base or Fraction(1, 90000)))))
        try:
            for frame in self._container.decode(self._stream):
                pts = frame.pts if frame.pts is not None else frame.dts
                if pts is None:
                    pts = 0 if last is None else last + step
                elif last is not None and pts <= last:
                    pts = last + 1
                self._view.check()
                last = pts
                count += 1
                yield pts, frame
            self._view.check()
        except (av.FFmpegError, OSError, ValueError, EOFError) as error:
            raise MediaError(f"{self.name}: damaged after frame {count}: {one_line(error)}") from error

    def _check_colour(self, frame: av.VideoFrame) -> Colour:
        try:
            return colour_of(frame)
        except MediaError as error:
            raise MediaError(f"{self.name}: {error}") from None

    def _describe(self, first_pts: int, first: av.VideoFrame, trimmed: bool) -> VideoInfo:
        stream, fps = self._stream, nominal_rate(self._stream)
        self._coded = first.width, first.height
        width, height = self._coded[::-1] if self._turns % 2 else self._coded
        end = None
        if stream.duration is not None:
            end = (stream.start_time or 0) + stream.duration
        if self._end is not None:
            end = self._end if end is None else min(end, self._end)
        duration = (end - first_pts) * self._time_base if end is not None and end > first_pts else None
        self._shift = first_pts if trimmed else 0
        whole = not trimmed and self._end is None
        frames = stream.frames if whole and stream.frames else (round(duration * fps) if duration else None)
        return VideoInfo(
            width=width,
            height=height,
            fps=fps,
            time_base=self._time_base,
            first_pts=first_pts - self._shift,
            end_pts=None if self._end is None else self._end - self._shift,
            frames_hint=frames or None,
            rotation=90 * self._turns,
            matrix=self._colour.matrix,
            full_range=self._colour.full_range,
            has_audio=bool(self._container.streams.audio),
            duration=duration,
            trimmed=trimmed,
            origin=self._shift * self._time_base,
            pixel_aspect=stream.sample_aspect_ratio or Fraction(1),
        )

    def _deliver(self, pts: int, frame: av.VideoFrame) -> Frame:
        # A stream may change its size on the way; the clip keeps the size it began with.
        resize = self._coded if (frame.width, frame.height) != self._coded else (None, None)
        with translated(self.name, "a frame cannot be converted"):
            rgb = to_rgb(frame, self._colour, *resize)
        if self._turns:
            rgb = np.ascontiguousarray(np.rot90(rgb, self._turns))
        return Frame(pts - self._shift, rgb, frame.is_corrupt)


def _check_size(name: str, width: int, height: int, unknown: bool = False) -> None:
    if unknown and not (width and height):
        return
    if min(width, height) < MIN_SIDE:
        raise MediaError(f"{name}: {width}x{height} is too small: at least {MIN_SIDE}x{MIN_SIDE} pixels are needed")
    if max(width, height) > MAX_SIDE:
        raise MediaError(f"{name}: {width}x{height} is too large: at most {MAX_SIDE} pixels a side are supported")
