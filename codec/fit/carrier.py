"""The seam between the encoder and what draws a face: `Carrier` finds an appearance and says how
its motion begins.

There are three: `appearance.Fitter` (the built-in kind of model), `reuse.ReuseFitter` (an identity
that another file holds) and `fev.codec.paper.fitter.PaperFitter` (imported networks).  Another
generator brings a fourth in a file of its own and a line in `fev.codec.encode.carriers`; the
encoder asks nothing else of it than what stands here.

    frames -> guess -> fit (all frames are known) or at_once (the first ones are)
           -> Appearance -> chunks of the file
           -> go_on (a later chapter)
    and for the frames of a segment
           -> Appearance.start or .begin -> .refine -> Carrier.quantiser -> integers
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from ...format.actor import Actor
from ...format.delta import DeltaTensor
from ...format.excerpt import Excerpt
from ...format.modes import Modes
from ...format.still import Pivot
from ..draw.render import Renderer
from ..draw.units import DEFAULT_QUALITY, IDENTITY_STEP_CODE
from ..face.portrait import Conditions
from ..face.registration import Registration
from ..model.modelfile import Model
from .budget import DEFAULT_BUDGET
from .cropstore import CropStore
from .effort import Effort
from .quantiser import Quantiser
from .spread import WorstReport

Reading = TypeVar("Reading")  # what a carrier's own networks see in N frames; the encoder only hands it on


@dataclass(frozen=True)
class CarrierSettings:
    """What a carrier is to know of the caller's wishes.

    Args:
        effort: how much work it does.
        pivot: whether a still picture of the face may be sent.
        device: where pictures are drawn.
        worst: dB below the mean that no frame is to lie; None = no bound.
        finer: how many times the model's side the square has that is drawn.
    """

    effort: Effort
    pivot: bool = True
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    worst: float | None = None
    finer: int = 1


@dataclass(frozen=True)
class Spending:
    """What a clip may cost.

    Args:
        quality: of the motion, 0 to 100.
        budget: most bytes of the parts IDEN, PIVT, DELT and MODE together.
        octave: dB that a revision must gain if it makes twice the bytes of its chapter.  Motion gains
            as much at a finer quality, and so do modes at twice their bytes
            (docs/measurements/identity-bytes.md).
    """

    quality: float = DEFAULT_QUALITY
    budget: int = DEFAULT_BUDGET
    octave: float = 1.3


class Refiner(Protocol):
    """Fits the parameters of frames that follow one another."""

    def __call__(self, renderer: Renderer, pictures: Tensor, start: Tensor, before: Tensor | None) -> Tensor:
        """Refine a block.

        Args:
            renderer: of the appearance as the decoder will have it.
            pictures: (N, 3, S, S), -1 to 1.
            start: (N, P) where the parameters begin.
            before: (P,) of the frame before the block, None where there is none.

        Returns:
            (N, P), not quantised.
        """
        ...


def as_read(renderer: Renderer, pictures: Tensor, start: Tensor, before: Tensor | None) -> Tensor:
    """The `Refiner` that leaves the parameters where they begin."""
    return start


def _all_given(reading: Any) -> Tensor:
    raise AssertionError("the fit was given all frames: `start` has their parameters")


@dataclass(frozen=True)
class Appearance:
    """Who the file shows, as its integers, and how the parameters of frames are found under it.

    Args:
        identity: (up to rank,) integers, as they are sent.
        motion_step_code, identity_step_code: of the actor's quantiser steps.
        delta: weights that change.
        pivot: a still picture of the face.
        modes: textures and flow of this clip, or the units of its parameters.
        known: the identity as another file holds it; nothing of it is then sent again.
        budget: most bytes that its parts may take, None where none are sent.
        start: (N, P) where the parameters of the frames begin that `Carrier.fit` was given.
        begin: what a carrier guessed of later frames -> (n, P) where their parameters begin.
        refine: fits them.
        onward: what the carrier keeps of the fit for the next chapter.
        step_is_free: the pictures are the same whatever the motion's step, so that it may still be
            changed.
        worst: what the bound on the worst frame did.
    """

    identity: np.ndarray
    motion_step_code: int
    identity_step_code: int = IDENTITY_STEP_CODE
    delta: Sequence[DeltaTensor] = ()
    pivot: Pivot | None = None
    modes: Modes | None = None
    known: Excerpt | None = None
    budget: int | None = None
    start: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    begin: Callable[[Any], Tensor] = _all_given
    refine: Refiner = as_read
    onward: Any = None
    step_is_free: bool = False
    worst: WorstReport | None = None

    def actor(self, number: int = 0, revision: int = 0) -> Actor:
        """What the file says of the identity.  number, revision: of the actor."""
        if self.known is not None:
            return Actor.refer(self.known.sha256, number, revision)
        return Actor.of(
            self.identity, self.motion_step_code, self.identity_step_code, delta=self.delta, modes=self.modes,
            pivot=self.pivot, number=number, revision=revision,
        )  # fmt: skip

    def is_as(self, other: Appearance) -> bool:
        """Whether the file says the same of both: one is the other in another chapter."""
        own = (self.identity, self.delta, self.pivot, self.modes, self.known)
        theirs = (other.identity, other.delta, other.pivot, other.modes, other.known)
        codes = (self.motion_step_code, self.identity_step_code), (other.motion_step_code, other.identity_step_code)
        return all(a is b for a, b in zip(own, theirs, strict=True)) and codes[0] == codes[1]

    def renderer(self, model: Model, device: torch.device | None = None) -> Renderer:
        """Draws it as the decoder will."""
        return Renderer(
            model, self.identity, self.delta, self.modes, self.pivot, identity_step_code=self.identity_step_code,
            motion_step_code=self.motion_step_code, device=device, dtype=torch.float32,
        )  # fmt: skip


class Carrier(Protocol[Reading]):
    """What carries a face's appearance, and reads its motion.

    Attributes:
        can_aim: whether a file of it can be brought to a bitrate.
        can_bound: whether it can keep the worst frame within a bound.
        gives_way: whether plain video may take its place where that comes nearer; not where somebody
            asked for this generator's pictures.
        draws_finer: whether what it draws may have more pixels than the model's pictures.
        sends_identity: whether bytes of the file go to who it shows, so that they can be shared
            out.
        tensor_threads: threads of torch while a whole clip is fitted; 0 = as many as torch takes by
            itself, for tensors that are large enough for them.
    """

    @property
    def can_aim(self) -> bool: ...
    @property
    def can_bound(self) -> bool: ...
    @property
    def gives_way(self) -> bool: ...
    @property
    def draws_finer(self) -> bool: ...
    @property
    def sends_identity(self) -> bool: ...
    @property
    def tensor_threads(self) -> int: ...

    def usual_budget(self, seconds: float | None, side: float) -> int:
        """Bytes of the identity where the caller names none.

        Args:
            seconds: that the face is seen, None where nobody knows.
            side: of its square in the source, pixels.
        """
        ...

    def registration(self) -> Registration | None:
        """What moves every aligned square to where its key frame's lies; None = squares stay where
        they were found."""
        ...

    def guess(self, pictures: Tensor) -> Reading:
        """What is known of frames (N, 3, S, S), -1 to 1, when they are first seen."""
        ...

    def joined(self, parts: Sequence[Reading]) -> Reading:
        """Several guesses as one, in order."""
        ...

    def at_once(self, frames: Tensor, reading: Reading, conditions: Conditions, spending: Spending) -> Appearance:
        """The appearance from the first frames of a clip, (N, 3, S, S); the rest come later,
        through `begin`."""
        ...

    def fit(self, store: CropStore, reading: Reading, conditions: Conditions, spending: Spending) -> Appearance:
        """The appearance from all frames of a clip; `start` has a row for each."""
        ...

    def go_on(
        self, before: Appearance, store: CropStore, reading: Reading, conditions: Conditions, spending: Spending
    ) -> Appearance:
        """The appearance of a later chapter, of which all frames are known: the one before, or a
        revision of it where that pays; `start` has a row for each frame."""
        ...

    def quantiser(self, renderer: Renderer) -> Quantiser:
        """What makes integers of the parameters of a clip that `renderer` draws."""
        ...
