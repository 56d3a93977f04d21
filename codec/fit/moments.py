"""Planes of texture for single moments: what the worst frames still lack when the modes are fitted.

A fit moves all planes for all frames, so a moment that no other looks like stays what it was.  Here
one plane after the other is made for a worst frame and those that lack the same: it begins with
what they lack, and is fitted to them alone, texture and flow.  Its parameter is 0 in all other
frames, which costs next to nothing.

Such a plane does what a patch does, a picture for some frames, in fewer bytes: it is a difference,
it moves with the face, it comes and goes by degrees, and one serves all moments that are alike
(figures: docs/measurements/worst-frame.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...format.modes import Modes
from ...format.motion import motion_bits
from ..draw.modes import CHROMA_STEP, FLOW_UNIT, TEXTURE_UNIT, ClipModes
from ..draw.units import step_code, step_size
from ..face.regions import inner_face
from ..model.planes import analyse, apply_modes, colour, decompose, mixed, synthesise, warp
from .coefficients import missing_before
from .modefit import coded_size
from .optimise import DEAD_ZONE, Group, shrink_round, straight_through
from .weighing import frame_errors

POOL = 64  # worst frames that planes are made of: their pictures are in memory at once
SEEDS = 2  # of these, how many a plane is tried for
ALIKE = 0.97  # cosine of two planes above which one of them is enough
UNIT = 4  # the parameter's integer where a plane is shown as it is
LEAST = 0.25  # of a plane: a frame that asks for less does without
ROUNDS = 3  # of which frames a plane is for, and what they lack
STEP = 12.0  # quantiser step in grey levels of the plane as it is
FLOW_STEP = 0.25  # the same of its flow, in 256ths of the picture's side
SPARSE = 1.0  # in steps: what of the plane is less begins with nothing
PRICES = (1e-6, 3e-6)  # of a bit, that are tried
LOOKS = 40  # steps of the fit of a plane
RATE, ASKED_RATE = 0.25, 0.05  # of its values in steps, of how much of it frames have
FITTED = 12  # frames that it is fitted to at most, those that count most
POWER = 12.0  # of the errors in the sum that is to fall: so high that little but the worst frames counts
OVERHEAD = 40  # bytes that a plane is taken to cost beyond its own: planes are few, small ones waste them
LEAST_WORTH = 1e-3  # fall of that sum's logarithm for a byte
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
        parts = self.values(rows).split(BATCH)
        under = (self.under.expand(len(part), -1, -1, -1) for part in parts)
        return torch.cat([apply_modes(u, planes.texture, planes.flow, p) for u, p in zip(under, parts, strict=True)])

    def flow(self, rows: np.ndarray) -> Tensor:
        """(n, 2, G, G) of frames."""
        return mixed(self.planes().flow, self.values(rows))

    def planes(self) -> ClipModes:
        return ClipModes(self.modes, self.integers.shape[1], torch.device("cpu"))

    def bytes(self) -> float:
        """Of modes and motion."""
        return coded_size(self.modes) + float(motion_bits(self.integers).sum()) / 8

    @property
    def is_full(self) -> bool:
        """Whether all parameters are in use."""
        return bool(self.modes.planes > self.integers.shape[1])

    def values(self, rows: np.ndarray) -> Tensor:
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
            who = torch.argsort(pull * (asked != 0), descending=True)[:FITTED].sort().values
            who = who[asked[who] != 0]
            for price in PRICES:
                given = _Lacking(pool[who.numpy()], frames[who], pull[who], plane, asked[who])
                now = _fitted(clip, given, price)
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
        asked = flat @ plane / plane.square().sum().clamp_min(1e-12)
        asked[asked.abs() < LEAST * asked.abs().max()] = 0
    most = asked.abs().max()
    return plane.view_as(lacks[0]) * most, asked / most


@dataclass(frozen=True)
class _Lacking:
    """What a plane is fitted to.

    Args:
        rows: (n,) of the frames that ask for it.
        frames: (n, 3, S, S), those.
        pull: (n,) how much each counts.
        plane: (3, T, T) of texture, in grey levels, where it begins.
        asked: (n,) how much of it each frame has at first.
    """

    rows: np.ndarray
    frames: Tensor
    pull: Tensor
    plane: Tensor
    asked: Tensor


def _fitted(clip: Shown, lacking: _Lacking, price: float) -> Shown | None:
    """With one plane more, of texture and flow; None where all of it is zero.  price: of a bit."""
    old, unit = clip.modes, UNIT * clip.step
    codes = [step_code(STEP / unit), step_code(FLOW_STEP / unit)]
    step, flow_step = (step_size(code) * unit for code in codes)
    luma, chroma = decompose(lacking.plane[None])
    first = analyse(luma) / step, analyse(chroma) / (step * CHROMA_STEP), torch.zeros(1, *old.flow.shape[1:])
    values = [torch.where(v.abs() < SPARSE, 0.0, v).contiguous().requires_grad_() for v in first]
    asked = lacking.asked.clone().requires_grad_()
    planes, motion = clip.planes(), clip.values(lacking.rows)
    texture, flow = mixed(planes.texture, motion), mixed(planes.flow, motion)
    under = clip.under.expand(len(motion), -1, -1, -1)
    weight = inner_face(under.shape[-1]) * (lacking.pull / lacking.pull.sum()).view(-1, 1, 1, 1)
    groups = [Group(values, RATE), Group([asked], ASKED_RATE)]
    adam = torch.optim.Adam([{"params": g.values, "lr": g.rate} for g in groups], betas=(0.8, 0.95))
    for k in range(LOOKS):
        for group, settings in zip(groups, adam.param_groups, strict=True):
            settings["lr"] = group.rate * math.cos(0.5 * math.pi * k / LOOKS)
        light, tint, moves = (straight_through(v, 1.0, DEAD_ZONE) for v in values)
        amounts = straight_through(asked, 1 / UNIT, 0.5).view(-1, 1, 1, 1)
        own = colour(synthesise(light * step), synthesise(tint * step * CHROMA_STEP)) * TEXTURE_UNIT
        shift = synthesise(moves * flow_step) * FLOW_UNIT
        added = F.interpolate(texture + amounts * own, size=under.shape[-1], mode="bilinear", align_corners=False)
        drawn = warp(under + added, flow + amounts * shift)
        error = ((drawn - lacking.frames).square() * weight).mean((1, 2, 3)).sum()
        bits = sum((torch.log2(1 + v.abs()).sum() for v in values), torch.zeros(()))
        adam.zero_grad()
        (error + price * bits).backward()
        adam.step()
    new = [shrink_round(v.detach(), DEAD_ZONE).numpy().astype(np.int32) for v in values]
    if not any(part.any() for part in new):
        return None
    modes = replace(
        old,
        luma=np.concatenate([old.luma, new[0]]),
        chroma=np.concatenate([old.chroma, new[1]]),
        flow=np.concatenate([old.flow, new[2]]),
        texture_step_codes=np.append(old.texture_step_codes, codes[0]),
        flow_step_codes=np.append(old.flow_step_codes, codes[1]),
    )
    integers = clip.integers.copy()
    integers[lacking.rows, old.planes - 1] = (UNIT * asked.detach()).round().numpy().astype(np.int32)
    return replace(clip, modes=modes, integers=integers)
