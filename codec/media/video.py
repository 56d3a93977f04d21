"""Reading video: frames as RGB arrays with exact time stamps; rotation, shape of pixels, fields and
colour dealt with.

Sound is read by `fev.codec.media.audio`; both are written back by `fev.codec.media.mux`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from typing import Any, cast

import av

from ...format.errors import MediaError, UsageError
from .colour import Colour, colour_of, is_clear, to_rgb
from .deinterlace import Picture
from .display import display_of, squared
from .frame import Frame
from .notices import Notices
from .picturedecoder import PictureDecoder
from .probe import probe
from .source import MediaSource, name_of, open_container, rereadable, translated
from .streams import StreamChoice
from .videoinfo import VideoInfo, nominal_rate

MIN_SIDE = 64  # pixels; below this there is no face to find
MAX_SECONDS = 10**8  # three years, of which a clock of nanoseconds still has whole ticks in 64 bits
MAX_SIDE = 8192  # pixels; more is refused before a frame is allocated
LATE = 10  # seconds; a clip that begins later on its clock begins at 0


def open_video(
    src: MediaSource,
    start: float | None = None,
    duration: float | None = None,
    *,
    threads: int = 0,
    which: StreamChoice | None = None,
    notices: Notices | None = None,
) -> VideoReader:
    """Open a video stream of `src` and decode its first frame.

    Args:
        src: path, or binary file object; a pipe is spooled to disk (see `source.rereadable`, to be
            used by callers that open the same pipe more than once).
        start, duration: seconds; the part to deliver, counted from the first frame of the stream.
        threads: decoder threads, 0 for as many as there are processors.  Does not change a pixel.
        which: streams; by default those flagged default, else the longest.
        notices: where to count what was repaired, concealed or is missing.

    Raises:
        MediaError: for everything that is wrong with the input.
    """
    return VideoReader(
        src, start, duration, threads, which or StreamChoice(), Notices() if notices is None else notices
    )


def check_part(start: float | None, duration: float | None) -> None:
    """Refuse a part of a clip that cannot be.  Raises UsageError."""
    if start is not None and not 0 <= start <= MAX_SECONDS:
        raise UsageError(f"start {start} is not a number of seconds from 0 to {MAX_SECONDS}")
    if duration is not None and not 0 < duration <= MAX_SECONDS:
        raise UsageError(f"duration {duration} is not a number of seconds above 0, up to {MAX_SECONDS}")


class VideoReader:
    """Frames of a video, once, in order: iterate for `Frame`, its rgb contiguous.

    pts are integers in `info.time_base`, strictly increasing: the stream's own, or counted from the
    first delivered frame if a start was asked for, or from where the clip begins if the stream's
    own clock says nothing (`_origin`).  A few frames are held in memory at a time.  Use as a
    context manager, or call close().
    """

    def __init__(
        self,
        src: MediaSource,
        start: float | None,
        duration: float | None,
        threads: int,
        which: StreamChoice,
        notices: Notices,
    ):
        check_part(start, duration)
        self.name, self.notices = name_of(src), notices
        self._threads = threads
        self._stack = ExitStack()
        self._pictures: Iterator[Picture] = iter(())
        try:
            self._file = self._stack.enter_context(rereadable(src))
            until = None if duration is None else (start or 0) + duration
            self._probe = probe(self._file, self.name, which, until, notices)
            self._track = self._probe.video
            self._open()
            self._limits(start, duration)
            first = self._first()
            self._display = display_of(first.frame)
            self._colour = self._check_colour(first.frame)
            self.info = self._describe(first, start is not None and start > 0)
            self._say(first.frame)
        except BaseException:
            self.close()
            raise
        self._pending: Picture | None = first
        self._used = False

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._pictures = iter(())  # the generator holds self and the container: break the circle
        self._pending = None
        self._stack.close()

    def __iter__(self) -> Iterator[Frame]:
        if self._used:
            raise RuntimeError("a VideoReader delivers its frames once; open the video again")
        self._used = True
        first, self._pending = self._pending, None
        if first is not None:
            yield self._deliver(first)
            del first
        for picture in self._pictures:
            if self._end is not None and picture.pts >= self._end:
                return
            yield self._deliver(picture)
        self._probe.count_missing(self._container, self.info.fps, self._decoder.left_out, self.notices)

    def _open(self) -> None:
        container, self._view = open_container(self._file, self.name)
        self._stack.enter_context(container)
        self._container = container
        # the stubs know streams in general alone
        self._stream = cast(Any, container.streams[self._track.index])
        context = self._stream.codec_context
        if context is None:
            raise MediaError(f"{self.name}: no decoder for its video codec")
        _check_size(self.name, context.width, context.height, unknown=True)
        context.thread_count = self._threads or min(os.cpu_count() or 1, 16)
        context.thread_type = "AUTO"
        self._decoder = PictureDecoder(
            self.name, container, self._view, self._stream, self._track, self._probe.own_clock, self.notices
        )
        self._pictures = iter(self._decoder)

    def _limits(self, start: float | None, duration: float | None) -> None:
        base = self._time_base = self._stream.time_base or Fraction(1, 90000)
        self._begin: int | None = None
        self._end: int | None = None
        if start is None and duration is None:
            return
        if self._track.first is None:
            origin = self._first().pts
            self._reopen()
        else:
            origin = round(self._track.first / base)
        begin = origin + round(Fraction(start or 0) / base)
        if start:
            self._begin = begin
            if not self._track.jumps:  # a file whose clock jumps cannot be searched by time
                with translated(self.name, "cannot be positioned"):
                    self._container.seek(begin, stream=self._stream)
        if duration is not None:
            self._end = begin + max(1, round(Fraction(duration) / base))

    def _reopen(self) -> None:
        self._container.close()
        self._open()

    def _first(self) -> Picture:
        found = next(self._pictures, None)
        if self._begin is not None:
            if found is None or found.pts > self._begin:
                # Some containers cannot seek exactly and land behind the target: walk there
                # instead.
                self._reopen()
                found = next(self._pictures, None)
            while found is not None and found.pts < self._begin:
                found = next(self._pictures, None)
        if found is None or (self._end is not None and found.pts >= self._end):
            part = " in the part asked for" if self._begin or self._end else ""
            raise MediaError(
                f"{self.name}: has no video frame{part}{': the file is cut short' if self._probe.cut else ''}"
            )
        _check_size(self.name, found.frame.width, found.frame.height)
        return found

    def _origin(self, first: int, trimmed: bool) -> int:
        """The pts that becomes 0.

        A container whose clock is not its own begins where picture or sound does; so does one that
        begins before 0 or long after, where nothing is shown.
        """
        if trimmed:
            return first
        begin = first
        sound = self._probe.sound
        if sound is not None and sound.first is not None:
            begin = min(first, round(sound.first / self._time_base))
        if not self._probe.own_clock or begin * self._time_base > LATE:
            return begin
        return min(first, 0)

    def _say(self, first: av.VideoFrame) -> None:
        """What is done to every picture."""
        if (self.info.width, self.info.height) != self._display.sides(*self._coded):
            self.notices.add("squared")
        # WebM keeps transparency where the decoder does not look; a GIF can hold it and seldom
        # does.
        alpha = any(c.is_alpha for c in first.format.components)
        if alpha and self._stream.codec_context.name == "gif":
            alpha = is_clear(first)
        self.notices.add("alpha", int(alpha or self._stream.metadata.get("alpha_mode") == "1"))

    def _check_colour(self, frame: av.VideoFrame) -> Colour:
        try:
            return colour_of(frame)
        except MediaError as error:
            raise MediaError(f"{self.name}: {error}") from None

    def _describe(self, first: Picture, trimmed: bool) -> VideoInfo:
        stream, fps = self._stream, nominal_rate(self._stream)
        self._coded = first.frame.width, first.frame.height
        aspect = stream.sample_aspect_ratio or Fraction(1)
        self._square = squared(*self._coded, aspect)
        width, height = self._display.sides(*self._square)
        _check_size(self.name, width, height)
        end = None if self._track.end is None else round(self._track.end / self._time_base)
        if self._end is not None:
            end = self._end if end is None else min(end, self._end)
        duration = (end - first.pts) * self._time_base if end is not None and end > first.pts else None
        self._shift = self._origin(first.pts, trimmed)
        whole = not trimmed and self._end is None
        frames = stream.frames if whole and stream.frames else (round(duration * fps) if duration else None)
        return VideoInfo(
            width=width,
            height=height,
            fps=fps,
            time_base=self._time_base,
            first_pts=first.pts - self._shift,
            end_pts=None if self._end is None else self._end - self._shift,
            frames_hint=frames or None,
            rotation=self._display.rotation,
            mirrored=self._display.mirrored,
            matrix=self._colour.matrix,
            full_range=self._colour.full_range,
            sound=self._probe.sound,
            duration=duration,
            trimmed=trimmed,
            origin=self._shift * self._time_base,
            pixel_aspect=aspect,
        )

    def _deliver(self, picture: Picture) -> Frame:
        # A stream may change its size on the way; the clip keeps the size it began with.
        frame = picture.frame
        resize = self._square if (frame.width, frame.height) != self._square else (None, None)
        self.notices.add("resized", int((frame.width, frame.height) != self._coded))
        with translated(self.name, "a frame cannot be converted"):
            rgb = to_rgb(frame, self._colour, *resize)
        self.notices.add("damaged", int(picture.damaged))
        self.notices.add("deinterlaced", int(picture.combed))
        return Frame(picture.pts - self._shift, self._display.apply(rgb), picture.damaged)


def _check_size(name: str, width: int, height: int, unknown: bool = False) -> None:
    if unknown and not (width and height):
        return
    if min(width, height) < MIN_SIDE:
        raise MediaError(f"{name}: {width}x{height} is too small: at least {MIN_SIDE}x{MIN_SIDE} pixels are needed")
    if max(width, height) > MAX_SIDE:
        raise MediaError(f"{name}: {width}x{height} is too large: at most {MAX_SIDE} pixels a side are supported")
