"""From the integers of a file to aligned pictures: what the encoder fits against and the decoder
shows.

Two steps: the model draws (`draw_model`), and the clip's modes, if it has any, are put on top
(`finish`).  A clip with a pivot takes its appearance from that picture and from the model only how
it moves.  That is the model's shared modes (`shared`), or where a model has none how what it draws
changes:

    picture(c) = G(w + A c) + pivot - G(w + A r)

where r are the pivot's own parameters.  Where nothing drives the model the pivot stands as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...format.delta import DeltaTensor
from ...format.errors import DamagedError
from ...format.modes import Modes
from ...format.still import Pivot, Still
from ..model.devices import pick_dtype
from ..model.modelfile import Model
from ..model.planes import apply_modes, mixed
from .delta import apply_delta
from .modes import ClipModes
from .pivot import pivot_picture
from .units import step_size

PIXELS = 8 * 256**2  # that a generator draws at once: more is no faster, and a layer of 8 frames at 1024 is a gigabyte
FINEST = 1024  # side of what is drawn of a finer pivot, where the model's own is not larger


class Renderer:
    """A clip's identity and tuned generator, ready to draw.

    Args:
        identity: (rank,) integers; fewer are filled up with zeros.
        motion_step_code, identity_step_code: step codes of the header.
        dtype: None picks what is fastest on the device.

    Attributes:
        size: side of the model's pictures in pixels; what is drawn unless another is asked for.
        side: of the finest pictures that show more: that of the pivot, if nothing is generated.
    """

    def __init__(
        self,
        model: Model,
        identity: np.ndarray,
        delta: Sequence[DeltaTensor],
        modes: Modes | None = None,
        pivot: Pivot | None = None,
        *,
        identity_step_code: int,
        motion_step_code: int,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ):
        rank, params = model.latents.rank, model.latents.params
        if len(identity) > rank:
            raise DamagedError(f"{len(identity)} identity coefficients, the model has {rank}")
        self.device = device or torch.device("cpu")
        self.dtype = dtype or pick_dtype(self.device)
        self.motion_step = step_size(motion_step_code)
        generator, latents = apply_delta(model, delta)
        if self.device.type != "cpu" and generator is model.generator:
            generator = copy.deepcopy(generator)  # the model itself stays on the processor
        self.generator = generator.to(self.device).to(memory_format=torch.channels_last)
        values = torch.zeros(rank)
        values[: len(identity)] = torch.from_numpy(np.asarray(identity, np.float32)) * step_size(identity_step_code)
        self.base = latents.base(values * model.identity_scale).to(self.device)
        self.latents = latents if self.device.type == "cpu" else copy.deepcopy(latents).to(self.device)
        self.size = self.side = model.size
        self.modes = None if modes is None else ClipModes(modes, params, self.device)
        self._driven = self.modes is None or self.modes.mix.shape[1] > 1
        self._pivot: Tensor | None = None
        self._planes: tuple[Tensor, Tensor] | None = None  # of the shared modes: texture, flow
        self._under: dict[int, Tensor] = {}  # what is added to the model's picture, by size
        if pivot is not None:
            if len(pivot.reference) > params:
                raise DamagedError(f"{len(pivot.reference)} parameters of the pivot, the model has {params}")
            if model.shared is not None:  # the same for every picture
                with torch.no_grad():
                    texture, flow = model.shared.planes()
                self._planes = texture.to(self.device), flow.to(self.device)
            if self._planes is not None or not self._driven:
                self.side = finest(pivot.still, self.size)
            self._pivot = pivot_picture(pivot, self.side).to(self.device)
            self._reference = torch.zeros(1, params, device=self.device)
            self._reference[0, : len(pivot.reference)] = torch.tensor(pivot.reference) * self.motion_step

    @property
    def generates(self) -> bool:
        """Whether every picture takes the generator, whose tensors are large enough for several
        threads.
        """
        return self._pivot is None or (self._driven and self._planes is None)

    @torch.no_grad()
    def draw(self, motion: np.ndarray, size: int | None = None) -> Tensor:
        """Motion integers (N, 35) -> pictures (N, 3, S, S), float32 on the CPU, about -1 to 1.

        Args:
            size: S, at most `side`.
        """
        values = torch.from_numpy(np.asarray(motion, np.float32)) * self.motion_step
        if self.generates:  # which shares them out itself
            return self.draw_values(values, size).cpu()
        parts = values.split(max(1, PIXELS // (size or self.size) ** 2))
        pictures = [self.draw_values(part, size).cpu() for part in parts]
        return pictures[0] if len(pictures) == 1 else torch.cat(pictures)

    # Parameters and pictures may lie anywhere; what is drawn lies on the renderer's device.

    def draw_values(self, motion: Tensor, size: int | None = None) -> Tensor:
        """The same from unquantised parameters; differentiable in them."""
        return self.finish(self.draw_model(motion, size), motion)

    def finish(self, drawn: Tensor, motion: Tensor) -> Tensor:
        """What the model drew (N, 3, S, S) -> the pictures of the clip."""
        if self.modes is None:
            return drawn
        return self.modes.apply(drawn.to(self.device, torch.float32), motion.to(self.device))

    def draw_model(self, motion: Tensor, size: int | None = None) -> Tensor:
        """What model and pivot draw of unquantised parameters (N, 35): (N, 3, S, S)."""
        motion = motion.to(self.device)
        if self._pivot is None:
            return self._generate(motion, size)
        under = self._lay_under(size or self.size)
        if not self._driven:
            return under.expand(len(motion), -1, -1, -1)
        if self._planes is not None:
            change = self._drive(motion) - self._drive(self._reference)
            texture, flow = self._planes
            return apply_modes(under.expand(len(change), -1, -1, -1), texture, flow, change)
        return self._generate(motion, size).float() + under

    @torch.no_grad()
    def movement(self, motion: Tensor) -> Tensor:
        """How far the shared modes move a pivot at unquantised parameters (N, 35): (N, 2, G, G),
        half picture sides.
        """
        assert self._planes is not None
        return mixed(self._planes[1], self._drive(motion.to(self.device)) - self._drive(self._reference)).cpu()

    @torch.no_grad()
    def _lay_under(self, size: int) -> Tensor:
        if size not in self._under:
            assert self._pivot is not None
            picture = self._pivot if size == self.side else F.interpolate(self._pivot, size=size, mode="area")
            if self._driven and self._planes is None:
                picture = picture - self._generate(self._reference, size).float()
            self._under[size] = picture
        return self._under[size]

    def _drive(self, motion: Tensor) -> Tensor:
        """The file's parameters (N, P) -> the model's."""
        return motion if self.modes is None else self.modes.drive(motion)

    def _generate(self, motion: Tensor, size: int | None) -> Tensor:
        drive = self.latents.drive(self.base, self._drive(motion))
        most = len(motion) if torch.is_grad_enabled() else max(1, PIXELS // (size or self.size) ** 2)
        parts = (drive.part(i, i + most) for i in range(0, len(motion), most))
        pictures = [self.generator(p.ws, p.moving, p.added, size=size, dtype=self.dtype) for p in parts]
        return pictures[0] if len(pictures) == 1 else torch.cat(pictures)


def finest(still: Still, size: int) -> int:
    """Side of the pictures that are drawn of a pivot: the model's, doubled until it is not less than
    the still's, and no more than FINEST.
    """
    side = size
    while side < max(still.width, still.height) and 2 * side <= FINEST:
        side *= 2
    return side
