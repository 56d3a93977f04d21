"""The model card's figures: how well a model reproduces faces and clips that it was not trained on.

Encoder alone; after 100 steps in the latent space; after tuning within 4, 8, 16 and 32 KB, by a weight delta and by
what the presets send (a pivot, for clips moved by the shared modes or by modes of their own).  PSNR over the aligned
square and over its face region, and SSIM, at 256.

    python -m fev.tools.lab.train.evaluate --data DIR --model base-256 [--faces 40] [--frames 24] [--out card.json]

--pictures DIR keeps what was drawn of the clips, as arrays (T, 256, 256, 3) of RGB bytes, for a scorer.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ....codec.draw.modes import ClipModes
from ....codec.draw.pivot import pivot_picture
from ....codec.draw.render import Renderer
from ....codec.draw.units import DEFAULT_QUALITY, IDENTITY_STEP_CODE, motion_step_code, step_size
from ....codec.face.portrait import best_frame
from ....codec.fit.appearance import FAST_PIVOT, PIVOT_SHARE, first_moves
from ....codec.fit.effort import FAST, MEDIUM
from ....codec.fit.modefit import ModeFit, ModeSettings
from ....codec.fit.motion import MotionSettings, fit_motion, quantise_motion
from ....codec.fit.pivotcoding import code_pivot
from ....codec.fit.reading import InverterReading
from ....codec.fit.tune import ClipFit, TuneSettings
from ....codec.model.modelfile import Model, load_model
from ....codec.model.pictures import from_numpy, to_numpy
from ...measure.metrics import psnr, ssim
from ..parts import parts_of

BUDGETS = (4_000, 8_000, 16_000, 32_000)

MOTION_STEP = step_size(motion_step_code(DEFAULT_QUALITY))
STEPS = ((64, 40), (128, 40), (256, 12))  # a fifth of what the encoder takes
MODE_STEPS = ((128, 200), (256, 75))  # an eighth to a twelfth
MODE_FRAMES = 160


def face_region() -> np.ndarray:
    """The middle of the square, where the face is: an ellipse about eyes and mouth."""
    v = (np.arange(256) + 0.5) / 128 - 1
    x, y = np.meshgrid(v, v)
    return (x / 0.52) ** 2 + ((y - 0.14) / 0.7) ** 2 < 1


def latent_steps(model: Model, crops: Tensor, identity: Tensor, motion: Tensor, steps: int, shared: bool) -> np.ndarray:
    """Optimise identity (one for all when `shared`) and motion with frozen weights; returns pictures."""
    if shared:
        settings = TuneSettings(steps=((128, steps),), batch=8)
        fit = ClipFit(model, crops, identity.mean(0), motion, settings, 0, step_size(IDENTITY_STEP_CODE), MOTION_STEP)
        fit.run()
        return draw(model, fit, crops)
    rows = []
    for i in range(len(crops)):
        settings = TuneSettings(steps=((128, steps),), batch=1)
        fit = ClipFit(
            model,
            crops[i : i + 1],
            identity[i],
            motion[i : i + 1],
            settings,
            0,
            step_size(IDENTITY_STEP_CODE),
            MOTION_STEP,
        )
        fit.run()
        rows.append(draw(model, fit, crops[i : i + 1]))
    return np.concatenate(rows)


def draw(model: Model, fit: ClipFit, crops: Tensor) -> np.ndarray:
    """Pictures after quantisation, with the motion fitted again to what was quantised."""
    identity, delta = fit.finish()
    renderer = Renderer(
        model,
        identity,
        delta,
        identity_step_code=IDENTITY_STEP_CODE,
        motion_step_code=motion_step_code(DEFAULT_QUALITY),
        dtype=torch.float32,
    )
    motion = fit_motion(renderer, crops, fit.motion.detach(), MotionSettings(steps=6))
    with torch.no_grad():
        return np.concatenate([to_numpy(renderer.draw_values(motion[i : i + 8])) for i in range(0, len(motion), 8)])


def draw_modes(model: Model, crops: Tensor, budget: int) -> np.ndarray:
    """A pivot and modes within `budget` bytes, as the encoder makes them; pictures of what was quantised."""
    code = motion_step_code(DEFAULT_QUALITY)
    middle = best_frame(crops)
    guess = InverterReading.of(model, crops).moves
    pivot = code_pivot(crops[middle], quantise_motion(guess[middle], code), round(budget * PIVOT_SHARE[1]))
    if pivot is None:
        raise SystemExit(f"no pivot within {round(budget * PIVOT_SHARE[1])} bytes")
    moved = None if model.shared is None else first_moves(model, pivot, crops, guess, code, MEDIUM.first_moves)
    pivot = replace(pivot, reference=())
    under = pivot_picture(pivot, model.size)
    mix = np.zeros((parts_of(model).latents.params, 1), np.int32)
    settings = ModeSettings(steps=MODE_STEPS)
    left = budget - len(pivot.pack())
    fit = ModeFit(under, crops, torch.zeros(len(crops), 0), mix, settings, left, step_size(code), moved)
    fit.run()
    modes = fit.finish()
    if modes is None:
        return to_numpy(under.expand(len(crops), -1, -1, -1))
    clip = ClipModes(modes, len(mix), torch.device("cpu"))
    motion = (fit.fitted() / step_size(code)).round() * step_size(code)
    return np.concatenate([to_numpy(clip.apply(under, motion[i : i + 8])) for i in range(0, len(motion), 8)])


def draw_shared(model: Model, crops: Tensor) -> np.ndarray:
    """A pivot moved by the shared modes, as the preset `fast` sends it; pictures of what was quantised."""
    code = motion_step_code(DEFAULT_QUALITY)
    guess = InverterReading.of(model, crops)
    middle = best_frame(crops)
    pivot = code_pivot(crops[middle], quantise_motion(guess.moves[middle], code), FAST_PIVOT[1], thorough=False)
    renderer = Renderer(
        model,
        np.zeros(1, np.int32),
        [],
        None,
        pivot,
        identity_step_code=IDENTITY_STEP_CODE,
        motion_step_code=code,
        dtype=torch.float32,
    )
    motion = quantise_motion(fit_motion(renderer, crops, guess.moves, FAST.pivot_motion), code)
    return np.concatenate([to_numpy(renderer.draw(motion[i : i + 8])) for i in range(0, len(motion), 8)])


def draw_stills(crops: Tensor, budget: int) -> np.ndarray:
    """Every picture as a pivot of its own."""
    rows = []
    for crop in crops:
        pivot = code_pivot(crop, np.zeros(1, np.int32), budget)
        rows.append(to_numpy(pivot_picture(pivot, crop.shape[-1]) if pivot else torch.zeros_like(crop)[None]))
    return np.concatenate(rows)


def measure(
    model: Model,
    crops: np.ndarray,
    shared: bool,
    weights: bool,
    many: np.ndarray | None = None,
    keep: Path | None = None,
) -> tuple[dict[str, list[float]], list[np.ndarray]]:
    """Rows of (PSNR, face PSNR, SSIM) by stage for pictures of one clip (shared) or of many people.

    Args:
        many: more frames of the clip, for the modes: a handful of frames they would learn by
            heart.
        keep: a folder for what is drawn of them.
    """
    x = from_numpy(crops)
    with torch.no_grad():
        own = parts_of(model)
        identity, motion = own.inverter(x)
        w = own.latents(identity.mean(0, keepdim=True).expand(len(x), -1) if shared else identity, motion)
        plain = np.concatenate([to_numpy(model.generator(w[i : i + 8])) for i in range(0, len(w), 8)])
    pictures = {"encoder": plain, "latent_100": latent_steps(model, x, identity, motion, 100, shared)}
    modes: dict[str, np.ndarray] = {}
    if many is not None:
        modes["pivot_shared"] = draw_shared(model, from_numpy(many))
    for budget in BUDGETS:
        if many is not None:
            modes[f"pivot_modes_{budget // 1000}k"] = draw_modes(model, from_numpy(many), budget)
        else:
            pictures[f"pivot_{budget // 1000}k"] = draw_stills(x, budget)
    for budget in BUDGETS:
        if shared and weights:
            rank = 2 if budget < 8_000 else 4 if budget < 32_000 else 8
            settings = TuneSettings(steps=STEPS, rank=rank)
            fit = ClipFit(
                model, x, identity.mean(0), motion, settings, budget, step_size(IDENTITY_STEP_CODE), MOTION_STEP
            )
            fit.run()
            pictures[f"delta_{budget // 1000}k"] = draw(model, fit, x)
    if keep is not None and many is not None:
        keep.mkdir(parents=True, exist_ok=True)
        for name, drawn in {"source": many, **modes}.items():
            np.save(keep / f"{name}.npy", drawn)
    region = face_region()
    rows = [(k, v, crops) for k, v in pictures.items()]
    if many is not None:
        rows += [(k, v, many) for k, v in modes.items()]
    table = {k: [psnr(v, true), psnr(v, true, region), ssim(v, true)] for k, v, true in rows}
    return table, [crops, *pictures.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="base-256")
    parser.add_argument("--faces", type=int, default=24)
    parser.add_argument("--only", default="", metavar="NAME,...", help="clips whose names begin so")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--no-weights", dest="weights", action="store_false", help="leave the weight deltas out")
    parser.add_argument("--out", type=Path, default=Path("card.json"))
    parser.add_argument("--pictures", type=Path, help="folder for what was drawn of the clips")
    args = parser.parse_args()
    model = load_model(args.model)
    rows = json.loads((args.data / "faces.json").read_text())
    held = [i for i, r in enumerate(rows) if r["held_out"]]
    faces = np.load(args.data / "faces.npy", mmap_mode="r")[held[:: max(1, len(held) // args.faces)][: args.faces]]
    table: dict[str, dict[str, list[float]]] = {}
    table["held-out faces"], sheet = measure(model, faces, False, args.weights)
    save_sheet(sheet, args.out.with_suffix(".faces.png"))
    frames = np.load(args.data / "frames.npy", mmap_mode="r")
    sheets: list[list[np.ndarray]] = []
    for r in json.loads((args.data / "frames.json").read_text()):
        if r["held_out"] and r["name"].startswith(tuple(args.only.split(","))):
            started = time.time()
            index = r["first"] + np.linspace(0, r["count"] - 1, min(args.frames, r["count"])).astype(int)
            every = r["first"] + np.linspace(0, r["count"] - 1, min(MODE_FRAMES, r["count"])).astype(int)
            table[r["name"]], pictures = measure(
                model, frames[index], True, args.weights, frames[every], args.pictures and args.pictures / r["name"]
            )
            sheets.append([p[:: max(1, len(p) // 2)][:2] for p in pictures])
            print(
                r["name"],
                {k: np.round(v, 2).tolist() for k, v in table[r["name"]].items()},
                f"{time.time() - started:.0f} s",
                flush=True,
            )
            args.out.write_text(json.dumps(table, indent=1))
    save_sheet([np.concatenate(column) for column in zip(*sheets, strict=True)], args.out.with_suffix(".clips.png"))
    args.out.write_text(json.dumps(table, indent=1))
    print(json.dumps(table, indent=1))


def save_sheet(rows: list[np.ndarray], path: Path) -> None:
    """Contact sheet: a row a stage, the source on top, at half size."""
    half = [np.concatenate([p[::2, ::2] for p in row[:16]], 1) for row in rows]
    Image.fromarray(np.concatenate(half, 0)).save(path)


if __name__ == "__main__":
    main()
