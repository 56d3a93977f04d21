"""The paper's pipeline on a clip, stage by stage: what each of them is worth.

    python -m fev.tools.lab.stages CLIP --basis basis.json [--model base-256] [--frames 48] [--every 1] [--budget 16000]
                               [--whole] [--out DIR]

After every stage the pictures are compared with the aligned frames: PSNR over the square and over the face, SSIM, and
identity where ArcFace is imported for the model.  --out keeps the pictures as arrays (T, S, S, 3) of RGB bytes, for a
scorer, and a contact sheet.  `basis.json` is what `fev.tools.lab.discover` writes.

The ablation searches the facial channels again with one rate for all of them.  --whole tunes all weights at the end as
well, at a size that no file would carry, to compare.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...codec.draw.delta import apply_delta
from ...codec.draw.units import IDENTITY_STEP_CODE, step_size
from ...codec.face.survey import Survey
from ...codec.fit.appearance import BATCH
from ...codec.fit.tune import ClipFit, TuneSettings
from ...codec.media.video import open_video
from ...codec.model.modelfile import Model, load_model
from ...codec.model.pictures import from_numpy, to_numpy
from ...codec.model.stylespace import Basis, LinearPose, StyleSpace
from ...codec.paper import pipeline, pti
from ...codec.paper.pipeline import Encoded, Face, SearchSettings
from ...codec.paper.similarity import Similarity
from ..common import run
from ..measure.metrics import psnr, ssim
from .discover import SPREAD, faces
from .parts import parts_of
from .train.evaluate import face_region

TUNE_STEPS = ((64, 60), (128, 100), (256, 40))
WHOLE_STEPS = pti.STEPS


def face_of(model: Model, basis: Basis) -> Face:
    """The pipeline's tools out of a model with an inverter of its own."""
    own = parts_of(model)
    pose = None
    if basis.pose is not None:
        pose = LinearPose(basis.pose.shape[1], basis.pose.shape[2])
        pose.directions.data.copy_(basis.pose)
    space = StyleSpace(model.generator.config, basis.channels, pose)
    space.mean.copy_(own.latents.mean)
    with torch.no_grad():
        styles = model.generator.styles(faces(model, SPREAD))
    deviation = torch.stack([styles[layer][:, channel].std() for layer, channel in basis.channels])
    return Face(
        model.generator, space.eval().requires_grad_(False), lambda x: own.latents(*own.inverter(x)),
        list(basis.attributes), deviation, Similarity(),
    )  # fmt: skip


def squares(model: Model, clip: str, count: int, every: int) -> Tensor:
    """Aligned frames (T, 3, S, S), -1 to 1: every `every`-th of the clip that shows a face, `count` at most."""
    rows = []
    with open_video(clip, None, None) as video:
        for at, seen in enumerate(Survey(video, parts_of(model).aligner, model.size)):
            if seen.crop is not None and at % every == 0:
                rows.append(seen.crop)
            if len(rows) == count:
                break
    return from_numpy(rows)


@torch.no_grad()
def draw(face: Face, base: Tensor, motion: Tensor) -> np.ndarray:
    out = []
    for part in motion.split(BATCH):
        drive = face.space.drive(base, part)
        picture = face.generator(drive.ws, drive.moving, drive.added)
        out.append(to_numpy(picture.expand(len(part), -1, -1, -1)))
    return np.concatenate(out)


def tuned(model: Model, face: Face, found: Encoded, frames: Tensor, budget: int) -> tuple[Face, int]:
    """Stage 6: weights tuned to the frames, pivots held, within a budget; the face with them, and their bytes."""
    from ...codec.fit.tune import coded_size

    own = replace(model, latents=face.space, identity_scale=torch.ones(face.space.rank))
    settings = TuneSettings(steps=TUNE_STEPS, rank=4)
    identity = found.identity.float() * step_size(IDENTITY_STEP_CODE)
    fit = ClipFit(own, frames, identity, found.motion, settings, budget, step_size(IDENTITY_STEP_CODE), 1e-6, hold=True)
    fit.run()
    _, delta = fit.finish()
    generator, _ = apply_delta(own, delta)
    return replace(face, generator=generator.eval().requires_grad_(False)), coded_size(delta)


def row(name: str, pictures: np.ndarray, true: np.ndarray, seconds: float) -> dict[str, Any]:
    return {
        "stage": name,
        "psnr": round(psnr(pictures, true), 2),
        "psnr_face": round(psnr(pictures, true, face_region()), 2) if true.shape[1] == 256 else None,
        "ssim": round(ssim(pictures, true), 3),
        "seconds": round(seconds, 1),
    }


def work(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip")
    parser.add_argument("--basis", type=Path, required=True)
    parser.add_argument("--model", default="base-256")
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--every", type=int, default=1, help="of the clip's frames is taken")
    parser.add_argument("--budget", type=int, default=16_000, help="bytes of the weight delta")
    parser.add_argument("--steps", type=int, default=100, help="of the search for facial channels")
    parser.add_argument("--whole", action="store_true", help="tune all weights too")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(arguments)
    model = load_model(args.model)
    face = face_of(model, Basis.read(args.basis.read_text()))
    frames = squares(model, args.clip, args.frames, args.every)
    true = to_numpy(frames)
    plan = SearchSettings(facial_steps=args.steps)
    rows, kept = [], {"source": true}
    started = time.perf_counter()

    def note(name: str, file: str, pictures: np.ndarray) -> None:
        nonlocal started
        rows.append(row(name, pictures, true, time.perf_counter() - started))
        kept[file] = pictures
        print(json.dumps(rows[-1]), flush=True)
        started = time.perf_counter()

    codes = pipeline.inverted(face, frames.split(BATCH))
    note("inversion", "inversion", np.concatenate([to_numpy(p) for p in pipeline.drawn(face, codes, model.size)]))
    chosen = pipeline.identity_of(face, codes, lambda at: frames[at], min(256, model.size))
    identity = pipeline.quantised_identity(face, codes[chosen])
    base = pipeline.base_of(face, identity)
    channels = pipeline.channels_of(face, base, min(256, model.size))
    note("identity only", "identity", draw(face, base, torch.zeros(len(frames), face.space.params)))
    note("+ pose", "pose", draw(face, base, pipeline.search(face, codes, base, channels, plan, shape=False)))
    alike = pipeline.search(face, codes, base, channels, replace(plan, specific=False))
    note("+ pose + attributes, one rate", "one_rate", draw(face, base, alike))
    motion = pipeline.search(face, codes, base, channels, plan)
    note("+ pose + attributes", "attributes", draw(face, base, motion))
    found = Encoded(codes, identity, motion, channels)
    better, size = tuned(model, face, found, frames, args.budget)
    note(f"+ PTI, {size} bytes", "pti", draw(better, base, motion))
    if args.whole:
        size = min(256, model.size)
        whole = pti.tune_all(
            face.generator, face.space, base, motion, frames, face.similarity, steps=WHOLE_STEPS, size=size
        )
        name = f"+ PTI of all weights, {pti.weight_bytes(whole)} bytes"
        note(name, "whole", draw(replace(face, generator=whole), base, motion))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        from PIL import Image

        some = np.linspace(0, len(true) - 1, 8).astype(int)
        sheet = np.concatenate([np.concatenate(v[some, ::2, ::2], 1) for v in kept.values()])
        Image.fromarray(sheet).save(args.out / "stages.png")
        for name, pictures in kept.items():
            np.save(args.out / f"{name}.npy", pictures)
        (args.out / "stages.json").write_text(json.dumps(rows, indent=1))
    return 0


def main() -> None:
    run(work)


if __name__ == "__main__":
    main()
