"""The decoder: a `.fev` stream in, pictures out; written to video by `fev.codec.media.mux` or taken
as arrays.

Reading and drawing run beside writing (`ahead`).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np
import torch
import torch.nn.functional as F

from ..format.audio import AudioPacket
from ..format.container import Reader
from ..format.errors import FevError, UsageError
from ..format.segment import Segment
from .draw.render import Renderer
from .draw.stage import check_drawable
from .draw.units import dequantise_placement
from .face.paste import paste
from .media.arguments import check_fields
from .media.containers import CONTAINERS, SILENT, container_of
from .media.identities import Search, excerpt_of, folder_of, remember
from .media.mux import VideoWriter
from .media.notices import Notices
from .media.still import decode_still
from .media.video import check_part
from .model.devices import pick_device
from .model.modelfile import Model, load_for
from .model.pictures import to_numpy
from .threads.ahead import Ahead
from .threads.split import cuts, each

BATCH = 8  # frames drawn at once
DRAWN_AHEAD = 4  # pictures that may wait to be written
PATIENCE = 2.0  # seconds that an end before its time waits for a reader of a pipe
MAX_SIZE = 8192
LEAST_DRAWN = 64  # side of a square
# Lost frames that are filled, nine minutes at 30 a second: a file of a few bytes may claim to have
# lost years.  Beyond it the last picture stands all the same, until the next time stamp.
MOST_HELD = 1 << 14
SOUND_CLOCK = Fraction(1, 48_000)
SYNTHETIC_MARK = "synthetic: the motion in this video was not performed by the person shown"


@dataclass(frozen=True)
class DecodeOptions:
    """What is to be decoded, and how.

    Args:
        crop: deliver the aligned square even where the file has a background.
        size: side of that square, or the picture's larger side; None for the file's own.
        coarse: draw and paste no finer than that size needs, which is faster and a little softer
            than shrinking what was drawn.
        start, duration: seconds.
        model: name or path; None for the installed one that the file asks for.
        identity: the .fev file that holds the identity, for a file that refers to one.
        remember: keep the identity in the cache.
        salvage: go on behind damage.
        device: auto, cpu or cuda.
        container: None for the one that the output's name asks for.
    """

    crop: bool = False
    size: int | None = None
    coarse: bool = False
    start: float | None = None
    duration: float | None = None
    model: str | os.PathLike[str] | None = None
    identity: str | os.PathLike[str] | None = None
    remember: bool = False
    salvage: bool = False
    device: str = "auto"
    container: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.size is not None and not 2 <= self.size <= MAX_SIZE:
            raise UsageError(f"size {self.size} is not within 2 to {MAX_SIZE}")
        if self.container not in (None, *CONTAINERS):
            raise UsageError(f"container {self.container!r} is not one of {', '.join(CONTAINERS)}")
        check_part(self.start, self.duration)


@dataclass(frozen=True)
class DecodeReport:
    """What was written.

    Args:
        repeated: frames lost to damage, filled with the last good picture.
        elapsed_s: wall time.
        notices: what there is to say, counts by the keys of `notices.WORDS`.
    """

    frames: int
    repeated: int
    width: int
    height: int
    elapsed_s: float
    synthetic: bool
    damage: list[Any] = field(default_factory=list)
    notices: dict[str, int] = field(default_factory=dict)


class FrameDecoder:
    """Draws the pictures of a Reader's segments.

    Frames come as (pts, rgb uint8 (H, W, 3)); a lost stretch is filled with the last picture.
    """

    def __init__(self, reader: Reader, options: DecodeOptions, model: Model | None = None):
        self.reader, self.options = reader, options
        h = self.header = reader.header
        who = reader.who()
        actor = reader.cast.newest(0)
        self._revision = 0 if actor is None else actor.revision
        self.model = model or load_for(h.model_sha256.hex(), options.model)
        if self.model.latents.params != h.params:
            raise FevError(f"the file has {h.params} motion parameters, the model {self.model.latents.params}")
        self.renderer = Renderer(
            self.model, who.values, who.delta, who.modes, who.pivot,
            identity_step_code=who.identity_step_code, motion_step_code=who.motion_step_code,
            device=pick_device(options.device),
        )  # fmt: skip
        self.square = options.crop or h.crop
        if not (self.square or h.placement):
            raise FevError("the file's picture is not the aligned square, and where the square lies is not said")
        self.width, self.height = h.width, h.height
        if options.crop and not h.crop:
            self.width = self.height = self.model.size
        if options.size:
            scale = options.size / max(self.width, self.height)
            self.width, self.height = (max(2, round(v * scale)) for v in (self.width, self.height))
        scale = self.width / (self.model.size if self.square else h.width)
        self._scale = min(1.0, scale) if options.coarse else 1.0  # of what is drawn
        self.plate: np.ndarray | None = None
        if not self.square:
            self.plate = np.zeros((h.height, h.width, 3), np.uint8)
            given = reader.cast.sets.get(0)
            if given is not None:
                b = given.still
                still = decode_still(b.data, b.width, b.height)
                self.plate = resize(still, h.width, h.height)
            if self._scale < 1:
                self.plate = resize(self.plate, self.width, self.height)
        self.notices = Notices()
        self.expected = 0
        self._last: np.ndarray | None = None
        self._last_pts: int | None = None

    def frames(self, segments: Iterator[Segment]) -> Iterator[tuple[int, np.ndarray]]:
        for segment in segments:
            yield from self._bridge(segment)
            yield from self.segment(segment)

    def segment(self, segment: Segment, first: int = 0, end: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """Pictures of one segment, or of those of its frames from place `first` up to `end`."""
        check_drawable(segment, self.reader.cast, self._revision)
        end = len(segment.pts) if end is None else end
        for i in range(first, end, BATCH):
            yield from self.pictures(segment, np.arange(i, min(i + BATCH, end)))
        self.expected = segment.first_frame + len(segment.pts)

    def pictures(self, segment: Segment, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Pictures of some frames of a segment, by their places in it, all drawn at once."""
        pictures: list[np.ndarray] = []
        if self.renderer.generates:
            pictures = self._pictures(segment, rows)
        else:
            parts = [rows[part] for part in cuts(len(rows))]
            for some in each(lambda part: self._pictures(segment, part), parts, self.renderer.device):
                pictures += some
        for pts, picture in zip(segment.pts[rows], pictures, strict=True):
            self._last, self._last_pts = picture, int(pts)
            yield int(pts), picture

    def _pictures(self, segment: Segment, rows: np.ndarray) -> list[np.ndarray]:
        if self.plate is None:
            return self._squares(self.renderer.draw(segment.motion[rows], self._drawn(self.width)))
        assert segment.placement is not None
        places = dequantise_placement(segment.placement[rows]) * [*[self._scale] * 3, 1]
        squares = self.renderer.draw(segment.motion[rows], self._drawn(2 * float(places[:, 2].max())))
        return [self._fit(paste(self.plate, s, p)) for s, p in zip(squares, places, strict=True)]

    def _drawn(self, needed: float) -> int | None:
        """Side of the squares to draw, a power of two; None for the model's own."""
        side = max(LEAST_DRAWN, 1 << max(0, math.ceil(math.log2(max(1.0, needed)))))
        return side if self._scale < 1 and side < self.model.size else None

    def _squares(self, squares: torch.Tensor) -> list[np.ndarray]:
        if (self.height, self.width) != tuple(squares.shape[2:]):
            shrink = self.height < squares.shape[2]
            squares = F.interpolate(
                squares, size=(self.height, self.width), mode="area" if shrink else "bicubic",
                **({} if shrink else {"align_corners": False}),
            )  # fmt: skip
        return list(to_numpy(squares))

    def _fit(self, picture: np.ndarray) -> np.ndarray:
        return resize(picture, self.width, self.height)

    def _bridge(self, segment: Segment) -> Iterator[tuple[int, np.ndarray]]:
        """Hold the last picture where frames before this segment are missing."""
        missing = segment.first_frame - self.expected
        if missing <= 0 or self._last_pts is None:
            return
        gap = int(segment.pts[0]) - self._last_pts
        if missing >= gap:  # more than there are ticks: the count is wrong, the nominal rate may be right
            rate = Fraction(*self.header.fps) * Fraction(*self.header.time_base)
            missing = min(gap, round(gap * rate)) - 1
        yield from self._hold(missing, gap)

    def tail(self) -> Iterator[tuple[int, np.ndarray]]:
        """Hold the last picture where the stream's end counts more frames than came."""
        missing = 0 if self.reader.end is None else self.reader.end.frames - self.expected
        yield from self._hold(missing, max(1, self.header.pts_step) * (missing + 1))

    def _hold(self, missing: int, gap: int) -> Iterator[tuple[int, np.ndarray]]:
        """So many frames evenly over `gap` ticks, of which there are more."""
        if self._last is None or self._last_pts is None:
            return
        before, parts = self._last_pts, missing + 1
        for k in range(1, min(missing, MOST_HELD - self.notices["repeated"]) + 1):
            self.notices.add("repeated")
            yield before + (2 * gap * k + parts) // (2 * parts), self._last


def resize(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """(H, W, 3) uint8 to another size; area averaging when shrinking, bicubic when growing."""
    if picture.shape[:2] == (height, width):
        return picture
    x = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    if height < picture.shape[0]:
        x = F.interpolate(x, size=(height, width), mode="area")
    else:
        x = F.interpolate(x, size=(height, width), mode="bicubic", align_corners=False)
    return x[0].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()


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
    if options.identity is not None and not reader.identity_elsewhere:
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
    decoder.notices.add("sound_back", writer.unheard)
    return DecodeReport(
        count, decoder.notices["repeated"], decoder.width, decoder.height, time.perf_counter() - started, h.synthetic,
        list(reader.damage), decoder.notices.as_dict(),
    )  # fmt: skip


def _shown(
    reader: Reader, decoder: FrameDecoder, window: _Window, silent: bool
) -> Iterator[AudioPacket | tuple[int, np.ndarray]]:
    """What the wanted part shows and sounds, in the order of the file."""
    for segment in _from_start(reader, window):
        if window.before(segment):
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
