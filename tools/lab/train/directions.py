"""Train the direction matrix A (`fev.codec.paper.directions`): from a change of 15 parameters to a shift of W+.

The method is that of Bounareli et al. (2022, "Finding Directions in GAN's Latent Space for Neural Face
Reenactment"): one linear map onto the first 8 vectors of W+, weights from N(0, 0.03), Adam with a rate
of 1e-4 and a weight decay of 5e-4, batches of 12 (4 of pairs), truncation 0.7, three phases.  Half of a
batch takes all parameters of the target.  The other half changes ONE at random, to anywhere in its
range, so that directions come apart.  The shape model is behind `measure.shape`, the losses are in
`reenactment`, the faces come from `codes`, and a step is in `matrixtraining`.

    python -m fev.tools.lab.train.directions --model NAME --shape SHAPE --out matrix.safetensors
        [--phase synthetic|real_synthetic|paired] [--data DIR] [--networks NAME] [--roll] [--minutes 60]

SHAPE is MODULE:CALLABLE, Python of your own that is imported and run (it brings DECA); or `parsing`, the
landmark-based stand-in on an imported BiSeNet; or a file of `landmarks`, the same on our own network.
The phases are run one after another with the same --out.  Every run resumes what lies beside it
(`matrix.training.safetensors`); `fev-models import matrix.safetensors --name NAME` puts the matrix to the networks.

Choices where the paper is silent: 15 parameters are yaw, pitch, roll, jaw and 11 expressions, or with faces that are
aligned upright (the default) yaw, pitch, jaw and 12.  Ranges are the least and the most over 2,000 synthetic pictures,
as in the public code.  A new phase keeps A and begins Adam anew.  A generator larger than 256 is drawn at 256 by its
own skip connection instead of drawn whole and shrunk.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from ....codec.model.stylegan2 import RESOLUTIONS
from ....codec.paper.arcface import ArcFace
from ....codec.paper.imports.backbone import load_perceptual
from ....codec.paper.networks import Networks, files_of
from ....codec.paper.similarity import Similarity
from ....format.errors import FevError, UsageError
from ...common import add_device, parser, run, setup_device
from ...measure.shape import ShapeModel
from ...measure.shapemodels import shape_of
from .codes import CHUNK, PHASES, Codes, Pictures, codes_of
from .matrixtraining import BATCH, DEVIATION, RATE, TRUNCATION, MatrixTraining, Scaling, Settings, chosen
from .reenactment import left_out

RANGE_PICTURES = 2000
SAVE_EVERY = 240.0  # seconds
N = TypeVar("N", bound=nn.Module)


def networks_of(name: str) -> Networks | None:
    return Networks(name) if files_of(name) else None


def similarity_of(networks: Networks | None, say: Callable[[str], None]) -> Similarity:
    """What there is for the losses of identity and looks; says why each of the others is left out."""

    def tried(what: str, get: Callable[[], N]) -> N | None:
        try:
            return get()
        except FevError as error:
            say(f"left out, the {what} loss: {error.message}")
            return None

    def arcface() -> ArcFace:
        if networks is None:
            raise FevError("no networks were imported under the model's name (--networks names others)")
        return networks.arcface

    return Similarity(
        tried("perceptual", lambda: networks.perceptual("alex") if networks else load_perceptual("alex")),
        tried("identity", arcface),
    )


@torch.no_grad()
def measured(shape: ShapeModel, codes: Codes, count: int, size: int, rng: torch.Generator) -> Tensor:
    """Parameters (count, P) of synthetic pictures."""

    def parts() -> Iterator[Tensor]:
        for first in range(0, count, CHUNK):
            ws = codes.synthetic(min(CHUNK, count - first), TRUNCATION, rng)
            yield shape.measure(codes.generator(ws, size=size).clamp(-1, 1)).parameters

    return torch.cat(list(parts()))


def prepared(options: argparse.Namespace) -> MatrixTraining:
    """Everything that the options name, at the step where the last run stopped."""

    def say(text: str) -> None:
        print(json.dumps({"note": text}), flush=True)

    device = setup_device(options.device, options.threads)
    networks = networks_of(options.networks or options.model)
    codes = codes_of(options.model)
    codes.to(device)
    shape = shape_of(options.shape, networks)
    if isinstance(shape, nn.Module):
        shape.to(device)
    say(f"shape model: {shape.name}")
    similarity = similarity_of(networks, say)
    for network in (similarity.arcface, similarity.perceptual):
        if network is not None:
            network.to(device)
    resolution = codes.generator.config.resolution
    size = options.size or min(256, resolution)
    if size not in RESOLUTIONS or size > resolution:
        raise UsageError(f"--size {size}: a power of two from 32 to {resolution} is needed")
    batch = options.batch or BATCH[options.phase]
    settings = Settings(options.phase, batch, options.rate, options.seed, size, options.deviation)
    pictures = Pictures(options.data) if options.data else None
    state = MatrixTraining.stored(options.out)
    if state is None:
        names = chosen(shape.parameter_names, options.roll)
        rng = torch.Generator().manual_seed(options.seed)
        found = measured(shape, codes, options.range_pictures, size, rng)
        scaling = Scaling.of(shape.parameter_names, names, found, options.range_pictures)
        return MatrixTraining(codes, shape, similarity, scaling, settings, pictures)
    training = MatrixTraining(codes, shape, similarity, state.scaling, settings, pictures)
    training.resume(state)
    say(f"resumed at step {training.step}")
    return training


def work(arguments: list[str] | None = None) -> int:
    options = parser("fev.tools.lab.train.directions", __doc__ or "")
    options.formatter_class = argparse.RawDescriptionHelpFormatter
    options.add_argument("--model", required=True, help="whose W+: a model of our own, or imported networks")
    options.add_argument("--shape", required=True, help="MODULE:CALLABLE, parsing, or FILE.safetensors")
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--phase", choices=PHASES, default="synthetic")
    options.add_argument("--data", type=Path, help="folder of fev.tools.lab.train.data, for phases with real pictures")
    options.add_argument("--networks", help="imported networks for losses and parsing (default: those of --model)")
    options.add_argument("--roll", action="store_true", help="roll is one of the 15: for faces that are not upright")
    options.add_argument("--minutes", type=float, default=60)
    options.add_argument("--steps", type=int, help="stop after so many, even if there is time")
    options.add_argument("--batch", type=int, help="default: 12, of pairs 4")
    options.add_argument("--rate", type=float, default=RATE)
    options.add_argument("--deviation", type=float, default=DEVIATION, help="of the first weights; less for a narrow W")
    options.add_argument("--size", type=int, help="of the pictures (default: 256, or the generator's if that is less)")
    options.add_argument("--range-pictures", type=int, default=RANGE_PICTURES, metavar="N")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--every", type=int, default=10, metavar="N", help="steps between lines of JSON")
    add_device(options)
    given = options.parse_args(arguments)
    training = prepared(given)
    start = saved = time.monotonic()
    first, sums, since = training.step, dict[str, float](), 0
    while time.monotonic() - start < 60 * given.minutes and training.step - first != given.steps:
        for name, value in training.advance().items():
            sums[name] = sums.get(name, 0.0) + value
        since += 1
        if training.step % given.every == 0:
            means = {k: round(v / since, 4) for k, v in sums.items()}
            print(json.dumps({"step": training.step} | means), flush=True)
            sums, since = {}, 0
        if time.monotonic() - saved > SAVE_EVERY:
            saved = time.monotonic()
            training.save(given.out)
    training.save(given.out)
    print(json.dumps({"saved": str(given.out), "step": training.step, "left_out": left_out(training.similarity)}))
    return 0


def main() -> None:
    run(work)


if __name__ == "__main__":
    main()
