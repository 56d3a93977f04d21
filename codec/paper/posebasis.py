"""Yaw and pitch as two directions of W+, found without labels: the way to turn a head where
StyleFlow is absent.

A mirrored picture has the opposite yaw and the same everything else that matters, so what remains
of the difference of a face's code and its mirror image's, over many faces, is first of all yaw.
Pitch is the strongest change within a clip that mirroring does not change, once what mouth and eyes
do by themselves is small against the head.  Both are scaled so that faces spread as widely as those
that StyleFlow's authors published: 11.2 degrees of yaw, 6.7 of pitch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

YAW_SPREAD, PITCH_SPREAD = 11.2, 6.7  # degrees, standard deviations of the 1000 faces that come with StyleFlow


def leading(rows: Tensor) -> tuple[Tensor, float]:
    """First principal direction (D,) of rows (N, D) about nought, and the standard deviation along
    it.
    """
    _, size, directions = torch.linalg.svd(rows, full_matrices=False)
    return directions[0], float(size[0]) / len(rows) ** 0.5


def pose_directions(faces: Tensor, mirrored: Tensor, clips: Sequence[tuple[Tensor, Tensor]], rows: int) -> Tensor:
    """(2, rows, w_dim): W+ for one degree of yaw and of pitch.

    The sign of yaw is that of the first face's asymmetry and the sign of pitch is arbitrary;
    searches do not mind.

    Args:
        faces, mirrored: (N, num_ws, w_dim), codes of many faces and of their mirror images.
        clips: the same of the frames of clips.
        rows: how many W+ vectors may move.
    """
    odd = ((faces - mirrored) / 2)[:, :rows].flatten(1)
    yaw, spread = leading(odd)
    even = []
    for codes, images in clips:
        half = ((codes + images) / 2)[:, :rows].flatten(1)
        even.append(half - half.mean(0))
    changes = torch.cat(even)
    changes = changes - (changes @ yaw)[:, None] * yaw
    pitch, tilt = leading(changes)
    out = torch.stack([yaw * spread / YAW_SPREAD, pitch * tilt / PITCH_SPREAD])
    return out.view(2, rows, faces.shape[-1])
