"""One pivot of at most 2.5 KB, whole clips that were never trained on: what an animator makes of them.

    python -m fev.tools.lab.animator.evaluate --data DIR --run RUN --out DIR [--steps 6] [--shared]

Writes reference and drawn squares of every clip as arrays for an outside scorer, a contact sheet of
each, and the PSNR of square and face.  `--shared` draws with the built-in model's shared modes
instead, as `fast` did before there was an animator.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ....codec.draw.pivot import pivot_picture
from ....codec.draw.render import Renderer
from ....codec.draw.units import DEFAULT_QUALITY, IDENTITY_STEP_CODE, motion_step_code
from ....codec.face.portrait import best_frame
from ....codec.face.regions import attention, head
from ....codec.fit.loss import fitting_loss
from ....codec.fit.motion import fit_motion, quantise_motion
from ....codec.fit.pivotcoding import code_pivot
from ....codec.model.animator import Animator, PivotFeatures
from ....codec.model.devices import pick_dtype
from ....codec.model.modelfile import load_model
from ....codec.model.pictures import LEVELS_PER_UNIT, from_numpy, to_numpy
from ....format.still import Pivot
from .checkpoint import read_slim
from .sheet import save_rows

PIVOT = 2_500
BATCH = 16


def load(run: Path) -> Animator:
    """The averaged animator of a run."""
    animator = Animator()
    if (run / "state.pt").exists():
        animator.load_state_dict(torch.load(run / "state.pt", map_location="cpu", weights_only=True)["average"])
    else:
        animator.load_state_dict(read_slim(run)[0])
    return animator.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def refine(animator: Animator, seen: PivotFeatures, frames: Tensor, change: Tensor, steps: int, size: int) -> Tensor:
    """Some steps of Adam on the parameters of frames (N, 3, 256, 256), through the renderer."""
    change = change.clone().requires_grad_()
    optimiser = torch.optim.Adam([change], lr=0.1)
    truth = F.interpolate(frames, size=size, mode="area")
    weight = attention(size)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 0.1 * (1 - step / steps) + 0.01
        loss = fitting_loss(animator.draw(seen, change, size).picture, truth, weight) * len(frames)
        (gradient,) = torch.autograd.grad(loss, change)
        change.grad = gradient
        optimiser.step()
    return change.detach()


def animate(animator: Animator, pivot: Tensor, clean: Tensor, frames: np.ndarray, steps: int, size: int) -> np.ndarray:
    """Squares (N, 256, 256, 3) drawn from the pivot (1, 3, 256, 256)."""
    dtype = pick_dtype(torch.device("cpu"))
    out = []
    with torch.no_grad():
        seen, exact = animator.look(pivot, dtype=dtype), animator.look(pivot)
        rest = animator.motion(clean)
    for first in range(0, len(frames), BATCH):
        here = from_numpy(frames[first : first + BATCH])
        with torch.no_grad():
            change = animator.motion(here) - rest
        if steps:
            change = refine(animator, exact, here, change, steps, size)
        with torch.no_grad():
            out.append(to_numpy(animator.draw(seen, change, dtype=dtype).picture))
    return np.concatenate(out)


def stretch(coded: Pivot, clean: Tensor, frames: np.ndarray) -> np.ndarray:
    """The same by the shared modes of the built-in model, fitted as `fast` does."""
    from ....codec.fit.effort import FAST
    from ....codec.fit.reading import InverterReading

    model, code = load_model(), motion_step_code(DEFAULT_QUALITY)
    reference = quantise_motion(InverterReading.of(model, clean).moves[0], code)
    renderer = Renderer(
        model, np.zeros(1, np.int32), [], None, replace(coded, reference=tuple(map(int, reference))),
        identity_step_code=IDENTITY_STEP_CODE, motion_step_code=code, dtype=torch.float32,
    )  # fmt: skip
    out, before = [], None
    for first in range(0, len(frames), BATCH):
        here = from_numpy(frames[first : first + BATCH])
        motion = fit_motion(renderer, here, InverterReading.of(model, here).moves, FAST.pivot_motion, before)
        before = motion[-1]
        with torch.no_grad():
            out.append(to_numpy(renderer.draw_values(motion)))
    return np.concatenate(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=0, help="of Adam on every frame's parameters")
    parser.add_argument("--size", type=int, default=128, help="of the pictures that these look at")
    parser.add_argument("--frames", type=int, default=240, help="at most of a clip")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--clips", default="*")
    parser.add_argument("--shared", action="store_true")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    animator = None if args.shared else load(args.run)
    mask = head(256)
    table = {}
    for path in sorted((args.data / "held_out").glob(args.clips + ".npy")):
        frames = np.load(path)[: args.frames * args.every : args.every]
        spread = np.linspace(0, len(frames) - 1, min(32, len(frames))).round().astype(int)
        clean = from_numpy(frames[spread[best_frame(from_numpy(frames[spread]))]][None])
        coded = code_pivot(clean[0], np.zeros(1, np.int32), PIVOT, thorough=False)
        assert coded is not None
        pivot = pivot_picture(coded, 256)
        if animator is None:
            drawn = stretch(coded, clean, frames)
        else:
            drawn = animate(animator, pivot, clean, frames, args.steps, args.size)
        np.save(args.out / f"{path.stem}.ref.npy", frames)
        np.save(args.out / f"{path.stem}.dec.npy", drawn)
        error = ((from_numpy(drawn) - from_numpy(frames)) * LEVELS_PER_UNIT).square().mean(1)  # (N, S, S)
        whole = (10 * torch.log10(255**2 / error.mean((1, 2)))).mean().item()
        face = (10 * torch.log10(255**2 * mask.sum() / (error * mask).sum((1, 2)))).mean().item()
        table[path.stem] = {"frames": len(frames), "psnr": whole, "head_psnr": face}
        shown = np.linspace(0, len(frames) - 1, 8).round().astype(int)
        save_rows([from_numpy(frames[shown]), from_numpy(drawn[shown])], args.out / f"{path.stem}.png")
        print(f"{path.stem}: {len(frames)} frames, {whole:.2f} dB, head {face:.2f} dB", flush=True)
    (args.out / "table.json").write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
