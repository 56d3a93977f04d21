"""A face of 68 points in space that turns and moves its features: what the landmark-based stand-in (`landmarkshape`)
fits to a picture where no 3D shape model was brought.

Points in the usual order of 68: jaw 0 to 16 from the picture's left, brows 17 to 26, nose 27 to 35, eyes 36 to 47, lips
48 to 67.  Units are half sides of the FFHQ square, x to the right, y down, z to the viewer; an inter-ocular distance is
half a unit.  Across and down the points are read off the mean of aligned faces; depths and movements are drawn by hand
from common proportions, and nothing was fitted to a scan.  It says how far a mouth is open, not what DECA would say.
"""

from __future__ import annotations

import torch
from torch import Tensor

# the picture's left half and the middle; the rest is mirrored
LEFT = {
    0: (-0.56, -0.04, -0.50), 1: (-0.555, 0.12, -0.46), 2: (-0.535, 0.27, -0.40), 3: (-0.50, 0.42, -0.32),
    4: (-0.44, 0.56, -0.22), 5: (-0.345, 0.67, -0.10), 6: (-0.23, 0.75, 0.0), 7: (-0.115, 0.80, 0.07),
    8: (0.0, 0.815, 0.10),
    17: (-0.44, -0.15, -0.10), 18: (-0.37, -0.205, -0.01), 19: (-0.28, -0.22, 0.05), 20: (-0.185, -0.21, 0.09),
    21: (-0.10, -0.18, 0.11),
    27: (0.0, -0.07, 0.12), 28: (0.0, 0.02, 0.18), 29: (0.0, 0.11, 0.25), 30: (0.0, 0.20, 0.31),
    31: (-0.115, 0.255, 0.15), 32: (-0.06, 0.275, 0.20), 33: (0.0, 0.285, 0.23),
    36: (-0.375, -0.05, -0.05), 37: (-0.295, -0.092, 0.02), 38: (-0.205, -0.092, 0.03), 39: (-0.135, -0.04, 0.01),
    40: (-0.205, -0.025, 0.02), 41: (-0.295, -0.022, 0.01),
    48: (-0.22, 0.445, 0.07), 49: (-0.14, 0.41, 0.15), 50: (-0.055, 0.39, 0.19), 51: (0.0, 0.40, 0.20),
    57: (0.0, 0.565, 0.17), 58: (-0.065, 0.56, 0.165), 59: (-0.145, 0.52, 0.13),
    60: (-0.19, 0.448, 0.08), 61: (-0.06, 0.452, 0.165), 62: (0.0, 0.455, 0.17), 66: (0.0, 0.470, 0.165),
    67: (-0.06, 0.466, 0.16),
}  # fmt: skip
MIRROR = (
    *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38, 37, 36,
    41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
)  # fmt: skip

Moves = dict[int, tuple[float, float, float]]
# One unit of a movement: points of the left half and the middle -> (x, y, z); "odd" ones go the other way on the right.
JAW: Moves = {
    3: (0, 0.01, 0), 4: (0, 0.035, -0.01), 5: (0, 0.07, -0.02), 6: (0, 0.09, -0.03), 7: (0, 0.10, -0.03),
    8: (0, 0.10, -0.03), 57: (0, 0.10, -0.03), 58: (0, 0.10, -0.03), 59: (0, 0.08, -0.02), 66: (0, 0.10, -0.03),
    67: (0, 0.09, -0.03), 48: (0.01, 0.035, 0), 60: (0.01, 0.035, 0),
}  # fmt: skip
LIDS: Moves = {37: (0, 0.05, 0), 38: (0, 0.05, 0), 40: (0, -0.012, 0), 41: (0, -0.012, 0)}
RAISED: Moves = {17: (0, -0.04, 0), 18: (0, -0.05, 0), 19: (0, -0.06, 0), 20: (0, -0.06, 0), 21: (0, -0.05, 0)}
UPPER: Moves = {49: (0, -0.02, 0), 50: (0, -0.04, 0), 51: (0, -0.04, 0), 61: (0, -0.04, 0), 62: (0, -0.04, 0)}
LOWER: Moves = {57: (0, 0.04, 0), 58: (0, 0.04, 0), 59: (0, 0.02, 0), 66: (0, 0.04, 0), 67: (0, 0.04, 0)}
EXPRESSIONS: dict[str, tuple[Moves, bool]] = {
    "smile": ({48: (-0.035, -0.045, -0.03), 60: (-0.03, -0.04, -0.03), 49: (-0.02, -0.02, -0.02),
               59: (-0.02, -0.02, -0.02)}, False),
    "stretch": ({48: (-0.05, 0, -0.02), 60: (-0.045, 0, -0.02), 49: (-0.03, 0, -0.01), 59: (-0.03, 0, -0.01),
                 50: (-0.015, 0, 0), 58: (-0.015, 0, 0), 61: (-0.015, 0, 0), 67: (-0.015, 0, 0)}, False),
    "upper lip": (UPPER, False),
    "lower lip": (LOWER, False),
    "lids": (LIDS, False),
    "brows": (RAISED, False),
    "press": ({49: (0, 0.02, 0), 50: (0, 0.03, 0), 51: (0, 0.03, 0), 57: (0, -0.03, 0), 58: (0, -0.03, 0),
               59: (0, -0.02, 0)}, False),
    "frown": ({19: (0.01, 0.01, 0), 20: (0.02, 0.03, 0), 21: (0.03, 0.045, 0)}, False),
    "mouth aside": (dict.fromkeys((48, 49, 50, 51, 57, 58, 59, 60, 61, 62, 66, 67), (0.04, 0.0, 0.0))
                    | {6: (0.015, 0.0, 0.0), 7: (0.02, 0.0, 0.0), 8: (0.02, 0.0, 0.0)}, True),
    "wink": (LIDS, True),
    "brow tilt": (RAISED, True),
    "outer brows": ({17: (0, -0.05, 0), 18: (0, -0.04, 0), 19: (0, -0.01, 0)}, False),
}  # fmt: skip
IDENTITY: dict[str, Moves] = {
    "wide": dict.fromkeys(range(8), (-0.04, 0, 0)),
    "long chin": {5: (0, 0.02, 0), 6: (0, 0.04, 0), 7: (0, 0.05, 0), 8: (0, 0.05, 0)},
    "square jaw": {4: (-0.03, 0.01, 0), 5: (-0.05, 0.02, 0), 6: (-0.05, 0.01, 0), 7: (-0.02, 0, 0)},
    "eyes apart": dict.fromkeys(range(36, 42), (-0.02, 0, 0)),
    "long nose": {30: (0, 0.03, 0), 31: (0, 0.03, 0), 32: (0, 0.03, 0), 33: (0, 0.03, 0), 29: (0, 0.02, 0)},
    "broad nose": {31: (-0.02, 0, 0), 32: (-0.01, 0, 0)},
    "low mouth": dict.fromkeys((48, 49, 50, 51, 57, 58, 59, 60, 61, 62, 66, 67), (0, 0.03, 0)),
    "low brows": dict.fromkeys(range(17, 22), (0, 0.02, 0)),
}
ANGLES = ("yaw", "pitch", "roll")
PARAMETERS = (*ANGLES, "jaw", *EXPRESSIONS)


