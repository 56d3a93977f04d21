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

from ....format.motion import first_levels, trace
from ....format.motioncontexts import ONE, Contexts, MotionContexts, Stills
from ....format.reader import Reader
from ....format.tables import TOTAL_BITS
from ....format.values import level_of, value_bits

Ints = np.ndarray


class Grouped(Contexts):
    """Motion's levels, and every residual under shape 0."""

    GROUPS = MotionContexts.GROUPS


class Alone(Grouped):
    """Every parameter for itself: the groups before say nothing."""

    def saw(self, a: int, b: int, values: Ints) -> None:
        super().saw(a, b, values)
        self._seen = self._expected = ONE


def adaptive(residuals: Ints, kind: type[Contexts]) -> Ints:
    """Bits (m, P) of residuals under contexts of this kind."""
    return value_bits(*trace(residuals, kind(residuals.shape[1], *first_levels(residuals))))


def changes(values: Ints) -> Ints:
    return np.diff(values, axis=0, prepend=0)


def one_level(values: Ints) -> Ints:
    """Bits (m, P) when a parameter has one level for the whole segment, which is sent (7 bits)."""
    levels = level_of((np.abs(values).mean(0) * ONE).astype(np.int64))
    bits = value_bits(values, np.broadcast_to(levels, values.shape))
    bits[0] += 7
    return bits


def flagged(residuals: Ints, kind: type[Contexts]) -> Ints:
    """Bits (m, P) when frames that stand still are flagged; the flags' bits are shared by all parameters."""
    moving: Ints = np.asarray(residuals.any(1))
    moving[:1] = True
    bits, flags = np.zeros(residuals.shape), Stills()
    bits[moving] = adaptive(residuals[moving], kind)
    for t in range(1, len(residuals)):
        bits[t] += (TOTAL_BITS - np.log2(flags.row()[int(not moving[t])])) / residuals.shape[1]
        flags.saw(not moving[t])
    return bits


TOOLS: dict[str, Callable[[Ints], Ints]] = {  # of values (m, P)
    "every frame by itself, a level for each parameter": one_level,
    "+ differences from the frame before": lambda values: one_level(changes(values)),
    "+ levels that follow each parameter": lambda values: adaptive(changes(values), Alone),
    "+ the groups before say how lively the frame is": lambda values: adaptive(changes(values), Grouped),
    "+ frames that stand still are flagged": lambda values: flagged(changes(values), Grouped),
    "+ trained shapes": lambda values: flagged(changes(values), MotionContexts),
}


def measured(file: Path) -> dict[str, np.ndarray]:
    """Bits a frame of each parameter (P,), by tool."""
    total: dict[str, np.ndarray] = {}
    frames = 0
    with open(file, "rb") as stream:
        for segment in Reader(stream).segments():
            assert segment.held is not None
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
