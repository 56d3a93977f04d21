"""One training of the direction matrix: the scaling of its inputs, a step, and the files of its state and its result.

`directions` is the command.  Every random number of a step follows from the seed and the step alone, so that a run
which was stopped goes on as if it had not been.  State is kept as safetensors: nothing in it can run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as pack_tensors
from torch import Tensor

from ....codec.paper.directions import DirectionMatrix
from ....codec.paper.imports.official import ImportedNetwork, pack_networks
from ....codec.paper.similarity import Similarity
from ....format.errors import FevError, ModelMismatchError, UsageError
from ...common import output_file
from ...measure.shape import Shape, ShapeModel
from ...measure.template import ANGLES
from .codes import Batch, Codes, Pictures, draw
from .reenactment import Weights, left_out, losses, total

COUNT, ROWS = 15, 8  # parameters, and W+ vectors that they move
REACH = 6.0  # scaled parameters go from -REACH to REACH
LIMITS = dict(zip(ANGLES, (40.0, 20.0, 20.0), strict=True))  # degrees that are scaled to REACH
DEVIATION = 0.03  # of the first weights, for a W that spreads about as widely as StyleGAN2's
RATE, DECAY = 1e-4, 5e-4
BATCH = {"synthetic": 12, "real_synthetic": 12, "paired": 4}
TRUNCATION = 0.7
FORMAT = "fev-directions-training/1"
MOMENTS = ("exp_avg", "exp_avg_sq")  # of Adam


def chosen(names: Sequence[str], roll: bool) -> list[str]:
    """The parameters that A has, the first COUNT: a face that is aligned upright has no roll to learn."""
    return [n for n in names if roll or n != "roll"][:COUNT]


@dataclass(frozen=True)
class Scaling:
    """How parameters become inputs of A: scaled = factor * parameter + offset.

    Attributes:
        index: places in the shape model's parameters, (K,).
        ranges: (K, 2), least and most that were measured.
    """

    names: list[str]
    index: list[int]
    factor: list[float]
    offset: list[float]
    ranges: list[list[float]]
    pictures: int

    @classmethod
    def of(cls, names: Sequence[str], wanted: Sequence[str], found: Tensor, pictures: int) -> Scaling:
        """From measured parameters (N, P).  Raises FevError where one of them never changes."""
        index = [list(names).index(n) for n in wanted]
        low, high = found[:, index].amin(0).tolist(), found[:, index].amax(0).tolist()
        factor, offset = [], []
        for name, least, most in zip(wanted, low, high, strict=True):
            if not most - least > 1e-6:
                raise FevError(f"the shape model measures the same {name} on all {pictures} pictures")
            factor.append(REACH / LIMITS[name] if name in LIMITS else 2 * REACH / (most - least))
            offset.append(0.0 if name in LIMITS else -factor[-1] * (least + most) / 2)
        return cls(list(wanted), index, factor, offset, [list(v) for v in zip(low, high, strict=True)], pictures)

    def scaled(self, parameters: Tensor) -> Tensor:
        """(N, P) -> (N, K)."""
        return parameters[:, self.index] * parameters.new_tensor(self.factor) + parameters.new_tensor(self.offset)

    def put(self, parameters: Tensor, scaled: Tensor) -> Tensor:
        """Parameters (N, P) with those of A's replaced by what scaled ones (N, K) stand for."""
        out = parameters.clone()
        out[:, self.index] = (scaled - scaled.new_tensor(self.offset)) / scaled.new_tensor(self.factor)
        return out


@dataclass(frozen=True)
class Settings:
    """size: of the pictures, pixels.  deviation: of the first weights."""

    phase: str = "synthetic"
    batch: int = BATCH["synthetic"]
    rate: float = RATE
    seed: int = 1
    size: int = 256
    deviation: float = DEVIATION


@dataclass
class State:
    """What a stopped training left."""

    tensors: dict[str, Tensor]
    scaling: Scaling
    meta: dict[str, Any]


