"""The paper's pipeline over a clip of aligned squares: inversion, identity, pose, attributes,
tuning.

Each stage is a module of its own and can be used alone.  This one says in which order they run, and
what each is given.

    frames I_t -> W+ L_t (invert) -> S_t = G(L_t) -> identity L_ID (selection) -> yaw, pitch (pose)
    -> alpha (facial) -> weight delta, pivots held, targets I_t (fev.codec.fit.tune)

Closed loop: the identity is quantised before pose and attributes are searched against it, and what
they find is quantised before the weights are tuned to it.

The searches' targets are the rendered inversions S_t, not the frames: the paper's figure says so,
and what the generator cannot draw would only pull the parameters about.  They are not clamped, as
what they are compared with is not: beyond -1 and 1 the best parameters would draw something else
than their own target.

The clip is searched in segments of SEGMENT frames side by side, all of which begin where the
segment before ended; the sources say only that a frame's start is near.  That length is part of the
result.  How many of a segment's frames are computed at once is not: every step of a search takes
all of them, batch after batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from ..draw.units import IDENTITY_STEP_CODE, step_size
from ..face.portrait import blinking, opening
from ..model.stylegan2 import Generator
from ..model.stylespace import POSE, StyleSpace
from . import facial, pose, selection
from .attributes import geometric_masks, parsed_masks, sensitivities
from .facial import Channels, PreviousFrame
from .similarity import Similarity

SEGMENT = 8  # frames that are searched side by side; another number is another result
BATCH = 8  # frames that are computed at once
IDENTITIES = 64  # frames at most that are asked whether they are the identity


@dataclass
class Face:
    """What the pipeline works with.

    Args:
        invert: pictures (N, 3, S, S), -1 to 1 -> W+ (N, num_ws, w_dim).
        attributes: name of each facial channel's attribute.
        deviation: (K,), of each facial channel over faces.
    """

    generator: Generator
    space: StyleSpace
    invert: Callable[[Tensor], Tensor]
    attributes: list[str]
    deviation: Tensor
    similarity: Similarity = field(default_factory=Similarity)


@dataclass(frozen=True)
class SearchSettings:
    """How much of it is done.

    Args:
        size: of the pictures that are compared.
        specific: rates by index sensitivity; off for the ablation.
        refine: steps of search from e4e's code; none by default, for farther from what e4e makes an
            edit means less.
        batch: frames that are computed at once; it takes memory and does not change the result but
            by rounding.
    """

    size: int = 256
    pose_steps: int = pose.STEPS
    facial_steps: int = facial.STEPS
    specific: bool = True
    refine: int = 0
    batch: int = BATCH


@dataclass
class Encoded:
    """What the stages found.

    Args:
        codes: (N, num_ws, w_dim), the frames' inversions.
        identity: (rank,) integers.
        motion: (N, K + 3): alpha, yaw, pitch, roll.
        channels: of the identity.
    """

    codes: Tensor
    identity: Tensor
    motion: Tensor
    channels: Channels


@dataclass
class SearchState:
    """Where a search has come to, and the next segment begins: yaw and pitch (1, 2), offsets (1,
    K), the frame before, and who the first frame as rendered is, (1, 512).
    """

    angles: Tensor
    alpha: Tensor
    before: PreviousFrame | None = None
    first: Tensor | None = None

    @classmethod
    def at_rest(cls, face: Face) -> SearchState:
        return cls(torch.zeros(1, 2), torch.zeros(1, len(face.space.channels)))


def inverted(face: Face, frames: Iterable[Tensor], progress: Callable[[int], None] = lambda n: None) -> Tensor:
    """Stage 2: W+ of every frame.

    Args:
        frames: batches (B, 3, S, S).
    """
    out = []
    for batch in frames:
        with torch.no_grad():
            out.append(face.invert(batch).cpu())
        progress(len(batch))
    return torch.cat(out)


def drawn(face: Face, ws: Tensor, size: int, batch: int = BATCH) -> Iterator[Tensor]:
    """S_t of W+ (N, num_ws, w_dim), segment by segment."""
    for segment in ws.split(SEGMENT):
        with torch.no_grad():
            pictures = torch.cat([face.generator(part, size=size) for part in segment.split(batch)])
        yield pictures


def identity_of(face: Face, codes: Tensor, read: Callable[[list[int]], Tensor], size: int) -> int:
    """Stage 3: which frame is the identity."""
    rows = torch.linspace(0, len(codes) - 1, min(len(codes), IDENTITIES)).round().long().unique().tolist()
    likeness, openings, angles = [], [], []
    for part in (rows[i : i + BATCH] for i in range(0, len(rows), BATCH)):
        with torch.no_grad():
            true = F.interpolate(read(part), size=size, mode="area")
            made = face.generator(codes[part], size=size).clamp(-1, 1)
            who, whom = face.similarity.person(true), face.similarity.person(made)
            if who is None or whom is None:  # without ArcFace the likest picture
                likeness.append(-(true - made).square().mean((1, 2, 3)))
            else:
                likeness.append((who * whom).sum(1))
            openings.append(opening(true))
            scores = face.similarity.scores(true)
            if scores is not None:
                angles.append(pose.estimate(scores))
    seen = torch.cat(angles).nan_to_num(90.0) if angles else None
    out: int = rows[selection.choose(torch.cat(likeness), seen, blinking(torch.cat(openings)))]
    return out


def channels_of(face: Face, base: Tensor, size: int) -> Channels:
    """Index sensitivity of the facial channels on this identity, each on its own attribute's mask."""
    with torch.no_grad():
        styles = face.generator.styles(base[None])
        if face.similarity.parsing is None:
            masks = geometric_masks(size)
        else:
            picture = face.generator.synthesis(styles, size=size).clamp(-1, 1)
            masks = parsed_masks(face.similarity.parsing, picture)
    gamma = sensitivities(
        face.generator, styles, face.space.channels, face.deviation.tolist(),
        [masks[name] for name in face.attributes], size,
    )  # fmt: skip
    return Channels(gamma, face.deviation)


