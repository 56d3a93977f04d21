"""Train the rows under which motion is coded on the motion of `.fev` files, and write `spec/tables/fev-1.txt`.

Of every residual but those of a segment's first frame: its group, whether the parameter's last residual was zero (else
it is seen in the direction of that one), the row that its level leads to, its symbol.  Counts are shared with the rows
nearby, with the same row of the other groups, and with the law of shape 0, each as if that had been seen WEIGHT times.
The parametric part of the file is `fev.tools.make_tables`'s.  The rows are frozen: others are another format.

    python -m fev.tools.lab.train.motiontables [--test] FILE.fev...
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np

from ....format.motion import motion_plan
from ....format.motioncontexts import MotionContexts
from ....format.reader import Reader
from ....format.tables import EDGE, ESCAPE, LAWS, PATH, ROWS, SYMBOLS, TOTAL_BITS, load
from ....format.values import ROW_OF_LEVEL, SHIFT_OF_LEVEL
from ...make_tables import parse, render

WEIGHT = 60.0
NEAR = (0.7, 0.5, 0.25)  # what counts one, two and three rows away count
TOTAL = 1 << TOTAL_BITS


def counts(file: Path) -> tuple[np.ndarray, int]:
    """Symbols (shapes, rows, symbols) of a file's motion, and its frames."""
    seen, frames = np.zeros((2 * MotionContexts.GROUPS, ROWS, SYMBOLS)), 0
    with open(file, "rb") as stream:
        for segment in Reader(stream).segments():
            frames += len(segment.pts)
            plan = motion_plan(segment.motion, segment.held)
            upper = plan.values >> SHIFT_OF_LEVEL[plan.levels]
            symbols = np.where(np.abs(upper) <= EDGE, upper + EDGE, ESCAPE)
            np.add.at(seen, (plan.shapes[1:] - LAWS, ROW_OF_LEVEL[plan.levels[1:]], symbols[1:]), 1)
    return seen, frames


def even(rows: np.ndarray) -> np.ndarray:
    """The same for v and -v."""
    out: np.ndarray = rows.copy()
    out[..., :ESCAPE] = (rows[..., :ESCAPE] + rows[..., :ESCAPE][..., ::-1]) / 2
    return out


def trained(seen: np.ndarray) -> np.ndarray:
    """Counts -> frequencies of the same shape; those after a residual of zero are the same for v and -v."""
    seen = seen.reshape(MotionContexts.GROUPS, 2, ROWS, SYMBOLS).copy()
    seen[:, 0] = even(seen[:, 0])
    wide = seen.copy()
    for away, weight in enumerate(NEAR, 1):
        wide[..., away:, :] += weight * seen[..., :-away, :]
        wide[..., :-away, :] += weight * seen[..., away:, :]

    def mixed(rows: np.ndarray, prior: np.ndarray) -> np.ndarray:
        out: np.ndarray = (rows + WEIGHT * prior) / (rows.sum(-1, keepdims=True) + WEIGHT)
        return out

    law = mixed(even(wide.sum((0, 1))), load().frequencies[0] / TOTAL)
    chances = mixed(wide, mixed(wide.sum(0), law)).reshape(-1, ROWS, SYMBOLS)
    rows = np.maximum(1, (chances * TOTAL).astype(np.int64))
    rows[..., EDGE] += TOTAL - rows.sum(-1)  # what rounding leaves over goes to the value 0
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.fev")
    parser.add_argument("--test", action="store_true", help="write nothing: what each would gain by the others' rows")
    args = parser.parse_args()
    seen = {file: counts(file) for file in args.files}
    whole = np.sum([rows for rows, _ in seen.values()], 0)
    if args.test:
        law = np.log2(load().frequencies[0])
        for file, (rows, frames) in seen.items():
            saved = float((rows * (np.log2(trained(whole - rows)) - law)).sum())
            spent = float((rows * (TOTAL_BITS - law)).sum())
            print(f"{file.name}: {spent / frames:.2f} bits a frame under shape 0, {saved / frames:.2f} fewer")
        return
    made = render(trained(whole).tolist()).encode("ascii")
    parse(made.decode("ascii"))
    PATH.write_bytes(made)
    print(f"{hashlib.sha256(made).hexdigest()}  {PATH.name}")


if __name__ == "__main__":
    main()
