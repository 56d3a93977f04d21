"""How groups of people fare: the model's picture alone, a pivot of 2.5 KB, and the aligner.

The data says nothing about the people in it.  `groups.json` names held-out faces that show glasses, a beard, a hat, a
head turned far, a child or dark skin, as they appeared to the one who looked; a face may be in several groups.

    python -m fev.tools.lab.train.check_groups --data DIR [--model base-256] [--every 4]

Face PSNR in dB at 256.  The aligner's error is that of `check_aligner` on a face pasted into a larger picture, in
pixels of the square at 256; beside it the share of faces it does not find.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from ....codec.face.align import FaceTracker
from ....codec.model.aligner import Aligner
from ....codec.model.modelfile import Model, load_model
from ....codec.model.pictures import from_numpy, to_numpy
from ...measure.metrics import psnr
from ..parts import parts_of
from .check_aligner import CANVAS, error, picture_of
from .evaluate import draw_stills, face_region

GROUPS = Path(__file__).with_name("groups.json")
PIVOT = 2_500  # bytes
HALF = 100  # of the pasted square, pixels
MISSED = 40  # an error beyond this is another place of the picture


def alone(model: Model, faces: np.ndarray) -> np.ndarray:
    """What inverter and generator make of faces (N, 256, 256, 3), of the same shape."""
    x = from_numpy(faces)
    with torch.no_grad():
        own = parts_of(model)
        w = own.latents(*own.inverter(x))
        return np.concatenate([to_numpy(model.generator(part)) for part in w.split(8)])


def placed(net: Aligner, faces: np.ndarray, which: int, rng: np.random.Generator) -> float:
    """The aligner's error on one of the faces; infinite where it is not found."""
    reach = HALF * 1.3
    place = np.array([*rng.uniform(reach, CANVAS - reach, 2), HALF, rng.uniform(-0.3, 0.3)])
    found = FaceTracker(net).detect(picture_of(faces, which, place))
    best = min((error(f, place) for f in found), default=np.inf)
    return best if best < MISSED else np.inf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="base-256")
    parser.add_argument("--every", type=int, default=4, help="of the faces in no group, one in so many")
    args = parser.parse_args()
    model = load_model(args.model)
    rows = json.loads((args.data / "faces.json").read_text())
    groups = {name: set(members) for name, members in json.loads(GROUPS.read_text()).items()}
    grouped = set().union(*groups.values())
    held = [i for i, r in enumerate(rows) if r["held_out"]]
    plain = [i for i in held if rows[i]["name"] not in grouped][:: args.every]
    chosen = [i for i in held if rows[i]["name"] in grouped] + plain
    every = np.load(args.data / "faces.npy", mmap_mode="r")
    faces = every[chosen]
    region, rng = face_region(), np.random.default_rng(4)
    drawn = [alone(model, faces), draw_stills(from_numpy(faces), PIVOT)]
    quality = np.array([[psnr(d[k : k + 1], faces[k : k + 1], region) for k in range(len(chosen))] for d in drawn])
    aligner = parts_of(model).aligner
    errors = np.array([placed(aligner, every, i, rng) for i in chosen])
    names = [rows[i]["name"] for i in chosen]
    print("| group | faces | model alone, dB | pivot of 2.5 KB, dB | aligner, median / 90 % | not found |")
    print("| --- | --- | --- | --- | --- | --- |")
    for group, members in {"in no group": set(names) - grouped, **groups}.items():
        at = np.array([name in members for name in names])
        good = errors[at & np.isfinite(errors)]
        print(
            f"| {group} | {at.sum()} | {quality[0, at].mean():.1f} | {quality[1, at].mean():.1f} | "
            f"{np.median(good):.1f} / {np.quantile(good, 0.9):.1f} | {np.isinf(errors[at]).mean():.0%} |"
        )


if __name__ == "__main__":
    main()