def quantised_identity(face: Face, code: Tensor) -> Tensor:
    """W+ (num_ws, w_dim) -> integers (rank,)."""
    return (face.space.coefficients(code) / step_size(IDENTITY_STEP_CODE)).round().to(torch.int32)


def base_of(face: Face, identity: Tensor) -> Tensor:
    return face.space.base(identity.float() * step_size(IDENTITY_STEP_CODE))


def search(
    face: Face,
    codes: Tensor,
    base: Tensor,
    channels: Channels,
    plan: SearchSettings,
    *,
    turn: bool = True,
    shape: bool = True,
    reached: SearchState | None = None,
    progress: Callable[[int], None] = lambda n: None,
) -> Tensor:
    """Stages 4 and 5, segment by segment, each beginning where the one before ended: motion (N, K +
    3).

    Args:
        turn, shape: whether pose and attributes are searched at all.
        reached: where earlier frames of the clip came to; it is taken on to these frames' end.
    """
    size = min(plan.size, face.generator.config.resolution)
    at = reached or SearchState.at_rest(face)
    out: list[Tensor] = []
    for targets in drawn(face, codes, size, plan.batch):
        n = len(targets)
        turned, found = torch.zeros(n, 2), torch.zeros(n, len(face.space.channels))
        if turn:  # frames do not see each other here
            turned = torch.cat([
                pose.search(
                    face.generator, face.space, base, part, face.similarity, at.angles.expand(len(part), -1).clone(),
                    size=size, steps=plan.pose_steps,
                )
                for part in targets.split(plan.batch)
            ])  # fmt: skip
        full = torch.cat([turned, torch.zeros(n, len(POSE) - 2)], 1)
        if shape:
            found = facial.search(
                face.generator, face.space, base, full, targets, channels, face.similarity,
                at.alpha.expand(n, -1).clone(), before=at.before, first=at.first, size=size, steps=plan.facial_steps,
                specific=plan.specific, batch=plan.batch,
            )  # fmt: skip
        motion = torch.cat([found, full], 1)
        at.angles, at.alpha = turned[-1:], found[-1:]
        at.before = PreviousFrame(_moved(face, base, motion[-1:], size), targets[-1:])
        if at.first is None:
            at.first = face.similarity.person(_moved(face, base, motion[:1], size))
        out.append(motion)
        progress(n)
    return torch.cat(out)


@torch.no_grad()
def _moved(face: Face, base: Tensor, motion: Tensor, size: int) -> Tensor:
    drive = face.space.drive(base, motion)
    out: Tensor = face.generator(drive.ws, drive.moving, drive.added, size=size)
    return out


def encode(
    face: Face,
    batches: Iterable[Tensor],
    read: Callable[[list[int]], Tensor],
    plan: SearchSettings,
    progress: Callable[[str, int], None] = lambda stage, n: None,
) -> Encoded:
    """Stages 2 to 5.

    Args:
        batches: all frames in order, (B, 3, S, S), -1 to 1.
        read: some of them again, by index.
    """
    size = min(plan.size, face.generator.config.resolution)
    codes = inverted(face, batches, lambda n: progress("invert", n))
    chosen = identity_of(face, codes, read, size)
    identity = quantised_identity(face, codes[chosen])
    base = base_of(face, identity)
    channels = channels_of(face, base, size)
    motion = search(face, codes, base, channels, plan, progress=lambda n: progress("search", n))
    return Encoded(codes, identity, motion, channels)
