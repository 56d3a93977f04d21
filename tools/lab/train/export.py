"""Turn a training run into the model file that the package ships.

Puts the latent space into its coded units first: the identity's coefficients are rotated to their
principal axes (so that few of them carry most), every motion parameter is scaled so that one unit
moves the picture equally (a parameter is multiplied by how far it moves the picture), and the
sensitivity of every
tunable tensor is measured.  Then quantises to 8 bits, writes the safetensors file and its sha256.

    python -m fev.tools.lab.train.export --data DIR --run DIR --aligner aligner.pt --name base-256
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ....codec.draw.delta import DENSE, FACTOR_U, FACTOR_V, expand, tunables
from ....codec.model.aligner import Aligner
from ....codec.model.library import BUILT_IN
from ....codec.model.modelfile import load_bytes, pack
from ....codec.model.pictures import from_numpy
from ....codec.model.stylegan2 import StyleLayer
from .prior import RANK, Prior

UNIT = 1e-3  # root mean square change of a picture (-1 to 1) that one unit of a tunable makes
LARGEST_SCALE = 10.0
MOTION_UNIT = 2e-2  # the same for one unit of a motion parameter


@torch.no_grad()
def encode_all(prior: Prior, pictures: np.ndarray) -> tuple[Tensor, Tensor]:
    rows = [prior.inverter(from_numpy(pictures[i : i + 32])) for i in range(0, len(pictures), 32)]
    return torch.cat([r[0] for r in rows]), torch.cat([r[1] for r in rows])


@torch.no_grad()
def normalise_identity(prior: Prior, identity: Tensor) -> Tensor:
    """Rotate the coefficients to the principal axes of the pictures' latents; returns their spread."""
    basis = prior.latents.basis.reshape(RANK, -1)
    mean = identity.mean(0)
    latent = (identity - mean) @ basis
    _, s, v = torch.linalg.svd(latent, full_matrices=False)
    axes = v[:RANK]  # (rank, D), orthonormal
    prior.latents.mean.add_((mean @ basis).reshape(prior.latents.mean.shape))
    turn = basis @ axes.t()  # old coefficients -> new coefficients
    head = prior.inverter.identity
    head.bias.copy_((head.bias - mean) @ turn)
    head.weight.copy_((head.weight.t() @ turn).t())
    prior.latents.basis.copy_(axes.reshape(prior.latents.basis.shape))
    spread = s / len(identity) ** 0.5
    return torch.nn.functional.pad(spread, (0, RANK - len(spread))).clamp_min(float(spread[0]) * 1e-3)


@torch.no_grad()
def normalise_motion(prior: Prior, identity: Tensor, motion: Tensor) -> Tensor:
    """Scale the parameters by their sensitivity and centre them; returns the sensitivities."""
    head, latents = prior.inverter.motion, prior.latents
    mean = motion.mean(0)
    shift = torch.einsum("p,pkw->kw", mean, latents.directions)
    latents.mean[: shift.shape[0]] += shift
    head.bias.sub_(mean)
    index = torch.linspace(0, len(identity) - 1, 12).long()
    base, here = identity[index], motion[index] - mean
    plain = prior.generator(latents(base, here), size=128)
    spread = motion.std(0)
    gamma = torch.zeros(motion.shape[1])
    for k in range(motion.shape[1]):
        moved = here.clone()
        moved[:, k] += spread[k]
        change = prior.generator(latents(base, moved), size=128) - plain
        gamma[k] = change.square().mean().sqrt() / spread[k] / MOTION_UNIT
    latents.directions.div_(gamma[:, None, None])
    head.bias.mul_(gamma)
    head.weight.mul_(gamma[:, None])
    return gamma


@torch.no_grad()
def fold_noise(prior: Prior) -> None:
    """Constant noise times its strength becomes the noise picture itself, so that a delta adds to it."""
    for layer in prior.generator.layers:
        assert isinstance(layer, StyleLayer)
        if layer.has_noise:
            layer.noise *= layer.noise_strength
            layer.noise_strength.fill_(1.0)


