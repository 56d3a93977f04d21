"""Refit the weights that choose a mode value's context (`fev.format.modecontexts.WEIGHTS`) to the modes of .fev files.

For every kind of component and turn, the least squares combination of what is known nearby that predicts a value's
magnitude, each value weighed by one over what is expected of it.  Prints the weights in 1/256.  They are frozen in the
format: other weights are another format.

    python -m fev.tools.lab.train.contexts FILE.fev...
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.optimize import nnls

from ....format.modecontexts import CLAMP, COMPONENTS, ModeContexts, present
from ....format.modes import Modes, components
from ....format.reader import Reader

ROUNDS = 3  # of weighing anew


def samples(modes: Modes) -> dict[tuple[str, int], tuple[list[np.ndarray], list[np.ndarray]]]:
    """By component and turn: rows (n, 7) of what is nearby, and the magnitudes (n,)."""
    out: dict[tuple[str, int], tuple[list[np.ndarray], list[np.ndarray]]] = {}
    parts, contexts = components(modes), ModeContexts()
    for number, (name, _) in enumerate(COMPONENTS):
        for turn in contexts.turns(number, parts, present(parts[number])):
            near, size = out.setdefault((name, turn.odd), ([], []))
            near.append(np.stack([part[turn.mask] for part in turn.nearby], 1))
            size.append(np.minimum(np.abs(turn.now[turn.mask]), CLAMP))
    return out


def fit(near: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Weights (7,), none negative."""
    expected = near.mean(1) + 0.3
    for _ in range(ROUNDS):
        scale = 1 / np.sqrt(expected)
        weights = nnls(near * scale[:, None], size * scale)[0]
        expected = near @ weights + 0.05
    return np.asarray(weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE.fev")
    args = parser.parse_args()
    seen: dict[tuple[str, int], tuple[list[np.ndarray], list[np.ndarray]]] = {}
    for file in args.files:
        with open(file, "rb") as stream:
            modes = Reader(stream).who().modes
        for key, (near, size) in samples(modes).items() if modes is not None else ():
            kept = seen.setdefault(key, ([], []))
            kept[0].extend(near)
            kept[1].extend(size)
    for (name, number), (near, size) in sorted(seen.items()):
        weights = fit(np.concatenate(near).astype(float), np.concatenate(size).astype(float))
        print(name, number, np.round(256 * weights).astype(int).tolist())


if __name__ == "__main__":
    main()
