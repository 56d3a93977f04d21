"""The encoder's stages for a model of imported networks: what `fev.codec.fit.appearance` is for our own.

The paper's pipeline (`pipeline`) finds identity and parameters; the weight delta is tuned to held pivots within what is
left of the byte budget; and the parameters get units in which one step of any of them moves the picture equally
(beta = alpha Gamma), which travel as the file's mix (`fev.format.modes`) with textures and flow that add nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...format.delta import DeltaTensor, encode_delta
from ...format.errors import FevError, UsageError
from ...format.identity import encode_identity
from ...format.modes import Modes, encode_modes
from ..draw.units import IDENTITY_CODE, motion_code, step_code, step_size
from ..encode.options import FAST, SLOW, EncodeOptions
from ..face.portrait import Conditions
from ..face.registration import Registration
from ..fit.cropstore import CropStore
from ..fit.keyframes import spread_out, within
from ..fit.motion import quantise_motion
from ..fit.tune import ClipFit, TuneSettings
from ..model import library
from ..model.modelfile import Model
from ..model.stylespace import POSE, StyleSpace
from . import inversion, pipeline, pose
from .networks import Networks
from .pipeline import BATCH, SEARCH_SETTINGS, Face, SearchState
from .similarity import Similarity

UNIT = 0.02  # one unit of a facial parameter changes its attribute's pixels by this on average, of -1 to 1
DEGREES = 1.0  # one unit of yaw or pitch
FINEST = 8  # steps of the mix in the smallest unit
TUNE_STEPS = {SLOW: ((256, 350),), "medium": ((256, 60),)}  # PTI's own number of steps is 350
TUNE_KEYS = 64  # frames that the weights are tuned to
DEVIATIONS = 64  # faces from which the deviation of a channel is taken


@dataclass
class Codes:
    """W+ of N frames, (N, num_ws, w_dim): what is known of frames after the survey."""

    ws: Tensor

    @classmethod
    def joined(cls, parts: Sequence[Codes]) -> Codes:
        return cls(torch.cat([p.ws for p in parts]))


@dataclass
class Found:
    """All parameters are found by then and are not fitted again.

    identity: (rank,) integers.  motion: (N, params), in the file's units.  modes: their mix alone.  motion_code: of the
    step."""

    identity: np.ndarray
    motion: Tensor
    delta: list[DeltaTensor]
    modes: Modes
    motion_code: int
    pivot: None = None


class PaperFitter:
    """progress, stage: as in `appearance.Fitter`.  Raises FevError where a network is missing that nothing
    can stand in for."""

    def __init__(
        self,
        model: Model,
        options: EncodeOptions,
        progress: Callable[[str, int, int], None],
        stage: Callable[[str, Callable[[], Any]], Any],
        networks: Networks | None = None,
    ):
        if not isinstance(model.latents, StyleSpace):
            raise FevError(f"model {model.name} is not one of imported networks")
        if options.bitrate is not None:
            raise UsageError("imported networks have no bitrate to aim at; --quality and --identity-budget set it")
        self.model, self.options, self.progress, self.stage = model, options, progress, stage
        if networks is None:
            name = library.holding(model.sha256)  # a file from elsewhere may have the name of another model
            if name is None:
                raise FevError(f"model {model.name} is not imported here, nor are the networks that encode with it")
            networks = Networks(name)
        self.networks = networks
        self.plan = SEARCH_SETTINGS[options.preset]
        self.face = self._face(model.latents)
        self.reached = SearchState.at_rest(self.face)
        self.motion_code, self.budget = motion_code(options.fineness), options.budget

    def _face(self, space: StyleSpace) -> Face:
        held = self.networks.names
        perceptual = None
        if self.options.preset != FAST:
            try:
                perceptual = self.networks.perceptual()
            except FevError:  # it is optional, and what is used is told by `Similarity.terms`
                perceptual = None
        similarity = Similarity(
            perceptual,
            self.networks.arcface if "arcface" in held else None,
            self.networks.bisenet if "bisenet" in held else None,
        )
        attributes = [str(a) for a in self.model.config.get("attributes", ())]
        if len(attributes) != len(space.channels):
            raise FevError(f"model {self.model.name} does not say what its channels move")
        return Face(self.model.generator, space, self._invert, attributes, self._deviation(space), similarity)

    @torch.no_grad()
    def _deviation(self, space: StyleSpace) -> Tensor:
        """Of each facial channel over faces: those that the generator makes up, or one unit without its mapping."""
        generator = self.model.generator
        if generator.mapping is None:
            return torch.ones(len(space.channels))
        z = torch.randn(DEVIATIONS, generator.config.z_dim, generator=torch.Generator().manual_seed(7))
        styles = generator.styles(generator.truncated(generator.mapping(z)))
        return torch.stack([styles[layer][:, channel].std() for layer, channel in space.channels])

    def _invert(self, pictures: Tensor) -> Tensor:
        start, steps = self.face.space.mean[None].expand(len(pictures), -1, -1), inversion.SEARCH_STEPS
        if "e4e" in self.networks.names:
            start, steps = inversion.by_e4e(self.networks.e4e, pictures), self.plan.refine
        if not steps:
            return start
        with torch.enable_grad():
            return inversion.refined(self.model.generator, start, pictures, self.face.similarity, steps, self.plan.size)

    def registration(self) -> Registration:
        """Stage 1, for a survey of the clip; without face parsing nothing tells how fast the head turns."""

        @torch.no_grad()
        def pose_of(square: Tensor) -> Tensor | None:
            scores = self.face.similarity.scores(square)
            return None if scores is None else pose.estimate(scores)

        return Registration(pose_of=pose_of)

    def guess(self, pictures: Tensor) -> Codes:
        """What is known of frames (N, 3, S, S) when they are first seen."""
        return Codes(torch.cat([self._invert(part) for part in pictures.split(BATCH)]))

    def at_once(self, frames: Tensor, codes: Codes, conditions: Conditions) -> Found:
        """From the first frames of a clip; only their identity and units, the motion comes segment by segment."""
        return self._found(codes.ws, lambda rows: frames[rows], None)

    def moves(self, found: Found, codes: Codes) -> Tensor:
        """Parameters (N, params) of the clip's next frames, in the file's units."""
        base = pipeline.base_of(self.face, torch.from_numpy(found.identity))
        moved = pipeline.search(self.face, codes.ws, base, self.channels, self.plan, reached=self.reached)
        return moved / self.units

    def fit(self, store: CropStore, codes: Codes, conditions: Conditions) -> Found:
        """From all frames of a clip."""
        return self._found(codes.ws, store.read, store)

    def _found(self, codes: Tensor, read: Callable[[list[int]], Tensor], store: CropStore | None) -> Found:
        face, size = self.face, min(self.plan.size, self.model.size)
        chosen = self.stage("identity", lambda: pipeline.identity_of(face, codes, read, size))
        identity = pipeline.quantised_identity(face, codes[chosen])
        base = pipeline.base_of(face, identity)
        self.channels = self.stage("sensitivity", lambda: pipeline.channels_of(face, base, size))
        modes = self._mix()
        left = self.budget - len(encode_modes(modes))
        whole = len(encode_identity(within(identity.numpy(), 1 << 22)))
        if whole > left:
            raise UsageError(
                f"identity budget of {self.budget} bytes: identity and mix of this clip take "
                f"{self.budget - left + whole}"
            )
        found = Found(identity.numpy(), torch.zeros(len(codes), face.space.params), [], modes, self.motion_code)
        if store is None:
            return found
        done = iter(range(len(codes) + 1))

        def tick(n: int) -> None:
            for _ in range(n):
                self.progress("search", next(done) + 1, len(codes))

        def searched() -> Tensor:
            return pipeline.search(face, codes, base, self.channels, self.plan, progress=tick)

        motion = self.stage("search", searched)
        found.motion = motion / self.units
        left -= whole
        if self.options.preset in TUNE_STEPS and left > 0:
            found.delta = self.stage("tune", lambda: self._tune(store, found, left))
        return found

    def _mix(self) -> Modes:
        """The file's units: a diagonal mix.  Sets `units`, what one unit of each parameter is to the model."""
        facial = UNIT / self.channels.gamma.clamp_min(1e-6)
        facial = torch.minimum(facial, self.channels.deviation.clamp_min(1e-3))
        units = torch.cat([facial, torch.full((len(POSE),), DEGREES)])
        code = step_code(float(units.min()) / FINEST)
        whole = (units / step_size(code)).round().clamp(1, 1 << 20)
        self.units = whole * step_size(code)
        mix = np.zeros((len(units), 1 + len(units)), np.int32)
        mix[:, 1:] = np.diag(whole.numpy().astype(np.int32))
        return Modes.empty(mix, code)

    def _tune(self, store: CropStore, found: Found, budget: int) -> list[DeltaTensor]:
        """Stage 6: the pivots are the encoded frames as they will be decoded, the targets the frames themselves."""
        keys = spread_out(found.motion, min(len(found.motion), TUNE_KEYS))
        settings = TuneSettings(steps=TUNE_STEPS[self.options.preset], batch=4, rank=4)
        identity = torch.from_numpy(found.identity).float() * step_size(IDENTITY_CODE)
        code = self.motion_code
        pivots = torch.from_numpy(quantise_motion(found.motion[keys], code)).float() * step_size(code)
        fit = ClipFit(
            self.model, store.read(keys), identity, pivots * self.units, settings, budget, step_size(IDENTITY_CODE),
            1e-6, hold=True,
        )  # fmt: skip
        total = sum(n for _, n in settings.steps)
        ticks = iter(range(1, total + 1))
        fit.run(lambda n: self.progress("tune", next(ticks), total))
        delta = fit.finish()[1]
        return delta if not delta or len(encode_delta(delta)) <= budget else []
