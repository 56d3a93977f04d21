"""The landmark-based stand-in for a 3D shape model: a template of 68 points fitted to landmarks of the picture.

It is not DECA, and names itself so that nobody takes it for that: its expressions are a dozen movements drawn by hand
(`template`), and its landmarks come from face parsing (`parsedpoints`) or from a small network of our own
(`landmarknet`).  `shape` has the interface.

Fitting is the most probable face: what the landmarks say against how people differ, with a scale and a place that the
face may have in its square.  Gauss-Newton steps find it without gradients; one more, with gradients through the
landmarks alone, gives the derivative of the answer, since the answer no longer depends on where the search began.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import jacfwd, vmap

from .shape import HALF, LANDMARKS, Points, Shape
from .template import ANGLES, IDENTITY, PARAMETERS, face

STEPS = 6
# How people and faces differ, standard deviations: degrees, movements, identity, log of the scale, place (half sides).
SPREAD = (*(20.0, 12.0, 6.0), 1.0, *[1.0] * (len(PARAMETERS) - 4), *[1.0] * len(IDENTITY), 0.1, 0.1, 0.1)
FACE = len(PARAMETERS)
PERSON = FACE + len(IDENTITY)


class Landmarks(Protocol):
    """Where landmarks come from.

    Attributes:
        name: what they are, in words.
        error: (68,), what to expect of each, in half sides; infinite where it gives none.
    """

    name: str
    error: Tensor

    def __call__(self, pictures: Tensor) -> Tensor:
        """FFHQ squares (N, 3, S, S), -1 to 1 -> (N, 68, 2), x and y in half sides; differentiable."""


def _seen(state: Tensor) -> Tensor:
    """Everything that is fitted (PERSON + 3,) -> the landmarks' coordinates (136,)."""
    points = face(state[None, :FACE], state[None, FACE:PERSON])[0, :, :2]
    return (points * state[PERSON].exp() + state[PERSON + 1 :]).flatten()


def fit(landmarks: Tensor, error: Tensor) -> Tensor:
    """Landmarks (N, 68, 2) and what to expect of them (68,) -> what makes them (N, PERSON + 3), differentiable."""
    weight = (1 / error.to(landmarks).square()).repeat_interleave(2)
    prior = torch.diag(1 / landmarks.new_tensor(SPREAD).square())
    with torch.no_grad():
        state = landmarks.new_zeros(len(landmarks), len(SPREAD))
        for _ in range(STEPS):
            state = _step(state, landmarks, weight, prior)
    return _step(state, landmarks, weight, prior)


def _step(state: Tensor, landmarks: Tensor, weight: Tensor, prior: Tensor) -> Tensor:
    """One Gauss-Newton step, linear in the landmarks."""
    with torch.no_grad():
        seen, slope = vmap(_seen)(state), vmap(jacfwd(_seen))(state)
        pull = slope.transpose(1, 2) * weight
    missed = (landmarks.flatten(1) - seen) + torch.einsum("nmk,nk->nm", slope, state)
    step: Tensor = torch.linalg.solve(pull @ slope + prior, torch.einsum("nkm,nm->nk", pull, missed))
    return step


class LandmarkShape(nn.Module):
    """The stand-in, over a source of landmarks."""

    parameter_names = PARAMETERS

    def __init__(self, landmarks: Landmarks):
        super().__init__()
        self.landmarks = landmarks
        self.name = f"landmark-based stand-in (not DECA): 68 points fitted to {landmarks.name}"

    def measure(self, pictures: Tensor) -> Shape:
        state = fit(self.landmarks(pictures), self.landmarks.error)
        return Shape(state[:, FACE:PERSON], state[:, :FACE])

    def points(self, shape: Shape) -> Points:
        mesh = face(shape.parameters, shape.identity) * HALF
        return Points(mesh, mesh[..., :2])


assert len(PARAMETERS) == len(ANGLES) + 13 and len(SPREAD) == PERSON + 3 and LANDMARKS == 68