def _whole(half: Moves, odd: bool = False) -> Tensor:
    """Both halves of a movement: (68, 3)."""
    out = torch.zeros(len(MIRROR), 3)
    for k, move in half.items():
        out[k] = torch.tensor(move, dtype=torch.float32)
    other = out[list(MIRROR)]
    middle = torch.tensor([k == m for k, m in enumerate(MIRROR)])[:, None]
    if odd:  # sideways the halves go together, up and down against each other
        turned = other * other.new_tensor([1.0, -1.0, -1.0])
        return out + turned * ~middle
    return out + other * other.new_tensor([-1.0, 1.0, 1.0]) * ~middle


MEAN = _whole(LEFT)
MOVES = torch.stack([_whole(JAW), *(_whole(half, odd) for half, odd in EXPRESSIONS.values())])
PEOPLE = torch.stack([_whole(half) for half in IDENTITY.values()])


def rotation(angles: Tensor) -> Tensor:
    """Yaw, pitch, roll in degrees (N, 3), positive to the picture's right, up and clockwise -> matrices (N, 3, 3):
    the head is turned by the yaw first, then nods, then rolls."""
    (cy, cp, cr), (sy, sp, sr) = (f(torch.deg2rad(angles)).unbind(1) for f in (torch.cos, torch.sin))
    o, one = torch.zeros_like(cy), torch.ones_like(cy)

    def matrix(*rows: Tensor) -> Tensor:
        return torch.stack(rows, 1).view(-1, 3, 3)

    return (
        matrix(cr, -sr, o, sr, cr, o, o, o, one)
        @ matrix(one, o, o, o, cp, -sp, o, sp, cp)
        @ matrix(cy, o, sy, o, one, o, -sy, o, cy)
    )


def angles_of(turn: Tensor) -> Tensor:
    """The angles (N, 3) of rotations (N, 3, 3), in degrees; the inverse of `rotation` up to a pitch of 90."""
    yaw = torch.atan2(-turn[:, 2, 0], turn[:, 2, 2])
    pitch = torch.asin(turn[:, 2, 1].clamp(-1 + 1e-6, 1 - 1e-6))
    return torch.rad2deg(torch.stack([yaw, pitch, torch.atan2(-turn[:, 0, 1], turn[:, 1, 1])], 1))


def face(parameters: Tensor, identity: Tensor) -> Tensor:
    """Parameters (N, len(PARAMETERS)) and identity (N, len(IDENTITY)) -> points (N, 68, 3)."""
    moves, people = MOVES.to(parameters), PEOPLE.to(parameters)
    still = MEAN.to(parameters) + torch.einsum("np,pkd->nkd", parameters[:, 3:], moves)
    still = still + torch.einsum("np,pkd->nkd", identity, people)
    return still @ rotation(parameters[:, :3]).transpose(1, 2)
