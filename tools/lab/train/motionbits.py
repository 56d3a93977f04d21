"""What each tool of motion's coding saves, and what each parameter costs: `.fev` files' integers coded otherwise.

    python -m fev.tools.lab.train.motionbits FILE.fev...

Prints bits a frame for every file, estimated as the encoder does, and their mean over the files for every parameter.
The integers are taken as they are: what choosing them by error and bits saves needs the clip (`fev.codec.fit.rdoq`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ....format.adaptive import ONE, Contexts, Stills, bounds, habits
from ....format.motion import FIRST_MOTION, MOTION, Track, shapes_after
from ....format.reader import Reader
from ....format.tables import TOTAL_BITS
from ....format.values import level_of, value_bits

Ints = np.ndarray


class Alone(Contexts):
    """Every parameter for itself: the groups before say nothing."""

    def saw(self, a: int, b: int, magnitudes: Ints) -> None:
        super().saw(a, b, magnitudes)
        self._seen = self._expected = ONE


def adaptive(residuals: Ints, contexts: type[Contexts], track: Track) -> Ints:
    """Bits (m, P) of residuals under levels that follow them."""
    sizes = np.abs(residuals)
    begin = [int(level_of(np.array(int(part.mean() * ONE)))) if part.size else 0 for part in (sizes[:1], 2 * sizes[1:])]
    state = contexts(residuals.shape[1], *begin)
    levels = np.zeros_like(residuals)
    for t in range(len(residuals)):
        for a, b in bounds(residuals.shape[1], track.groups):
            levels[t, a:b] = state.levels(a, b)
            state.saw(a, b, sizes[t, a:b])
        state.end_frame()
    shapes, signs = np.zeros_like(residuals), np.ones_like(residuals)
    if track.trained:
        last = np.concatenate([np.zeros_like(residuals[1:2]), residuals[1:-1]])
        shapes[1:], signs[1:] = shapes_after(last, habits(residuals.shape[1], track.groups))
    return value_bits(residuals * signs, levels, shapes)


def changes(values: Ints) -> Ints:
    return np.diff(values, axis=0, prepend=0)


def one_level(values: Ints) -> Ints:
    """Bits (m, P) when a parameter has one level for the whole segment, which is sent (7 bits)."""
    levels = level_of((np.abs(values).mean(0) * ONE).astype(np.int64))
    bits = value_bits(values, np.broadcast_to(levels, values.shape))
    bits[0] += 7
    return bits


def flagged(residuals: Ints, track: Track) -> Ints:
    """Bits (m, P) when frames that stand still are flagged; the flags' bits are shared by all parameters."""
    moving = residuals.any(1)
    moving[:1] = True
    bits, flags = np.zeros(residuals.shape), Stills()
    bits[moving] = adaptive(residuals[moving], Contexts, track)
    for t in range(1, len(residuals)):
        bits[t] += (TOTAL_BITS - np.log2(flags.row()[int(not moving[t])])) / residuals.shape[1]
        flags.saw(not moving[t])
    return bits


TOOLS: dict[str, Callable[[Ints], Ints]] = {  # of values (m, P)
    "every frame by itself, a level for each parameter": one_level,
    "+ differences from the frame before": lambda values: one_level(changes(values)),
    "+ levels that follow each parameter": lambda values: adaptive(changes(values), Alone, FIRST_MOTION),
    "+ the groups before say how lively the frame is": lambda values: adaptive(changes(values), Contexts, FIRST_MOTION),
    "+ frames that stand still are flagged": lambda values: flagged(changes(values), FIRST_MOTION),
    "+ trained shapes": lambda values: flagged(changes(values), MOTION),
}


def measured(file: Path) -> dict[str, np.ndarray]:
    """Bits a frame of each parameter (P,), by tool."""
    total: dict[str, np.ndarray] = {}
    frames = 0
    with open(file, "rb") as stream:
        for segment in Reader(stream).segments():
            coded = ~segment.held
            coded[0] = True
            values = segment.motion[coded].astype(np.int64)
            for name, coder in TOOLS.items():
                total[name] = total.get(name, np.zeros(values.shape[1])) + coder(values).sum(0)
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