def wanted_change(
    source: Tensor, target: Tensor, scaling: Scaling, apart: bool, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Measured parameters (N, P) of sources and targets -> inputs of A (N, K), and the parameters
    to be reached (N, P).

    Args:
        apart: the second half of the batch changes one parameter at random, to anywhere in its
            range.
    """
    here, there = scaling.scaled(source), scaling.scaled(target)
    goal = target.clone()
    if apart:
        half = len(here) // 2
        count = len(here) - half
        which = torch.randint(here.shape[1], (count,), generator=rng)
        values = (2 * torch.rand(count, generator=rng) - 1) * REACH
        moved = here[half:].clone()
        moved[torch.arange(count), which] = values.to(here)
        there = torch.cat([there[:half], moved])
        goal[half:] = scaling.put(source[half:], moved)
    return there - here, goal


class MatrixTraining:
    """A, its optimiser, and what they are trained against."""

    def __init__(
        self,
        codes: Codes,
        shape: ShapeModel,
        similarity: Similarity,
        scaling: Scaling,
        settings: Settings,
        pictures: Pictures | None = None,
    ):
        if settings.batch % 2 or settings.batch < 2:
            raise UsageError(f"a batch of {settings.batch} has no halves: an even number is needed")
        self.codes, self.shape, self.similarity, self.scaling = codes, shape, similarity, scaling
        self.settings, self.pictures, self.weights = settings, pictures, Weights()
        config = codes.generator.config
        self.matrix = DirectionMatrix(len(scaling.names), min(ROWS, config.num_ws), config.w_dim)
        first = torch.Generator().manual_seed(settings.seed)
        with torch.no_grad():
            self.matrix.linear.weight.normal_(0, settings.deviation, generator=first)
            # PyTorch's default where the weights are the paper's, and as much smaller as they are
            bound = len(scaling.names) ** -0.5 * settings.deviation / DEVIATION
            self.matrix.linear.bias.uniform_(-bound, bound, generator=first)
        self.matrix.to(codes.generator.const.device)
        self.optimiser = torch.optim.Adam(self.matrix.parameters(), lr=settings.rate, weight_decay=DECAY)
        self.step, self.past = 0, list[dict[str, Any]]()

    def batch(self, rng: torch.Generator) -> Batch:
        s = self.settings
        return draw(self.codes, self.pictures, s.phase, s.batch, s.size, TRUNCATION, rng)

    def losses(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Of one batch, unweighted; differentiable with respect to A."""
        paired = self.settings.phase == "paired"
        with torch.no_grad():
            source, target = self.shape.measure(batch.sources), self.shape.measure(batch.targets)
            change, goal = wanted_change(source.parameters, target.parameters, self.scaling, not paired, rng)
            # in a pair both are the same person, and the target shows that person better
            who = target.identity if paired else source.identity
            wanted = self.shape.points(Shape(who, goal))
        drawn = self.codes.generator(self.matrix.shifted(batch.codes, change), size=self.settings.size)
        points = self.shape.points(self.shape.measure(drawn))
        if not points.mesh.requires_grad:
            raise UsageError(f"{self.shape.name} passes no gradients to the picture: A cannot learn from it")
        like = batch.targets if paired else batch.sources
        return losses(self.similarity, drawn, like, points, wanted, paired)

    def advance(self) -> dict[str, float]:
        """One step; every loss before it, unweighted, and their weighted sum."""
        rng = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + self.step)
        parts = self.losses(self.batch(rng), rng)
        loss = total(parts, self.weights)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.step += 1
        return {"loss": loss.item()} | {k: v.item() for k, v in parts.items()}

    def provenance(self) -> dict[str, Any]:
        """What goes into the file of the matrix."""
        return {
            "shift_scale": REACH,
            "rows": self.matrix.rows,
            "w_dim": self.matrix.w_dim,
            "parameters": self.scaling.names,
            "scaling": asdict(self.scaling),
            "shape_model": self.shape.name,
            "left_out": left_out(self.similarity),
            "weights": asdict(self.weights),
            "truncation": TRUNCATION,
            "phases": self.history(),
            "generator": self.codes.origin,
            "licence": "that of the generator, the networks and the pictures that it was trained with",
        }

    def history(self) -> list[dict[str, Any]]:
        """Phase after phase, each with its steps."""
        done = self.step - sum(p["steps"] for p in self.past)
        return [*self.past, asdict(self.settings) | {"steps": done}] if done else self.past

    def save(self, path: Path) -> None:
        """The matrix, as `fev-models import` takes it, and the state beside it."""
        tensors = {k: v.detach().cpu().contiguous() for k, v in self.matrix.state_dict().items()}
        found = ImportedNetwork("directions", "", "", 0, tensors, None, self.provenance())
        state = {f"matrix.{k}": v for k, v in tensors.items()}
        for name, value in self.matrix.named_parameters():
            for moment in MOMENTS:
                if value in self.optimiser.state:
                    state[f"{moment}.{name}"] = self.optimiser.state[value][moment].cpu().contiguous()
        meta = {"format": FORMAT, "step": self.step, "phases": self.history(), "scaling": asdict(self.scaling)}
        meta |= {"shape_model": self.shape.name, "generator": self.codes.origin}
        with output_file(str(beside(path)), True) as out:
            out.write(pack_tensors(state, {"config": json.dumps(meta, sort_keys=True)}))
        with output_file(str(path), True) as out:
            out.write(pack_networks({"directions": found}, False))

    @staticmethod
    def stored(path: Path) -> State | None:
        """What lies beside a result; None where nothing does.  Raises ModelMismatchError where it is damaged."""
        if not beside(path).is_file():
            return None
        try:
            with safe_open(beside(path), "pt") as file:
                meta = json.loads((file.metadata() or {})["config"])
                tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 - not a dict
            if meta["format"] != FORMAT:
                raise ValueError(f"not of format {FORMAT}")
            return State(tensors, Scaling(**meta["scaling"]), meta)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise ModelMismatchError(f"{beside(path).name} is no state of a training: {error}") from error

    def resume(self, state: State) -> None:
        """Go on from there.  Raises UsageError where it was another generator or shape model."""
        for what, now in (("generator", self.codes.origin), ("shape_model", self.shape.name)):
            if state.meta[what] != now:
                raise UsageError(f"the training that lies there has another {what}: {state.meta[what]}; now {now}")
        try:
            self.matrix.load_state_dict({k[7:]: v for k, v in state.tensors.items() if k.startswith("matrix.")})
        except RuntimeError as error:
            raise ModelMismatchError("the training that lies there does not fit this generator") from error
        self.step, self.past = state.meta["step"], state.meta["phases"]
        if not self.past or {k: v for k, v in self.past[-1].items() if k != "steps"} != asdict(self.settings):
            return  # another phase: Adam begins anew
        steps = self.past[-1]["steps"]
        self.past = self.past[:-1]
        for name, value in self.matrix.named_parameters():
            moments = {m: state.tensors[f"{m}.{name}"].to(value) for m in MOMENTS if f"{m}.{name}" in state.tensors}
            if len(moments) == len(MOMENTS):
                self.optimiser.state[value] = {"step": torch.tensor(float(steps)), **moments}


def beside(path: Path) -> Path:
    return path.with_name(f"{path.stem}.training{path.suffix}")
