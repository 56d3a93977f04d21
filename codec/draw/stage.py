"""What stands on the stage of a segment, drawn: what lies beneath, then its actors from the back to
the front. `spec/codec-1.md`, section 11, says how.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...format.actor import ActorKey
from ...format.errors import DamagedError
from ...format.reader import Reader
from ...format.segment import Segment, Track
from ...format.stage import Patch
from ..face.paste import paste
from ..media.still import decode_still
from ..model.modelfile import Model
from ..model.pictures import from_levels
from .kept import Kept
from .render import Renderer
from .sets import Sets
from .units import dequantise_placement

ALIVE = 4  # renderers that are kept; more where more stand in one segment
PATCHES, PATCH_ROOM = 8, 64 << 20  # patches that are kept, and their bytes
LEAST_DRAWN = 64  # side of a square


class Stage:
    """Draws the segments of a stream.

    Args:
        width, height: of the frames that are drawn.
        scale: pixels of these for one of the stream's.
        coarse: draw squares no finer than needed.
    """

    def __init__(
        self, reader: Reader, model: Model, device: torch.device, width: int, height: int, scale: float, *, coarse: bool
    ):
        self.reader, self.model, self.device = reader, model, device
        self.scale, self.coarse = scale, coarse
        self.sets = Sets(reader, width, height, scale)
        self._renderers = Kept[ActorKey, Renderer](ALIVE)
        self._patches = Kept[tuple[int, int, int], Tensor](PATCHES, PATCH_ROOM, lambda picture: picture.nbytes)

    def beneath(self, segment: Segment, rows: np.ndarray) -> list[np.ndarray]:
        """What lies beneath the actors in some frames, each (H, W, 3) uint8 and not to be changed."""
        return self.sets.beneath(segment, rows)

    def frames(self, segment: Segment, rows: np.ndarray) -> list[np.ndarray]:
        """Some frames of a segment by their places in it, each (H, W, 3) uint8."""
        pictures = self.beneath(segment, rows)
        for place, track in enumerate(segment.actors):
            assert track.placement is not None
            spots = dequantise_placement(track.placement[rows]) * [*[self.scale] * 3, 1]
            if not (spots[:, 2] > 0).any():
                continue
            squares = self.squares(segment, place, rows, 2 * float(spots[:, 2].max()))
            for i, square in enumerate(squares):
                if square is not None and spots[i, 2] > 0:
                    pictures[i] = paste(pictures[i], square, spots[i])
        return pictures

    def squares(self, segment: Segment, place: int, rows: np.ndarray, needed: float) -> Tensor | list[Tensor | None]:
        """An actor in some frames.

        Args:
            place: of the actor in the segment's list.
            needed: side of the square in pixels of the frame.

        Returns:
            For each frame a square (3, S, S), -1 to 1; None where the actor was lost.  Without
            patches all in one, (N, 3, S, S).
        """
        track = segment.actors[place]
        patches = [self._patch(segment, place, int(row)) for row in rows]
        renderer = None if all(patch is not None for patch in patches) else self.renderer(segment, track)
        if renderer is None:
            return patches
        drawn = renderer.draw(track.motion[rows], self._drawn(needed, renderer))
        if all(patch is None for patch in patches):
            return drawn
        return [square if patch is None else patch for square, patch in zip(drawn, patches, strict=True)]

    def renderer(self, segment: Segment, track: Track) -> Renderer | None:
        """Of the revision that a segment names; None where that was lost."""
        key = track.actor, track.revision
        self._renderers.most = max(ALIVE, len(segment.actors))
        return self.renderer_of(key)

    def renderer_of(self, key: ActorKey) -> Renderer | None:
        """Of a revision of an actor, made when it is first needed; None where that was lost."""
        if self.reader.salvage and not self.reader.has(key):
            return None
        try:
            return self._renderers.get(key, lambda: self._made(key))
        except DamagedError:
            if not self.reader.salvage:
                raise
            return None

    def generates(self, segment: Segment, places: Iterable[int]) -> bool:
        """Whether one of some actors takes the generator, whose tensors are large enough for several
        threads.
        """
        found = [self.renderer(segment, segment.actors[place]) for place in places]
        return any(renderer is not None and renderer.generates for renderer in found)

    def incomplete(self, segment: Segment, rows: np.ndarray, places: Iterable[int], whole: bool) -> int:
        """Of some frames those in which something is missing that was lost.

        Args:
            places: of the actors in the segment's list that are looked at.
            whole: what lies beneath them counts too.
        """
        missing = self.sets.missing(segment, rows) if whole else np.zeros(len(rows), bool)
        for place in places:
            track = segment.actors[place]
            if self.renderer(segment, track) is None:
                there = np.ones(len(rows), bool) if track.placement is None else track.placement[rows, 2] > 0
                missing |= there & np.array([self._patch(segment, place, int(row)) is None for row in rows])
        return int(missing.sum())

    def _made(self, key: ActorKey) -> Renderer:
        who = self.reader.who(key)
        return Renderer(
            self.model, who.values, who.delta, who.modes, who.pivot,
            identity_step_code=who.identity_step_code, motion_step_code=who.motion_step_code, device=self.device,
        )  # fmt: skip

    def _drawn(self, needed: float, renderer: Renderer) -> int:
        """Side of the squares to draw: what is there, or a power of two that is enough."""
        side = max(LEAST_DRAWN, 1 << max(0, math.ceil(math.log2(max(1.0, needed)))))
        return min(side, renderer.side) if self.coarse else renderer.side

    def _patch(self, segment: Segment, place: int, row: int) -> Tensor | None:
        """The patch of an actor in a frame as a square (3, S, S), -1 to 1; None where there is none."""
        for patch in segment.patches:
            if patch.track == place and patch.first <= row < patch.end:
                key = segment.index, place, patch.first
                try:
                    return self._patches.get(key, partial(patch_picture, patch))
                except DamagedError:
                    if not self.reader.salvage:
                        raise
        return None


def patch_picture(patch: Patch) -> Tensor:
    """(3, S, S), -1 to 1, S the larger side of the still.  Raises DamagedError where it is none."""
    rgb = decode_still(patch.still.data, patch.still.width, patch.still.height)
    picture, side = torch.from_numpy(rgb).permute(2, 0, 1)[None].float(), max(rgb.shape[:2])
    if picture.shape[2:] != (side, side):
        picture = F.interpolate(picture, size=(side, side), mode="bicubic", align_corners=False)
    return from_levels(picture[0].round().clamp(0, 255))
