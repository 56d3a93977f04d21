"""A contact sheet of a model's 35 parameters: each moved alone, minus and plus, on one face.

They move the face through the shared modes, or with --directions through the generator.  A parameter is good if it
moves one thing and leaves the person alone (supplement, Fig. 8).

    python -m fev.tools.lab.train.sheet --model base-256 --out sheet.png [--data DIR --face 3] \
        [--units 12] [--directions]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from ....codec.model.modelfile import load_model
from ....codec.model.pictures import from_numpy, to_numpy
from ..parts import parts_of

SIDE = 96  # of a picture on the sheet
COLUMNS = 5  # pairs in a row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="base-256")
    parser.add_argument("--out", type=Path, default=Path("sheet.png"))
    parser.add_argument("--data", type=Path, help="folder of training data; without it the model's mean face is moved")
    parser.add_argument("--face", type=int, default=0, help="which held-out face")
    parser.add_argument("--units", type=float, default=8.0, help="how far: a unit is 0.01 to 0.02 rms of the picture")
    parser.add_argument("--directions", action="store_true", help="the generator's directions, not the shared modes")
    args = parser.parse_args()
    model = load_model(args.model)
    own = parts_of(model)
    params = own.latents.params
    identity, motion = torch.zeros(1, len(model.identity_scale)), torch.zeros(1, params)
    if args.data:
        held = [i for i, r in enumerate(json.loads((args.data / "faces.json").read_text())) if r["held_out"]]
        face = np.array(np.load(args.data / "faces.npy", mmap_mode="r")[held[args.face]])
        with torch.no_grad():
            identity, motion = own.inverter(from_numpy(face[None]))
    change = args.units * torch.stack([-torch.eye(params), torch.eye(params)], 1).flatten(0, 1)
    with torch.no_grad():
        if model.shared is None or args.directions:
            drawn = [model.generator(own.latents(identity.expand(len(m), -1), motion + m)) for m in change.split(8)]
        else:
            picture = from_numpy(face[None]) if args.data else model.generator(own.latents(identity, motion))
            drawn = [model.shared.move(picture, m) for m in change.split(8)]
    pictures = to_numpy(torch.nn.functional.interpolate(torch.cat(drawn), size=SIDE, mode="area"))
    rows = -(-params // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (2 * SIDE + 8), rows * (SIDE + 4)), "white")
    draw = ImageDraw.Draw(sheet)
    for k in range(params):
        left, top = k % COLUMNS * (2 * SIDE + 8), k // COLUMNS * (SIDE + 4)
        for side in (0, 1):
            sheet.paste(Image.fromarray(pictures[2 * k + side]), (left + side * SIDE, top))
        draw.text((left + 3, top + 2), str(k), fill="yellow")
    sheet.save(args.out)


if __name__ == "__main__":
    main()
