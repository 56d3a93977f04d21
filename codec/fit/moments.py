"""Planes of texture for single moments: what the worst frames still lack when the modes are fitted.

A fit moves all planes for all frames, so a moment that no other looks like stays what it was.  Here
one plane after the other is made of what a worst frame lacks, and those that lack the same.  Its
parameter is 0 in all other frames, which costs next to nothing.

Such a plane does what a patch does, a picture for some frames, in fewer bytes: it is a difference,
it moves with the face, it comes and goes by degrees, and one serves all moments that are alike
(figures: docs/measurements/worst-frame.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...format.modes import Modes
from ...format.motion import motion_bits
from ..draw.modes import CHROMA_STEP, TEXTURE_UNIT, ClipModes
from ..draw.units import step_code, step_size
from ..face.regions import inner_face
from ..model.planes import analyse, apply_modes, decompose, mixed
from .coefficients import missing_before
from .modefit import coded_size
from .optimise import shrink_round
from .weighing import frame_errors

POOL = 64  # worst frames that planes are made of: their pictures are in memory at once
SEEDS = 4  # of these, how many a plane is tried for
ALIKE = 0.97  # cosine of two planes above which one of them is enough
UNIT = 4  # the parameter's integer where a plane is shown as it is
LEAST = 0.25  # of a plane: a frame that asks for less does without
ROUNDS = 3  # of which frames a plane is for, and what they lack
STEPS = (11.0, 16.0, 24.0)  # quantiser steps that are tried, in grey levels of the plane as it is
DEAD = 0.7  # dead zone in steps
POWER = 12.0  # of the errors in the sum that is to fall: so high that little but the worst frames counts
OVERHEAD = 40  # bytes that a plane is taken to cost beyond its own: planes are few, small ones waste them
LEAST_WORTH = 5e-4  # fall of that sum's logarithm for a byte
BATCH = 16  # frames drawn at once


@dataclass(frozen=True)
class Shown:
    """A clip as its modes draw it.

    Args:
        under: (1, 3, S, S), what the modes are put on, the same in all frames.
        modes: of the clip.
        integers: (N, P), its motion.
        step: of the motion.
    """

    under: Tensor
    modes: Modes
    integers: np.ndarray
    step: float

    @torch.no_grad()
    def draw(self, rows: np.ndarray) -> Tensor:
        """Frames (n, 3, S, S) by their rows."""
        planes = self.planes()
        parts = self._values(rows).split(BATCH)
        under = (self.under.expand(len(part), -1, -1, -1) for part in parts)
        return torch.cat([apply_modes(u, planes.texture, planes.flow, p) for u, p in zip(under, parts, strict=True)])

    def flow(self, rows: np.ndarray) -> Tensor:
        """(n, 2, G, G) of frames."""
        return mixed(self.planes().flow, self._values(rows))

    def planes(self) -> ClipModes:
        return ClipModes(self.modes, self.integers.shape[1], torch.device("cpu"))

    def bytes(self) -> float:
        """Of modes and motion."""
        return coded_size(self.modes) + float(motion_bits(self.integers).sum()) / 8

    @property
    def is_full(self) -> bool:
        """Whether all parameters are in use."""
        return bool(self.modes.planes > self.integers.shape[1])

    def _values(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(self.integers[rows].astype(np.float32)) * self.step


@dataclass(frozen=True)
class _Tried:
    """A clip with one plane more.

    Args:
        seen: (n, 3, S, S), the pool as it is then drawn.
        errors: (n,) of it.
        bytes: of modes and motion.
        worth: fall of the errors for a byte.
    """

    clip: Shown
    seen: Tensor
    errors: np.ndarray
    bytes: float
    worth: float


def with_moments(clip: Shown, pool: np.ndarray, frames: Tensor, errors: np.ndarray, budget: int) -> Shown:
    """The clip with planes for what its worst frames lack, as far as they are worth their bytes.

    Args:
        clip: without them.
        pool: (n,) rows of the frames that may get them.
        frames: (n, 3, S, S), those.
        errors: (N,) of the inner faces of all frames.
        budget: bytes that they may take.
    """
    seen = clip.draw(pool)
    found = frame_errors(seen, frames)[:, 0]
    top = found.max()
    others = float(((np.delete(errors, pool) / top) ** POWER).sum())
    size = clip.bytes()
    most = size + budget

    def height(errors: np.ndarray) -> float:
        return float(np.log(((errors / top) ** POWER).sum() + others))

    while not clip.is_full:
        lacks = _lacks(clip, pool, frames, seen)
        pull = torch.from_numpy((found / found.max()) ** POWER).float()
        tried = []
        for plane, asked in _axes(lacks, pull, np.argsort(-found)[:SEEDS]):
            for step in STEPS:
                now = _added(clip, pool, plane, asked, lacks, step)
                if now is None or (grown := now.bytes()) > most:
                    continue
                rows = np.flatnonzero(now.integers[pool, clip.modes.planes - 1])
                picture, after = seen.clone(), found.copy()
                if len(rows):
                    picture[rows] = now.draw(pool[rows])
                    after[rows] = frame_errors(picture[rows], frames[rows])[:, 0]
                worth = (height(found) - height(after)) / (grown - size + OVERHEAD)
                tried.append(_Tried(now, picture, after, grown, worth))
        best = max(tried, key=lambda one: one.worth, default=None)
        if best is None or best.worth < LEAST_WORTH:
            break
        clip, seen, found, size = best.clip, best.seen, best.errors, best.bytes
    return clip


def _lacks(clip: Shown, pool: np.ndarray, frames: Tensor, seen: Tensor) -> Tensor:
    """(n, 3, T, T): what the inner faces of frames lack, where textures are, in grey levels."""
    size = clip.modes.luma.shape[-1]
    where = inner_face(size)
    back = missing_before(torch.zeros_like(seen[:1]), frames - seen, clip.flow(pool), size)
    return back * (where / where.max()) / TEXTURE_UNIT


def _axes(lacks: Tensor, pull: Tensor, seeds: np.ndarray) -> list[tuple[Tensor, Tensor]]:
    """`_axis` of some frames, without those that come to the same."""
    out: list[tuple[Tensor, Tensor]] = []
    for seed in seeds:
        axis = _axis(lacks, pull, int(seed))
        if all(float(F.cosine_similarity(axis[0].flatten(), other.flatten(), 0)) < ALIKE for other, _ in out):
            out.append(axis)
    return out


def _axis(lacks: Tensor, pull: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """The plane that takes most from what a frame and those like it lack, and how much of it each
    asks for.

    Args:
        lacks: (n, 3, T, T).
        pull: (n,) how much each counts.
        seed: the frame to begin with.

    Returns:
        (3, T, T), and (n,), 1 at most.
    """
    flat, asked = lacks.flatten(1), torch.zeros(len(lacks))
    asked[seed] = 1.0
    for _ in range(ROUNDS):
        plane = ((pull * asked) @ flat) / (pull * asked.square()).sum()
        asked = flat @ plane / plane.square().sum()
        asked[asked.abs() < LEAST * asked.abs().max()] = 0
    most = asked.abs().max()
    return plane.view_as(lacks[0]) * most, asked / most


def _added(clip: Shown, pool: np.ndarray, plane: Tensor, asked: Tensor, lacks: Tensor, step: float) -> Shown | None:
    """With one plane more; None where all of it is zero."""
    luma, chroma = decompose(plane[None])
    code = step_code(step / (UNIT * clip.step))
    real = step_size(code) * UNIT * clip.step
    luma, chroma = (shrink_round(v, DEAD) for v in (analyse(luma) / real, analyse(chroma) / (real * CHROMA_STEP)))
    if not luma.any() and not chroma.any():
        return None
    old = clip.modes
    modes = replace(
        old,
        luma=np.concatenate([old.luma, luma.numpy().astype(np.int32)]),
        chroma=np.concatenate([old.chroma, chroma.numpy().astype(np.int32)]),
        flow=np.concatenate([old.flow, np.zeros_like(old.flow[:1])]),
        texture_step_codes=np.append(old.texture_step_codes, code),
        flow_step_codes=np.append(old.flow_step_codes, 0),
    )
    coded = (replace(clip, modes=modes).planes().texture[-1] * (UNIT * clip.step / TEXTURE_UNIT)).flatten()
    asked = (lacks.flatten(1) @ coded / coded.square().sum()) * (asked != 0)  # of the plane as it is sent
    integers = clip.integers.copy()
    integers[pool, old.planes - 1] = (UNIT * asked).round().numpy().astype(np.int32)
    return replace(clip, modes=modes, integers=integers)
