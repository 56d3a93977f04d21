"""What each tool of the motion's coding saves, and what each parameter costs: the integers of `.fev` files coded otherwise.

    python -m fev.tools.train.motionbits FILE.fev...

Prints bits a frame for every file, estimated as the encoder does, and their mean over the files for every parameter.  The
integers are taken as they are: what choosing them by error and bits saves needs the clip (`fev.codec.rdoq`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ...format.adaptive import ONE, Contexts, bounds
from ...format.motion import FIRST_MOTION, MOTION, Track, motion_plan, shapes_after
from ...format.reader import Reader
from ...format.values import level_of, value_bits

Ints = np.ndarray


class Alone(Contexts):
    """Every parameter for itself: the groups before say nothing."""

    def saw(self, a: int, b: int, residuals: Ints) -> None:
        super().saw(a, b, residuals)
        self._seen = self._expected = ONE


def adaptive(residuals: Ints, contexts: type[Contexts], track: Track) -> Ints:
    """Bits (m, P) of residuals under levels that follow them."""
    sizes = np.abs(residuals)
    begin = [int(level_of(np.array(int(part.mean() * ONE)))) if part.size else 0 for part in (sizes[:1], 2 * sizes[1:])]
    state = contexts(residuals.shape[1], *begin)
    levels, last = np.zeros_like(residuals), np.zeros_like(residuals)
    for t in range(len(residuals)):
        last[t] = state.last
        for a, b in bounds(residuals.shape[1], track.groups):
            levels[t, a:b] = state.levels(a, b)
            state.saw(a, b, residuals[t, a:b])
        state.end_frame()
    shapes, signs = shapes_after(last, track)
    shapes[:1] = 0
    return value_bits(residuals * signs, levels, shapes)


def one_level(values: Ints) -> Ints:
    """Bits (m, P) when a parameter has one level for the whole segment, which is sent (7 bits)."""
    levels = level_of((np.abs(values).mean(0) * ONE).astype(np.int64))
    bits = value_bits(values, np.broadcast_to(levels, values.shape))
    bits[0] += 7
    return bits


TOOLS: dict[str, Callable[[Ints, Ints], Ints]] = {
    "every frame by itself, a level for each parameter": lambda values, residuals: one_level(values),
    "+ differences from the frame before": lambda values, residuals: one_level(residuals),
    "+ levels that follow each parameter": lambda values, residuals: adaptive(residuals, Alone, FIRST_MOTION),
    "+ the groups before say how lively the frame is": lambda v, residuals: adaptive(residuals, Contexts, FIRST_MOTION),
    "+ trained shapes": lambda values, residuals: adaptive(residuals, Contexts, MOTION),
}


def measured(file: Path) -> dict[str, np.ndarray]:
    """Bits a frame of each parameter (P,), by tool."""
    total: dict[str, np.ndarray] = {}
    frames = 0
    with open(file, "rb") as stream:
        for segment in Reader(stream).segments():
            plan = motion_plan(segment.motion, segment.held)
            values = segment.motion[plan.frames].astype(np.int64)
            for name, coder in TOOLS.items():
                total[name] = total.get(name, np.zeros(values.shape[1])) + coder(values, plan.residuals).sum(0)
            frames += len(segment.pts)
    return {name: bits / max(1, frames) for name, bits in total.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.fev")
    args = parser.parse_args()
    found = {file.stem: measured(file) for file in args.files}
    print("| bits a frame | " + " | ".join(found) + " | mean |\n| --- |" + " --- |" * (len(found) + 1))
    for name in TOOLS:
        row = [bits[name].sum() for bits in found.values()]
        print(f"| {name} | " + " | ".join(f"{bits:.1f}" for bits in (*row, np.mean(row))) + " |")
    print("\nOf these, by parameter: " + ", ".join(f"{b:.2f}" for b in np.mean([b[name] for b in found.values()], 0)))


if __name__ == "__main__":
    main()
