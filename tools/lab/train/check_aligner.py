"""How well a model's aligner finds faces whose place is known: held-out faces pasted into larger pictures.

Errors are of the five reference points (eyes, nose, corners of the mouth), in pixels of the square at 256.  Jitter is
what is seen of a still head's movement: one picture, noise and compression anew in every frame, followed and smoothed
as a clip is; root mean square about the mean, of the square's corners.

    python -m fev.tools.lab.train.check_aligner --data DIR [--model base-256] [--faces 60]
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter

from ....codec.face.align import FaceTracker, smooth
from ....codec.face.paste import paste
from ....codec.model.modelfile import load_model
from ....codec.model.pictures import from_numpy
from ..parts import parts_of
from .aligner import points_of

CANVAS = 720
HALVES = (60, 80, 120, 200)  # half sides of the pasted square; a face is about as wide as half the square
NOISE = 3.0  # grey levels, standard deviation
JPEG = 80
FRAMES = 40  # of a still face, for the jitter


def picture_of(faces: np.ndarray, which: int, place: np.ndarray) -> np.ndarray:
    """(CANVAS, CANVAS, 3) uint8: the face's square at (cx, cy, half, angle) over another face, blurred away."""
    other = Image.fromarray(faces[(which + 7) % len(faces)]).resize((CANVAS, CANVAS))
    plate = np.array(other.filter(ImageFilter.GaussianBlur(60)))
    return paste(plate, from_numpy(np.array(faces[which])[None])[0], place)


def compressed(picture: np.ndarray) -> np.ndarray:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=JPEG)
    return np.asarray(Image.open(out))


def error(found: np.ndarray, true: np.ndarray) -> float:
    """Mean distance of the reference points, pixels of the square at 256."""

    def points(p: np.ndarray) -> np.ndarray:
        row = [p[2] * np.cos(p[3]), p[2] * np.sin(p[3]), p[0], p[1]]
        return points_of(torch.tensor([row]))[0, :5].numpy()

    return float(np.linalg.norm(points(found) - points(true), axis=1).mean() / true[2] * 128)


def jitter(tracker: FaceTracker, picture: np.ndarray, rng: np.random.Generator) -> float:
    """Root mean square of the followed square's corners about their mean, pixels at 256; nan where it was not found."""
    rows = []
    for _ in range(FRAMES):
        noisy = np.clip(picture + rng.normal(0, NOISE, picture.shape), 0, 255).astype(np.uint8)
        place, good = tracker.step(compressed(noisy))
        if place is None or not good:
            return float("nan")
        rows.append(place)
    path = smooth(np.array(rows), np.ones(len(rows)))
    cx, cy, half, angle = path.T
    c, s = half * np.cos(angle), half * np.sin(angle)
    corners = np.stack([cx + c - s, cy + s + c, cx - c - s, cy - s + c], 1)
    return float(np.sqrt(((corners - corners.mean(0)) ** 2).sum(1).mean() / 2) / half.mean() * 128)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="base-256")
    parser.add_argument("--faces", type=int, default=60)
    args = parser.parse_args()
    rng = np.random.default_rng(4)
    net = parts_of(load_model(args.model)).aligner
    faces = np.load(args.data / "faces.npy", mmap_mode="r")
    rows = json.loads((args.data / "faces.json").read_text())
    held = [i for i, r in enumerate(rows) if r["held_out"]]
    held = held[:: max(1, len(held) // args.faces)][: args.faces]
    light = np.array([float(faces[i][110:190, 80:176].mean()) for i in held])  # of cheeks, nose and mouth
    dark, bright = np.quantile(light, (1 / 3, 2 / 3))
    groups = {"dark": light <= dark, "medium": (light > dark) & (light < bright), "bright": light >= bright}
    print(f"{len(held)} held-out faces; light of the face: thirds up to {dark:.0f} and {bright:.0f} of 255")
    for half in HALVES:
        errors = []
        for i in held:
            reach = half * 1.3
            place = np.array([*rng.uniform(reach, CANVAS - reach, 2), half, rng.uniform(-0.3, 0.3)])
            found = FaceTracker(net).detect(picture_of(faces, i, place))
            errors.append(min((error(f, place) for f in found), default=float("nan")))
        values = np.array(errors)
        good = values < 40  # anything beyond is another place of the picture
        split = ", ".join(f"{name} {np.median(values[of & good]):.1f}" for name, of in groups.items())
        print(
            f"face of about {half} px: found {good.mean():.0%}, median error {np.median(values[good]):.2f} px at 256, "
            f"90 % {np.quantile(values[good], 0.9):.2f}; {split}",
            flush=True,
        )
    for half in HALVES[1:]:
        shakes = []
        for i in held[::4]:
            place = np.array([CANVAS / 2, CANVAS / 2, half, 0.1])
            shakes.append(jitter(FaceTracker(net), picture_of(faces, i, place), rng))
        print(
            f"face of about {half} px: jitter of a still head, median {np.nanmedian(shakes):.2f} px at 256, "
            f"largest {np.nanmax(shakes):.2f}, not followed {np.isnan(shakes).mean():.0%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