@torch.no_grad()
def tuning_scales(prior: Prior, identity: Tensor, motion: Tensor) -> dict[str, float]:
    """Size of a change of each tunable's coefficients that moves the picture by UNIT."""
    generator, latents = prior.generator, prior.latents
    index = torch.linspace(0, len(identity) - 1, 4).long()
    base, here = identity[index], motion[index]
    plain = generator(latents(base, here))
    draw = torch.Generator().manual_seed(3)
    out: dict[str, float] = {}
    for t in tunables(generator, latents):
        tensor = (
            latents.directions
            if t.name == "directions"
            else dict(list(generator.named_parameters()) + list(generator.named_buffers()))[t.name]
        )
        if t.low_rank:
            (rows, _), (_, columns) = t.factor_shapes
            parts = {FACTOR_U: torch.randn(rows, 4, generator=draw), FACTOR_V: torch.randn(4, columns, generator=draw)}
            count = 4 * columns
        else:
            parts = {DENSE: torch.randn(int(np.prod(t.shape)), generator=draw)}
            count = int(np.prod(t.shape))
        size = 1e-3
        for _ in range(3):  # find a size that changes the picture by about 0.02
            delta = expand(t, parts, size)
            tensor += delta
            change = float((generator(latents(base, here)) - plain).square().mean().sqrt())
            tensor -= delta
            if not 0.005 < change < 0.08:
                size *= 0.02 / max(change, 1e-7)
        # a tensor without effect (a layer not trained yet) must not get an unbounded scale
        out[t.name] = min(LARGEST_SCALE, float(np.float32(size * UNIT * count**0.5 / max(change, 1e-7))))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--aligner", type=Path, required=True)
    parser.add_argument("--name", default="base-256")
    parser.add_argument("--out", type=Path, default=BUILT_IN)
    args = parser.parse_args()
    prior = Prior()
    prior.load_state_dict(torch.load(args.run / "prior.pt", weights_only=True)["average"])
    prior.eval()
    aligner = Aligner()
    aligner.load_state_dict(torch.load(args.aligner, weights_only=True))
    rows = json.loads((args.data / "faces.json").read_text())
    faces = np.load(args.data / "faces.npy", mmap_mode="r")[[i for i, r in enumerate(rows) if not r["held_out"]][::6]]
    clips = [r for r in json.loads((args.data / "frames.json").read_text()) if not r["held_out"]]
    index = np.concatenate([np.arange(r["first"], r["first"] + r["count"], max(1, r["count"] // 40)) for r in clips])
    frames = np.load(args.data / "frames.npy", mmap_mode="r")[index]
    fold_noise(prior)
    identity, _ = encode_all(prior, np.concatenate([faces, frames]))
    spread = normalise_identity(prior, identity)
    identity, motion = encode_all(prior, frames)
    gamma = normalise_motion(prior, identity, motion)
    identity, motion = encode_all(prior, frames)
    modules = {"generator": prior.generator, "latents": prior.latents, "inverter": prior.inverter, "aligner": aligner}
    config = {
        "name": args.name,
        "basis": "directions",
        "motion_spread": [round(float(v), 5) for v in motion.std(0)],
        "sensitivity": [round(float(v), 6) for v in gamma],
        "tuning_scale": tuning_scales(prior, identity, motion),
        "licence": f"see {args.name}.md",
        "provenance": "trained by fev.tools.lab.train on aligned faces and clips; no weights of others",
    }
    data = pack(modules, spread, config)
    load_bytes(data)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"{args.name}.safetensors").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    (args.out / f"{args.name}.sha256").write_text(f"{digest}  {args.name}.safetensors\n")
    print(f"{args.name}: {len(data) / 1e6:.2f} MB, sha256 {digest}")
    print("motion spread", np.round(motion.std(0).numpy(), 2))


if __name__ == "__main__":
    main()
