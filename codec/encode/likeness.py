"""How near two ways to send a shot come to it, by the whole picture: which of them is sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .haarpsi import haarpsi

# What HaarPSI counts in dB. Along AV1's own curve, from rate to rate, the two then say the same:
# coded at half size, 13.3 to 24.0 kbit/s bring 3.0 dB and 0.101.
LIKENESS_DB = 30.0
SAME_DB = 100.0  # of equal pictures


@dataclass(frozen=True)
class Likeness:
    """Means over frames.

    Args:
        psnr: of each frame, in dB.
        haarpsi: 0 to 1.
    """

    psnr: float
    haarpsi: float

    @property
    def score(self) -> float:
        """Both in one figure, in dB."""
        return self.psnr + LIKENESS_DB * self.haarpsi


def likeness(source: Iterable[np.ndarray], shown: Iterable[np.ndarray]) -> Likeness:
    """Of pictures that are shown, each uint8 (H, W, 3), to those of the source."""
    pairs = [(decibels(a, b), haarpsi(a, b)) for a, b in zip(source, shown, strict=True)]
    psnr, look = np.mean(pairs, 0)
    return Likeness(float(psnr), float(look))


def decibels(a: np.ndarray, b: np.ndarray) -> float:
    """PSNR of a picture, peak 255."""
    error = float(np.mean((a.astype(np.float32) - b) ** 2))
    return min(SAME_DB, 10 * float(np.log10(255**2 / error))) if error else SAME_DB


def better(drawn: Likeness, video: Likeness) -> bool:
    """Whether video comes nearer to a shot than what actors draw, at the same bytes.

    Actors are kept where both are alike: they can be drawn at any size, and followed by puppets.
    """
    return video.score > drawn.score
