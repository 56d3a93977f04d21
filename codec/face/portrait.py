"""How good a frame is as the picture that stands for a face: whole, lit, sharp, eyes open, and like
most others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .covered import covered
from .regions import attention

FAR = 1.6  # median distances from others beyond which a frame is no stranger: most may show the same grimace
FEATURES = 32  # side of the pictures that are compared
USUAL = 0.7  # quantile over the clip that counts as what the face usually shows
NARROW = 0.85  # of the usual opening of an eye, below which it is closing
SOFT = 0.85  # of the usual sharpness
MOUTH_HIDDEN = 2.0  # logit of a covered mouth
CUT, CLOSED, BLURRED, FADED, DAMAGED = 6.0, 4.0, 2.0, 4.0, 20.0  # prices, in median distances of a frame from others
HIDDEN, STRANGE = 6.0, 2.0


Closer = Callable[[int], Tensor]  # row -> its square (3, S, S), -1 to 1, finer than the model's


@dataclass(frozen=True)
class Conditions:
    """What is known of frames beside their squares, each (N,).

    Args:
        inside: share of the inner face inside the picture.
        gain: of the light, 1 where the picture is lit.
        damaged: the decoder concealed something.
        closer: cuts the square of a frame from the source again; None where the model's size is
            enough.
    """

    inside: np.ndarray
    gain: np.ndarray
    damaged: np.ndarray
    closer: Closer | None = None

    @classmethod
    def good(cls, count: int) -> Conditions:
        return cls(np.ones(count), np.ones(count), np.zeros(count, bool))

    def __getitem__(self, rows: list[int]) -> Conditions:
        closer = self.closer
        some = None if closer is None else lambda row: closer(rows[row])
        return Conditions(self.inside[rows], self.gain[rows], self.damaged[rows], some)

    @property
    def usable(self) -> list[int]:
        """Rows that may say what the person looks like: all but damaged frames, unless there are no
        others.
        """
        rows = np.flatnonzero(~self.damaged)
        return [int(i) for i in (rows if len(rows) else np.arange(len(self.damaged)))]


def best_frame(frames: Tensor, conditions: Conditions | None = None, motion: Tensor | None = None) -> int:
    """The frame (N, 3, S, S) that stands best for all: near most others, the price of its faults
    added.

    Args:
        motion: (N, P), as the inverter sees it, small in a face at rest; a grimace may be what most
            frames show.
    """
    conditions = conditions or Conditions.good(len(frames))
    small = (F.interpolate(frames, size=FEATURES, mode="area") * attention(FEATURES).sqrt()).flatten(1)
    far = torch.cdist(small, small).median(1).values
    cost = (far / far.median().clamp_min(1e-6)).clamp_max(FAR)
    eyes = openings(frames)
    usual = torch.quantile(eyes, USUAL, 0).clamp_min(1e-6)
    cost = cost + CLOSED * (NARROW - (eyes / usual).amin(1)).clamp_min(0)
    sharp = sharpness(frames)
    cost = cost + BLURRED * (SOFT - sharp / torch.quantile(sharp, USUAL).clamp_min(1e-6)).clamp_min(0)
    if motion is not None and len(motion) > 1:
        cost = cost + STRANGE * motion.norm(dim=1).argsort().argsort() / (len(motion) - 1)
    cost = cost + HIDDEN * (covered(frames) > MOUTH_HIDDEN)
    rest = CUT * (1 - conditions.inside) + FADED * (1 - np.minimum(conditions.gain, 1)) + DAMAGED * conditions.damaged
    return int((cost + torch.from_numpy(rest).float()).argmin())


def openings(frames: Tensor) -> Tensor:
    """How open each eye is, (N, 3, S, S) -> (N, 2), in units of the clip itself: an open eye has
    dark and bright one above the other (lash, iris, white), a closed lid is smooth.
    """
    size = frames.shape[-1]
    rows = slice(round(size * 0.41), round(size * 0.53))
    light = frames.mean(1)
    sides = [light[:, rows, round(size * a) : round(size * b)] for a, b in ((0.3, 0.45), (0.55, 0.7))]
    return torch.stack([(v[:, 1:] - v[:, :-1]).abs().mean((1, 2)) for v in sides], 1)


def sharpness(frames: Tensor) -> Tensor:
    """Mean change from pixel to pixel in the face, (N, 3, S, S) -> (N,)."""
    size = frames.shape[-1]
    face = frames.mean(1)[:, size // 4 : -size // 8, size // 5 : -size // 5]
    across, down = (face[:, :, 1:] - face[:, :, :-1]).abs(), (face[:, 1:] - face[:, :-1]).abs()
    return across.mean((1, 2)) + down.mean((1, 2))


OPEN = 0.75  # of the clip's median eye opening, below which a frame blinks


def blinking(opening: Tensor) -> Tensor:
    """Which frames blink: (N,) eye openings -> (N,) of bool."""
    return opening < OPEN * opening[opening.isfinite()].median() if opening.isfinite().any() else opening < 0


def opening(pictures: Tensor) -> Tensor:
    """How open the eyes are, (N, 3, S, S) -> (N,); see `openings`."""
    return openings(pictures).mean(1)
