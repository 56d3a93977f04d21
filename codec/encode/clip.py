"""A clip that was surveyed whole, and the way of its segments into a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..fit.cropstore import CropStore
from ..fit.quantiser import Quantiser
from ..fit.stages import Progress
from .started import StartedFile

# Of a segment: parameters (n, P), not quantised, and (n,) which frames are held.
SegmentMotion = tuple[Tensor, np.ndarray]


@dataclass
class SurveyedClip:
    """What the survey leaves behind: a row a frame, squares on disk for the frames with a face.

    Args:
        segment_frames: frames of a segment.
        crop_row: place in the store, -1 for a held frame.
    """

    segment_frames: int
    pts: list[int] = field(default_factory=list)
    placement: list[np.ndarray] = field(default_factory=list)
    crop_row: list[int] = field(default_factory=list)
    absent: list[bool] = field(default_factory=list)
    tones: list[np.ndarray] = field(default_factory=list)
    inside: list[float] = field(default_factory=list)
    damaged: list[bool] = field(default_factory=list)

    @property
    def faces(self) -> list[int]:
        """Frames whose squares are in the store, in its order."""
        return [i for i, row in enumerate(self.crop_row) if row >= 0]

    def segments(self) -> Iterator[tuple[int, list[int]]]:
        """First frame of each segment, and the rows of its frames in the store, -1 for held
        ones."""
        need = self.segment_frames
        return ((first, self.crop_row[first : first + need]) for first in range(0, len(self.pts), need))

    def still(self, params: int) -> Iterator[SegmentMotion]:
        """Segments in which nothing moves."""
        for _, rows in self.segments():
            yield torch.zeros(len(rows), params), np.zeros(len(rows), bool)


def fitted(clip: SurveyedClip, store: CropStore, file: StartedFile) -> Iterator[SegmentMotion]:
    """Every segment's parameters, fitted to its frames."""
    before: Tensor | None = None
    for _, rows in clip.segments():
        here = [r for r in rows if r >= 0]
        block = torch.zeros(len(rows), file.header.params)
        if here:
            found = file.refined(store.read(here), file.appearance.start[here], before)
            block[[i for i, r in enumerate(rows) if r >= 0]] = found
            before = found[-1]
        yield block, np.array([r < 0 for r in rows])


def send(
    clip: SurveyedClip,
    file: StartedFile,
    motion: Iterable[SegmentMotion],
    quantise: Quantiser,
    price: float = 1.0,
    progress: Progress = lambda stage, done, total: None,
) -> None:
    """Quantise and write the segments of a clip, and end the file.  price: of a bit, as a
    factor."""
    before: np.ndarray | None = None
    for (first, rows), (block, held) in zip(clip.segments(), motion, strict=True):
        end = first + len(rows)
        integers = quantise(block, held, before, price)
        places = file.places(clip.placement[first:end], clip.absent[first:end])
        file.out.write(clip.pts[first:end], integers, places, held)
        before = integers[-1]
        progress("motion", end, len(clip.pts))
    file.out.close()
