"""The network that sees whether a mouth is covered (`codec/model/files/covered.npz`): faces with things laid over them.

Data as `data` makes it.  Half of the pictures have something over the mouth; of the others half have
something beside it.  A few minutes on one core.

    python -m fev.tools.lab.train.covered --data DIR --out codec/model/files/covered.npz
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ....codec.face.covered import Covered, lower_half
from ....codec.face.light import evened
from ....codec.model.pictures import from_numpy
from .likeness import changed

BATCH, RATE = 48, 2e-3


def thing(rng: np.random.Generator, faces: np.ndarray, height: int, width: int) -> np.ndarray:
    """Something to lay over a face, (height, width, 3): a plain colour, skin, or a piece of any picture; some with
    fingers or folds."""
    kind = rng.random()
    if kind < 0.35:
        skin = np.array([1, 0.78, 0.65]) * rng.uniform(80, 250)
        colour = skin if rng.random() < 0.5 else rng.uniform(10, 245, 3)
        across, down = (1 + rng.uniform(-0.25, 0.25) * np.linspace(-1, 1, n) for n in (width, height))
        out = np.ones((height, width, 3)) * colour * across[None, :, None] * down[:, None, None]
    else:
        face = np.asarray(faces[rng.integers(len(faces))])
        if kind < 0.75:
            y, x, side = (60, 100, 50) if rng.random() < 0.5 else (140, 70, 36)
        else:
            y, x, side = int(rng.integers(0, 200)), int(rng.integers(0, 200)), 50
        piece = torch.from_numpy(face[y : y + side, x : x + side].copy()).permute(2, 0, 1)[None].float()
        out = F.interpolate(piece, size=(height, width), mode="bilinear")[0].permute(1, 2, 0).numpy()
    if rng.random() < 0.4:
        along = rng.random() < 0.5
        waves = np.abs(np.sin(np.linspace(0, np.pi * rng.integers(2, 6), width if along else height) + rng.random()))
        waves = 0.55 + 0.45 * np.clip(3 * waves, 0, 1)
        out = out * (waves[None, :, None] if along else waves[:, None, None])
    return np.clip(out + rng.normal(0, 3, out.shape), 0, 255)


def laid_over(rng: np.random.Generator, face: np.ndarray, faces: np.ndarray, mouth: bool) -> np.ndarray:
    """A face (256, 256, 3) with something over the mouth, or beside it."""
    if mouth:
        left, right = rng.integers(30, 100), rng.integers(156, 226)
        top, bottom = rng.integers(130, 172), rng.integers(202, 250)
    else:
        places = [
            (rng.integers(0, 30), rng.integers(60, 200)),
            (rng.integers(180, 210), rng.integers(60, 200)),
            (rng.integers(20, 150), rng.integers(228, 240)),
            (rng.integers(40, 120), rng.integers(0, 40)),
        ]
        left, top = places[rng.integers(4)]
        right, bottom = np.minimum(256, (left + rng.integers(30, 120), top + rng.integers(16, 60)))
        right, bottom = (
            (np.minimum(right, 72) if left < 30 else right),
            (np.minimum(bottom, 80) if top < 40 else bottom),
        )
    height, width = bottom - top, right - left
    power = rng.choice([2, 4, 12])
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    inside = (np.abs(x) ** power + np.abs(y) ** power < (1.4 if power == 2 else 1.0))[..., None]
    out: np.ndarray = face.copy()
    out[top:bottom, left:right] = np.where(inside, thing(rng, faces, height, width), out[top:bottom, left:right])
    return out


def batch(rng: np.random.Generator, faces: np.ndarray, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures as the network sees them, and which mouths are covered."""
    covered = rng.random(len(rows)) < 0.5
    pictures = []
    for row, over in zip(rows, covered, strict=True):
        face = np.asarray(faces[row])
        face = face[:, ::-1] if rng.random() < 0.5 else face
        beside = not over and rng.random() < 0.5
        pictures.append(laid_over(rng, face, faces, bool(over)) if over or beside else face.copy())
    x = from_numpy(pictures)
    x = changed(x, torch.Generator().manual_seed(int(rng.integers(1 << 31))))
    return lower_half(evened(x)), torch.from_numpy(covered.astype(np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=500)  # those of the shipped network
    args = parser.parse_args()
    rng, net = np.random.default_rng(0), Covered()
    torch.manual_seed(0)
    held: dict[bool, list[np.ndarray]] = {False: [], True: []}
    for name in ("faces", "frames"):
        pictures = np.load(args.data / f"{name}.npy", mmap_mode="r")
        at = 0
        for row in json.loads((args.data / f"{name}.json").read_text()):
            count = row.get("count", 1)
            held[row["held_out"]].append(pictures[at : at + count])
            at += count
    faces, unseen = (np.concatenate(held[k]) for k in (False, True))
    optimiser = torch.optim.Adam(net.parameters(), lr=RATE)
    for step in range(args.steps):
        optimiser.param_groups[0]["lr"] = RATE * (1 - step / args.steps)
        x, y = batch(rng, faces, rng.integers(len(faces), size=BATCH))
        loss = F.binary_cross_entropy_with_logits(net(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 100 == 0:
            print(step, f"{float(loss.detach()):.3f}", flush=True)
    np.savez_compressed(args.out, **{k: v.half().numpy() for k, v in net.state_dict().items()})
    with torch.no_grad():
        x, y = batch(rng, unseen, np.arange(len(unseen)))
        out = net(x).numpy()
    hidden = y.numpy() > 0
    print(
        f"{len(faces)} pictures; held out, covered, 1, 5, 50 %: {np.percentile(out[hidden], [1, 5, 50]).round(1)}; ",
        end="",
    )
    print(f"others, 50, 95, 99 %: {np.percentile(out[~hidden], [50, 95, 99]).round(1)}")


if __name__ == "__main__":
    main()
