"""The map that tells people apart (`codec/model/files/likeness.npz`), from the features of the built-in inverter.

Fisher's discriminant: what differs between people over what differs within one.  Within: frames of a clip, and faces in
other light, shifted and softened.  Between: the means of the clips, and single faces.  Then it says how well held-out
clips are told apart.  Data as `fev.tools.lab.train.data` makes it.

    python -m fev.tools.lab.train.likeness --data DIR --out codec/model/files/likeness.npz
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ....codec.face.light import evened
from ....codec.model.inverter import Inverter
from ....codec.model.modelfile import load_model
from ....codec.model.pictures import from_numpy
from ..parts import parts_of

SIZE = 48  # of a vector
PER_CLIP = 9  # frames of a clip that are looked at
SHRINK = 0.1  # of the scatter within, towards a sphere
FACES_WITHIN, FACES_BETWEEN = 0.3, 0.5  # shares of the faces beside the clips
BATCH = 32


def changed(x: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures (N, 3, S, S) as another camera might have seen them: light, colour, place and sharpness."""

    def between(low: float, high: float) -> Tensor:
        return torch.rand(len(x), 1, 1, 1, generator=generator) * (high - low) + low

    line = torch.linspace(-1, 1, x.shape[-1])
    y = ((x + 1) / 2) ** between(-0.5, 0.5).exp() * between(0.5, 1.15)
    y = y * (1 + line.view(1, 1, 1, -1) * between(-0.35, 0.35) + line.view(1, 1, -1, 1) * between(-0.2, 0.2))
    y = y * (1 + 0.3 * (torch.rand(len(x), 3, 1, 1, generator=generator) - 0.5))
    angle, scale = between(-0.06, 0.06).flatten(), between(-0.06, 0.06).exp().flatten()
    c, s = scale * angle.cos(), scale * angle.sin()
    shift = 0.08 * (torch.rand(len(x), 2, generator=generator) - 0.5)
    move = torch.stack([torch.stack([c, -s, shift[:, 0]], 1), torch.stack([s, c, shift[:, 1]], 1)], 1)
    y = F.grid_sample(y, F.affine_grid(move, list(y.shape), False), padding_mode="border", align_corners=False)
    small = int(torch.randint(40, 200, (1,), generator=generator))
    y = F.interpolate(F.interpolate(y, size=small, mode="area"), size=x.shape[-1], mode="bilinear")
    return y.clamp(0, 1) * 2 - 1


@torch.no_grad()
def features(inverter: Inverter, pictures: np.ndarray, generator: torch.Generator | None) -> np.ndarray:
    """Of pictures (N, 256, 256, 3), uint8; changed at random where there is a generator."""
    out = []
    for i in range(0, len(pictures), BATCH):
        x = from_numpy(pictures[i : i + BATCH])
        out.append(inverter.features(evened(x if generator is None else changed(x, generator))))
    return torch.cat(out).numpy().astype(np.float64)


def scatter(x: np.ndarray) -> np.ndarray:
    out: np.ndarray = x.T @ x / len(x)
    return out


def discriminant(clips: list[np.ndarray], faces: np.ndarray, moved: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (512,) and map (SIZE, 512).

    Args:
        moved: the faces, changed.
    """
    within = (1 - FACES_WITHIN) * scatter(np.concatenate([c - c.mean(0) for c in clips]))
    within += FACES_WITHIN * scatter((faces - moved) / 2**0.5)
    within += SHRINK * np.trace(within) / len(within) * np.eye(len(within))
    means = np.stack([c.mean(0) for c in clips])
    between = (1 - FACES_BETWEEN) * scatter(means - means.mean(0)) + FACES_BETWEEN * scatter(faces - faces.mean(0))
    whiten = np.linalg.inv(np.linalg.cholesky(within))
    _, vectors = np.linalg.eigh(whiten @ between @ whiten.T)
    return means.mean(0), vectors[:, ::-1][:, :SIZE].T @ whiten


def told_apart(clips: dict[str, np.ndarray], mean: np.ndarray, matrix: np.ndarray) -> str:
    """Cosines of frames with the first three of their own clip and of others'."""
    unit = {k: (v - mean) @ matrix.T for k, v in clips.items()}
    unit = {k: v / np.linalg.norm(v, axis=1, keepdims=True) for k, v in unit.items()}
    same = np.concatenate([(v[:3] @ v[3:].T).max(0) for v in unit.values()])
    other = np.concatenate([(a[:3] @ b.T).max(0) for k, a in unit.items() for j, b in unit.items() if k != j])
    return (
        f"same, 1, 5, 50 %: {np.percentile(same, [1, 5, 50]).round(2)}; others, 50, 95, 99 %: "
        f"{np.percentile(other, [50, 95, 99]).round(2)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    model, generator = load_model(), torch.Generator().manual_seed(0)
    inverter = parts_of(model).inverter
    rows = json.loads((args.data / "faces.json").read_text())
    kept = [i for i, r in enumerate(rows) if not r["held_out"]]
    pictures = np.load(args.data / "faces.npy", mmap_mode="r")[kept[::2]]
    faces, moved = (features(inverter, pictures, g) for g in (None, generator))
    clips: dict[bool, dict[str, np.ndarray]] = {False: {}, True: {}}
    frames = np.load(args.data / "frames.npy", mmap_mode="r")
    for row in json.loads((args.data / "frames.json").read_text()):
        at = row["first"] + np.unique(np.linspace(0, row["count"] - 1, PER_CLIP).round().astype(int))
        looks = [features(inverter, frames[at], g) for g in ((None,) if row["held_out"] else (None, generator))]
        clips[row["held_out"]][row["name"]] = np.concatenate(looks)
    mean, matrix = discriminant(list(clips[False].values()), faces, moved)
    np.savez_compressed(args.out, mean=mean.astype(np.float32), map=matrix.astype(np.float16))
    print(f"{len(clips[False])} clips and {len(faces)} faces; held out: {told_apart(clips[True], mean, matrix)}")


if __name__ == "__main__":
    main()
