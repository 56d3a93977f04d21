"""Stage 5: the 32 facial channels of every frame, by search (the paper's supplement, E.2 to E.4).

AdamW with AMSGrad, betas 0.9 and 0.999, eps 1e-8, 100 steps, the rate times 0.8 every 10, all
channels at once.  Each channel has a rate of its own, a falling function of its index sensitivity
Gamma, so that the strong ones do not do all the work.  The paper's equation (5) is not in the
sources; here

    eta_i = eta_0 median(Gamma) / Gamma_i, within a tenth and ten times eta_0

which makes one step of any channel move the picture equally.  eta_0 is such that a search can cross
three standard deviations of the median channel.

Terms: L2 and LPIPS on the regions of mouth and jaw and of eyes and brows, L2 alone on the gaze
(LPIPS makes it tremble), identity against the first frame as rendered, face parsing inside the
face, and how much frames change against how much their targets do.  The weights of equations (9) to
(12) are not in the sources; see `similarity`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..model.stylegan2 import Generator
from ..model.stylespace import StyleSpace
from .similarity import Similarity, regions

STEPS = 100
DECAY, DECAY_EVERY = 0.8, 10
REACH = 3.0  # standard deviations that a search can cross
WEIGHT_DECAY = 0.01  # the sources do not say; that of the published optimiser
SPAN = 10.0  # rates are within this factor of eta_0


@dataclass(frozen=True)
class Channels:
    """What is known of the facial channels of a face, (K,) each.

    Args:
        gamma: index sensitivity on the attribute's own mask.
        deviation: of the channel, over faces.
    """

    gamma: Tensor
    deviation: Tensor


def travel(steps: int) -> float:
    """How many first rates the decaying rates add up to: 44.6 for 100 steps."""
    return sum(DECAY ** (i // DECAY_EVERY) for i in range(steps))


def rates(channels: Channels, steps: int = STEPS, specific: bool = True) -> Tensor:
    """The rate of every channel, eta_i.

    Args:
        specific: off for the ablation, all alike.
    """
    middle = channels.gamma.median().clamp_min(1e-9)
    first = REACH * channels.deviation.median() / travel(steps)
    if not specific:
        return first.expand(len(channels.gamma)).clone()
    return first * (middle / channels.gamma.clamp_min(1e-9)).clamp(1 / SPAN, SPAN)


@dataclass
class PreviousFrame:
    """The frame before another: its picture as rendered and its target, (1, 3, S, S)."""

    drawn: Tensor
    target: Tensor

    def sized(self, size: int) -> PreviousFrame:
        return PreviousFrame(_sized(self.drawn, size), _sized(self.target, size))


def search(
    generator: Generator,
    space: StyleSpace,
    base: Tensor,
    pose: Tensor,
    targets: Tensor,
    channels: Channels,
    similarity: Similarity,
    start: Tensor,
    *,
    before: PreviousFrame | None = None,
    first: Tensor | None = None,
    size: int = 256,
    steps: int = STEPS,
    specific: bool = True,
    batch: int | None = None,
    progress: Callable[[int], None] = lambda n: None,
) -> Tensor:
    """Offsets alpha (N, K) of a segment of frames.

    Args:
        base: (num_ws, w_dim).
        pose: (N, 3), yaw, pitch and roll.
        targets: (N, 3, S, S), the rendered inversions.
        start: (N, K), where to begin; the offsets of the frame before are a good place.
        before: the frame before the segment, for the inter-frame term.
        first: who the clip's first frame as rendered is, (1, 512); without it the segment's own
            first one.
        batch: frames that are computed at once, all by default.  Every step takes all frames in
            order, batch after batch, and a batch is told of the last frame before it as that was
            drawn in the same step, so that the number changes memory and rounding and nothing else.
    """
    size = min(size, generator.config.resolution, targets.shape[-1])
    masks = regions(size)
    step = rates(channels, steps, specific)
    # One rate for all in units of the channels' own rates is one rate a channel: what AdamW moves
    # by.
    beta = (start / step).clone().requires_grad_()
    optimiser = torch.optim.AdamW([beta], lr=1.0, betas=(0.9, 0.999), eps=1e-8, amsgrad=True, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, DECAY_EVERY, DECAY)
    parts = torch.arange(len(start)).split(batch or len(start))
    wanted = [_sized(targets[part], size) for part in parts]
    with torch.no_grad():
        parsed = [similarity.scores(target) for target in wanted]
    for _ in range(steps):
        optimiser.zero_grad()
        earlier, anchor = None if before is None else before.sized(size), first
        for part, target, scores in zip(parts, wanted, parsed, strict=True):
            drive = space.drive(base, torch.cat([beta[part] * step, pose[part]], 1))
            drawn = generator(drive.ws, drive.moving, drive.added, size=size)
            person = similarity.person(drawn)
            if anchor is None and person is not None:
                anchor = person[:1].detach()
            loss = _unlike(similarity, drawn, target, masks, scores)
            if person is not None:
                assert anchor is not None
                loss = loss + similarity.weights.identity * (1 - (person * anchor).sum(1))
            loss = loss + similarity.weights.still * _uneven(similarity, drawn, target, masks["face"], earlier)
            loss.sum().backward()
            earlier = PreviousFrame(drawn[-1:].detach(), target[-1:])
        optimiser.step()
        schedule.step()
        progress(1)
    return (beta * step).detach()


def _sized(pictures: Tensor, size: int) -> Tensor:
    return pictures if pictures.shape[-1] == size else F.interpolate(pictures, size=size, mode="area")


def _unlike(
    similarity: Similarity, drawn: Tensor, target: Tensor, masks: dict[str, Tensor], parsed: Tensor | None
) -> Tensor:
    """The terms between a frame and its own target, (N,).

    Args:
        parsed: face parsing's scores of the targets.
    """
    w = similarity.weights
    loss = drawn.new_zeros(len(drawn))
    for name in ("lower", "upper", "gaze"):
        loss = loss + w.squared * similarity.squared(drawn, target, masks[name])
        if name != "gaze":
            loss = loss + w.perceptual * similarity.looks(drawn, target, masks[name])
    if parsed is not None:
        scores = similarity.scores(drawn)
        assert scores is not None
        face = F.interpolate(masks["face"], size=scores.shape[-1], mode="nearest")
        loss = loss + w.parsing * similarity.squared(scores, parsed, face)
    return loss


def _uneven(
    similarity: Similarity, drawn: Tensor, target: Tensor, mask: Tensor, before: PreviousFrame | None
) -> Tensor:
    """How unlike the change from frame to frame is to that of the targets, L_IF; signed in print,
    its size here.

    The frame before is held still, so that a frame answers for its own change only.  The first of a
    clip changes from itself.
    """
    before = before or PreviousFrame(drawn[:1], target[:1])
    earlier, was = torch.cat([before.drawn, drawn[:-1]]).detach(), torch.cat([before.target, target[:-1]])
    out = (similarity.squared(target, was, mask) - similarity.squared(drawn, earlier, mask)).abs()
    return out + (similarity.looks(target, was, mask) - similarity.looks(drawn, earlier, mask)).abs()
