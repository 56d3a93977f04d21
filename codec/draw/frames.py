"""The pictures of a stream, in the order of its frames, with those held that were lost.
`fev.codec.decoder` writes them to a video, the player shows them.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F

from ...format.container import Reader
from ...format.errors import FevError
from ...format.segment import Segment
from ..face.warp import resize
from ..media.notices import Notices
from ..model.devices import pick_device
from ..model.modelfile import Model, load_for
from ..model.pictures import to_numpy
from ..threads.split import cuts, each
from .options import DecodeOptions
from .stage import Stage

BATCH = 8  # frames drawn at once
# Lost frames that are filled, nine minutes at 30 a second: a file of a few bytes may claim to have
# lost years.  Beyond it the last picture stands all the same, until the next time stamp.
MOST_HELD = 1 << 14


class FrameDecoder:
    """Draws the pictures of a Reader's segments.

    Frames come as (pts, rgb uint8 (H, W, 3)), not to be changed; a lost stretch is filled with the
    last picture.  A segment is to be drawn before the reader goes on: it needs what is alive now.
    """

    def __init__(self, reader: Reader, options: DecodeOptions, model: Model | None = None):
        self.reader, self.options = reader, options
        h = self.header = reader.header
        self.model = model or load_for(h.model_sha256.hex(), options.model)
        if self.model.latents.params != h.params:
            raise FevError(f"the file has {h.params} motion parameters, the model {self.model.latents.params}")
        self.square = options.crop or h.crop
        if not (self.square or h.placement):
            raise FevError("the file's picture is not the aligned square, and where the square lies is not said")
        self.width, self.height = h.width, h.height
        device, actor = pick_device(options.device), reader.cast.newest(0)
        stage = Stage(reader, self.model, device, h.width, h.height, 1.0, coarse=False)
        # What is wrong with the actor is said before any work is done.
        renderer = None if actor is None else stage.renderer_of(actor.key)
        side = self.model.size if renderer is None else renderer.side
        if options.crop and not h.crop:
            self.width = self.height = side
        if options.size:
            scale = options.size / max(self.width, self.height)
            self.width, self.height = (max(2, round(v * scale)) for v in (self.width, self.height))
        if options.coarse and self.width < (side if self.square else h.width):
            drawn = (h.width, h.height) if self.square else (self.width, self.height)
            stage = Stage(reader, self.model, device, *drawn, drawn[0] / h.width, coarse=True)
        self.stage = stage
        self.seen: set[int] = set()  # numbers of the actors of all segments that were drawn
        self.notices = Notices()
        self.expected = 0
        self._last: np.ndarray | None = None
        self._last_pts: int | None = None

    def frames(self, segments: Iterator[Segment]) -> Iterator[tuple[int, np.ndarray]]:
        for segment in segments:
            yield from self._bridge(segment)
            yield from self.segment(segment)

    def awaits(self, segment: Segment) -> bool:
        """Whether a receiver that joined late is to go on to the next segment: it has shown nothing
        yet and lacks what this one names.
        """
        early = self.reader.joined and self._last is None
        return early and bool(self.reader.lacking(segment))

    def segment(self, segment: Segment, first: int = 0, end: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """Pictures of one segment, or of those of its frames from place `first` up to `end`."""
        end = len(segment.pts) if end is None else end
        for i in range(first, end, BATCH):
            yield from self.pictures(segment, np.arange(i, min(i + BATCH, end)))
        self.expected = segment.first_frame + len(segment.pts)

    def pictures(self, segment: Segment, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Pictures of some frames of a segment, by their places in it, all drawn at once."""
        self.seen.update(track.actor for track in segment.actors)
        shown = self._shown(segment)
        pictures: list[np.ndarray] = []
        if self.stage.generates(segment, shown):
            pictures = self._pictures(segment, rows)
        else:
            parts = [rows[part] for part in cuts(len(rows))]
            for some in each(lambda part: self._pictures(segment, part), parts, self.stage.device):
                pictures += some
        if self.reader.salvage:
            self.notices.add("incomplete", self.stage.incomplete(segment, rows, shown, not self.square))
        for pts, picture in zip(segment.pts[rows], pictures, strict=True):
            self._last, self._last_pts = picture, int(pts)
            yield int(pts), picture

    def check_seen(self) -> None:
        """Raises FevError where the actor that was asked for stood on no stage."""
        wanted, seen = self.options.actor, sorted(self.seen)
        if wanted is not None and wanted not in seen:
            others = f"actor{'s' * (len(seen) > 1)} {', '.join(map(str, seen))}" if seen else "nobody"
            raise FevError(f"actor {wanted} is not on stage in what was decoded, but {others}")

    def _shown(self, segment: Segment) -> list[int]:
        """The places in the segment's list of the actors that are drawn."""
        numbers = [track.actor for track in segment.actors]
        if not self.square:
            return list(range(len(numbers)))
        wanted = min(numbers, default=None) if self.options.actor is None else self.options.actor
        return [place for place, number in enumerate(numbers) if number == wanted]

    def _pictures(self, segment: Segment, rows: np.ndarray) -> list[np.ndarray]:
        if not self.square:
            return [self._fit(picture) for picture in self.stage.frames(segment, rows)]
        squares: torch.Tensor | list[torch.Tensor | None] = [None] * len(rows)
        for place in self._shown(segment):
            squares = self.stage.squares(segment, place, rows, self.width)
        if isinstance(squares, torch.Tensor):
            return self._squared(squares)
        behind = self._behind(segment, rows)
        return [
            self._fit(picture) if square is None else self._squared(square[None])[0]
            for picture, square in zip(behind, squares, strict=True)
        ]

    def _behind(self, segment: Segment, rows: np.ndarray) -> list[np.ndarray]:
        """What is shown where the square of nobody is."""
        if self.header.crop:
            return self.stage.beneath(segment, rows)
        return [np.zeros((self.height, self.width, 3), np.uint8)] * len(rows)

    def _squared(self, squares: torch.Tensor) -> list[np.ndarray]:
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
