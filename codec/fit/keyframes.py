"""Which frames stand for a clip: the identity to start from, and the frames that the tuning looks
at; what is sent."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...format.errors import UsageError
from ...format.identity import encode_identity


def best_identity(identity: Tensor, motion: Tensor) -> Tensor:
    """The identity to start from: the mean over the frames nearest to a neutral pose.

    There the inverter is at its best: near frontal, eyes open, as the paper selects its identity's
    frame.

    Args:
        identity: (N, rank), guesses.
        motion: (N, P), small near a neutral pose.

    Returns:
        (rank,).
    """
    distance = motion.square().sum(1)
    nearest = distance.argsort()[: max(1, len(motion) // 3)]
    return identity[nearest].mean(0)


def spread_out(motion: Tensor, count: int) -> list[int]:
    """Frames that cover the motion (N, P) of a clip: each is the one farthest from those chosen
    before."""
    start = int((motion - motion.median(0).values).square().sum(1).argmin())
    chosen = [start]
    distance = (motion - motion[start]).square().sum(1)
    while len(chosen) < min(count, len(motion)):
        # every other frame is drawn evenly in time, so that the common poses weigh as they appear
        if len(chosen) % 2:
            new = int(distance.argmax())
        else:
            new = int((len(chosen) / count) * (len(motion) - 1))
        if new in chosen:
            new = int(distance.argmax())
        chosen.append(new)
        distance = torch.minimum(distance, (motion - motion[new]).square().sum(1))
        distance[chosen] = -1
    return sorted(chosen)


def with_successors(motion: Tensor, count: int) -> list[int]:
    """At most `count` frames that cover the motion (N, P) of a clip, a quarter of them the next
    frames of others."""
    if len(motion) <= count:
        return list(range(len(motion)))
    chosen = spread_out(motion, count - count // 4)
    nexts = [i + 1 for i in chosen[:-1] if i + 1 not in set(chosen)]
    stride = max(1, len(nexts) // (count // 4))
    return sorted(chosen + nexts[::stride][: count // 4])


def successors(frames: list[int]) -> Tensor:
    """Places (n, 2) in a rising list of frames where one frame follows the other."""
    rows = torch.tensor(frames)
    at = torch.nonzero(rows[1:] - rows[:-1] == 1)[:, 0]
    return torch.stack([at, at + 1], 1)


def within(values: np.ndarray, room: int) -> np.ndarray:
    """An identity as it is sent: as many coefficients as fit, from the first, without the zeros at
    the end, which a decoder fills in.

    Args:
        values: (rank,) integers.
        room: bytes.

    Raises:
        UsageError: not even one coefficient fits.
    """
    used = np.flatnonzero(values)
    low, high = 0, int(used[-1]) + 1 if len(used) else 0
    if high and len(encode_identity(values[:high])) <= room:
        return values[:high]
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if len(encode_identity(values[:middle])) <= room else (low, middle)
    kept = values[:low] if low else np.zeros(1, np.int32)
    if len(encode_identity(kept)) > room:
        raise UsageError(f"an identity takes {len(encode_identity(kept))} bytes at least, the budget leaves {room}")
    return kept
