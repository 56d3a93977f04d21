"""The carrier of imported networks: what `fev.codec.fit.appearance` is for models with an inverter.

The paper's pipeline (`pipeline`) finds identity and parameters; the weight delta is tuned to held
pivots within what is left of the byte budget; and the parameters get units in which one step of any
of them moves the picture equally (beta = alpha Gamma), which travel as the file's mix
(`fev.format.modes`) with textures and flow that add nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ...format.delta import DeltaTensor, encode_delta
from ...format.errors import FevError, UsageError
from ...format.identity import encode_identity
from ...format.modes import Modes, encode_modes
from ..draw.render import Renderer
from ..draw.units import IDENTITY_STEP_CODE, motion_step_code, step_code, step_size
from ..face.portrait import Conditions
from ..face.registration import Registration
from ..fit.budget import DEFAULT_BUDGET
from ..fit.carrier import Appearance, CarrierSettings, Spending
from ..fit.cropstore import CropStore
from ..fit.keyframes import spread_out, within
from ..fit.motion import quantise_motion
from ..fit.quantiser import Rounding
from ..fit.stages import Stages
from ..fit.tune import ClipFit, TuneSettings
from ..model import library
from ..model.modelfile import Model
from ..model.stylespace import POSE, StyleSpace
from . import inversion, pipeline, pose
from .facial import Channels
from .networks import Networks
from .pipeline import BATCH, Face, SearchSettings, SearchState
from .similarity import Similarity

UNIT = 0.02  # one unit of a facial parameter changes its attribute's pixels by this on average, of -1 to 1
DEGREES = 1.0  # one unit of yaw or pitch
FINEST = 8  # steps of the mix in the smallest unit
TUNE_KEYS = 64  # frames that the weights are tuned to
DEVIATIONS = 64  # faces from which the deviation of a channel is taken


@dataclass(frozen=True)
class FrameCodes:
    """What is known of N frames when they are first seen.

    Args:
        ws: (N, num_ws, w_dim), their W+.
    """

    ws: Tensor


@dataclass(frozen=True)
class ClipIdentity:
    """The identity of a clip, and what its parameters mean.

    Args:
        values: (rank,) integers.
        base: (num_ws, w_dim), what the generator draws at rest.
        channels: the facial channels' sensitivities on it.
        modes: the file's units as a mix; textures and flow add nothing.
        units: (P,) what one unit of each parameter is to the model.
    """

    values: Tensor
    base: Tensor
    channels: Channels
    modes: Modes
    units: Tensor


def units_of(channels: Channels) -> tuple[Modes, Tensor]:
    """The units of a file's parameters.

    Returns:
        They as a diagonal mix, and what one unit of each parameter is to the model, (P,).
    """
    facial = UNIT / channels.gamma.clamp_min(1e-6)
    facial = torch.minimum(facial, channels.deviation.clamp_min(1e-3))
    units = torch.cat([facial, torch.full((len(POSE),), DEGREES)])
    code = step_code(float(units.min()) / FINEST)
    whole = (units / step_size(code)).round().clamp(1, 1 << 20)
    mix = np.zeros((len(units), 1 + len(units)), np.int32)
    mix[:, 1:] = np.diag(whole.numpy().astype(np.int32))
    return Modes.empty(mix, code), whole * step_size(code)


class PaperFitter:
    """Runs the paper's stages.

    Args:
        model: of imported networks.
        settings: the caller's wishes.
        stages: told what is done.
        networks: those that encode with it; None = those that were imported with the model.

    Raises:
        FevError: a network is missing that nothing can stand in for.
        UsageError: something is asked for that imported networks do not have.
    """

    can_aim = False
    gives_way = False
    draws_finer = False
    can_bound = False
    sends_identity = True
    tensor_threads = 0  # the generator draws anew in every step, whose tensors are large enough for torch's threads

    def __init__(self, model: Model, settings: CarrierSettings, stages: Stages, networks: Networks | None = None):
        if not isinstance(model.latents, StyleSpace):
            raise FevError(f"model {model.name} is not one of imported networks")
        if not settings.pivot:
            raise UsageError("imported networks send no pivot in any case: leave --no-pivot out")
        self.model, self.effort, self.stages = model, settings.effort, stages
        if networks is None:
            name = library.holding(model.sha256)  # a file from elsewhere may have the name of another model
            if name is None:
                raise FevError(f"model {model.name} is not imported here, nor are the networks that encode with it")
            networks = Networks(name)
        self.networks = networks
        search = settings.effort.search
        self.plan = SearchSettings(search.size, search.pose_steps, search.facial_steps)
        self.face = self._face(model.latents)

    def _face(self, space: StyleSpace) -> Face:
        held = self.networks.names
        perceptual = None
        if self.effort.search.perceptual:
            try:
                perceptual = self.networks.perceptual()
            except FevError:  # it is optional
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
        """Of each facial channel over faces: those that the generator makes up, or one unit without
        its mapping."""
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

    def usual_budget(self, seconds: float | None, side: float) -> int:
        """The whole of it: what the identity does not take goes to the weights."""
        return DEFAULT_BUDGET

    def registration(self) -> Registration | None:
        """Stage 1, for a survey of the whole clip; without face parsing nothing tells how fast the
        head turns."""
        if not self.effort.whole:
            return None

        @torch.no_grad()
        def pose_of(square: Tensor) -> Tensor | None:
            scores = self.face.similarity.scores(square)
            return None if scores is None else pose.estimate(scores)

        return Registration(pose_of=pose_of)

    def guess(self, pictures: Tensor) -> FrameCodes:
        """The inversions of frames (N, 3, S, S)."""
        return FrameCodes(torch.cat([self._invert(part) for part in pictures.split(BATCH)]))

    def joined(self, parts: Sequence[FrameCodes]) -> FrameCodes:
        return FrameCodes(torch.cat([p.ws for p in parts]))

    def quantiser(self, renderer: Renderer) -> Rounding:
        """The weights were tuned to the nearest integers."""
        return Rounding(renderer.motion_step)

    def at_once(self, frames: Tensor, reading: FrameCodes, conditions: Conditions, spending: Spending) -> Appearance:
        """Identity and units from the first frames of a clip; the motion is searched segment by
        segment."""
        who, plain, _ = self._identified(reading.ws, lambda rows: frames[rows], spending)
        return replace(plain, begin=self._begin(who))

    def fit(self, store: CropStore, reading: FrameCodes, conditions: Conditions, spending: Spending) -> Appearance:
        """From all frames of a clip: their parameters are found by then and are not fitted
        again."""
        who, plain, left = self._identified(reading.ws, store.read, spending)
        count = self.stages.counter("search", len(reading.ws))

        def searched() -> Tensor:
            return pipeline.search(self.face, reading.ws, who.base, who.channels, self.plan, progress=count)

        motion = self.stages.run("search", searched) / who.units
        delta: list[DeltaTensor] = []
        if self.effort.search.tune and left > 0:
            delta = self.stages.run("tune", lambda: self._tune(store, who, motion, plain.motion_step_code, left))
        return replace(plain, start=motion, delta=delta, begin=self._begin(who))

    def go_on(
        self, before: Appearance, store: CropStore, reading: FrameCodes, conditions: Conditions, spending: Spending
    ) -> Appearance:
        """The same person, whose motion is searched: the weights stay those of the first chapter."""
        return replace(before, start=before.begin(reading))

    def _begin(self, who: ClipIdentity) -> Callable[[FrameCodes], Tensor]:
        """How the parameters of later frames are found, which go on from one call to the next."""
        reached = SearchState.at_rest(self.face)

        def begin(later: FrameCodes) -> Tensor:
            moved = pipeline.search(self.face, later.ws, who.base, who.channels, self.plan, reached=reached)
            return moved / who.units

        return begin

    def _identified(
        self, codes: Tensor, read: Callable[[list[int]], Tensor], spending: Spending
    ) -> tuple[ClipIdentity, Appearance, int]:
        """Identity and units of frames with inversions (N, num_ws, w_dim).  Returns the bytes that
        are left, too."""
        face, size = self.face, min(self.plan.size, self.model.size)
        chosen = self.stages.run("identity", lambda: pipeline.identity_of(face, codes, read, size))
        values = pipeline.quantised_identity(face, codes[chosen])
        base = pipeline.base_of(face, values)
        channels = self.stages.run("sensitivity", lambda: pipeline.channels_of(face, base, size))
        modes, units = units_of(channels)
        sent = within(values.numpy(), 1 << 22)
        taken = len(encode_identity(sent)) + len(encode_modes(modes))
        if taken > spending.budget:
            raise UsageError(f"identity budget of {spending.budget} bytes: identity and mix of this clip take {taken}")
        plain = Appearance(sent, motion_step_code(spending.quality), modes=modes, budget=spending.budget)
        return ClipIdentity(values, base, channels, modes, units), plain, spending.budget - taken

    def _tune(self, store: CropStore, who: ClipIdentity, motion: Tensor, code: int, budget: int) -> list[DeltaTensor]:
        """Stage 6: the pivots are the encoded frames as they will be decoded, the targets the
        frames themselves."""
        keys = spread_out(motion, min(len(motion), TUNE_KEYS))
        steps = tuple((min(size, self.model.size), count) for size, count in self.effort.search.tune)
        settings = TuneSettings(steps=steps, batch=4, rank=4)
        identity = who.values.float() * step_size(IDENTITY_STEP_CODE)
        pivots = torch.from_numpy(quantise_motion(motion[keys], code)).float() * step_size(code)
        fit = ClipFit(
            self.model, store.read(keys), identity, pivots * who.units, settings, budget, step_size(IDENTITY_STEP_CODE),
            1e-6, hold=True,
        )  # fmt: skip
        fit.run(self.stages.counter("tune", sum(n for _, n in steps)))
        delta = fit.finish()[1]
        return delta if not delta or len(encode_delta(delta)) <= budget else []
