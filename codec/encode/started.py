"""A file that has begun: what its segments are drawn, quantised and written with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ...format.container import Writer
from ...format.excerpt import Excerpt
from ...format.header import Header
from ...format.still import Still
from ..draw.render import Renderer
from ..face.absence import alone, plain
from ..face.survey import Survey
from ..fit.carrier import Appearance
from ..fit.quantiser import Quantiser
from ..media.audio import Sound
from ..media.videoinfo import VideoInfo
from .outgoing import Outgoing


@dataclass(frozen=True)
class OpenedClip:
    """A clip that is being read.

    Args:
        info: what its container says.
        sound: its packets, or none.
        survey: its frames after alignment.
    """

    info: VideoInfo
    sound: Sound
    survey: Survey


@dataclass(frozen=True)
class Backdrop:
    """What stands behind the face.

    Args:
        still: a picture, None where the file is of the square alone.
        empty: it was seen without anybody before it.
    """

    still: Still | None = None
    empty: bool = False


@dataclass(frozen=True)
class StartedFile:
    """Header and identity are written; segments follow.

    Args:
        header: as the encoder made it.
        appearance: who the file shows.
        renderer: draws it.
        quantise: makes integers of its parameters.
        writer: of the file.
        out: takes the segments.
        excerpt: the identity alone, for other files to refer to.
        backdrop: what stands behind the face.
    """

    header: Header
    appearance: Appearance
    renderer: Renderer
    quantise: Quantiser
    writer: Writer
    out: Outgoing
    excerpt: Excerpt
    backdrop: Backdrop

    def places(self, placements: list[np.ndarray], absent: list[bool]) -> list[np.ndarray]:
        """Placements as they are sent, where nobody is there in some of the frames."""
        if not any(absent):
            return placements
        nobody = plain(self.header.width, self.header.height)
        return [
            (alone(p) if self.backdrop.empty else nobody) if no else p for p, no in zip(placements, absent, strict=True)
        ]

    def refined(self, pictures: Tensor, start: Tensor, before: Tensor | None) -> Tensor:
        """Parameters (N, P) of a block of frames (N, 3, S, S), not quantised; see
        `carrier.Refiner`."""
        return self.appearance.refine(self.renderer, pictures, start, before)
