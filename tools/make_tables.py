"""Makes the frozen integer tables in `spec/tables/fev-1.txt`; `format/tables.py` reads them and
checks their hash.

Thresholds and the first three shapes come from formulas, in integer arithmetic, so that every
machine makes the same. The other shapes were trained on motion (`tools/lab/train/motiontables.py`)
and are carried over from the file as they are.
`python -m fev.tools.make_tables --check` shows that the file in the repository is the one this text
describes.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

ONE = 1 << 64  # fixed point: 64 fractional bits
TOTAL = 1 << 16  # what the frequencies of a row add up to
EDGE = 15  # symbols 0..30 are the values -15..15; symbol 31 is the escape
ROWS = 36  # a quarter octave apart: mean magnitudes 2**-6 to 2**2.75
LEVELS = 100  # rows 32 to 35 serve the levels above, four to the octave, on the value's upper bits
SYMBOLS = 32
TRAINED = 10
FIRST_EXPONENT = 6  # row 0 is made for a mean magnitude of 2**-6

# Each shape is a mixture of two-sided geometric laws: (weight, factor on the mean magnitude in
# 1/16). Nobody knows the scale exactly, and a mixture of scales has the heavier tail that real
# residuals have.
SHAPES: tuple[tuple[tuple[int, int], ...], ...] = (
    ((4, 8), (8, 14), (4, 28)),  # 0: residuals whose scale is roughly known
    ((16, 16),),  # 1: plain two-sided geometric
    ((8, 4), (5, 16), (3, 48)),  # 2: a spike at zero and a long tail
)


def isqrt_scaled(value: int) -> int:
    """Square root of a 64-bit fixed-point number, rounded down."""
    root = 1 << ((value * ONE).bit_length() // 2 + 1)
    while True:
        closer = (root + value * ONE // root) // 2
        if closer >= root:
            return root
        root = closer


def power_of_two(eighths: int) -> int:
    """2**(eighths/8) in fixed point."""
    value, root = ONE, isqrt_scaled(2 * ONE)
    whole, part = divmod(eighths, 8)
    for bit in (4, 2, 1):
        if part & bit:
            value = value * root // ONE
        root = isqrt_scaled(root)
    return value << whole if whole >= 0 else value >> -whole


def geometric(mean: int) -> list[int]:
    """Fixed-point P(0), P(1), ..., P(15), P(more than 15) of the magnitude under the law p(k) ~
    t**|k|, E|k| = mean.

    E|k| = 2t / (1 - t*t)  gives  t = (sqrt(1 + mean*mean) - 1) / mean.
    """
    t = (isqrt_scaled(ONE + mean * mean // ONE) - ONE) * ONE // mean
    out = [(ONE - t) * ONE // (ONE + t)]
    tail = 2 * out[0] * t // ONE
    for _ in range(EDGE):
        out.append(tail)
        tail = tail * t // ONE
    out.append(ONE - sum(out))
    return out


def row(shape: tuple[tuple[int, int], ...], mean: int) -> list[int]:
    """32 frequencies that add up to TOTAL, none of them zero, the same for v and -v."""
    mixed = [0] * (EDGE + 2)
    for weight, factor in shape:
        for k, p in enumerate(geometric(mean * factor // 16)):
            mixed[k] += weight * p
    whole = sum(mixed)
    side = [max(1, mixed[k] * TOTAL // (2 * whole)) for k in range(1, EDGE + 1)]
    escape = max(1, mixed[EDGE + 1] * TOTAL // whole)
    return [*side[::-1], TOTAL - 2 * sum(side) - escape, *side, escape]


def render(trained: list[list[list[int]]]) -> str:
    """The whole file. Lines of text, so that a stranger can read it without a program.

    trained: shapes of ROWS rows of SYMBOLS frequencies.
    """
    lines = ["fev tables 1", "thresholds"]
    # Means are kept in 1/65536. A mean is of level i when it is at least threshold i - 1 and below
    # threshold i.
    for i in range(LEVELS - 1):
        lines.append(str(power_of_two(2 * i + 1 - 8 * FIRST_EXPONENT) * 65536 // ONE))
    for number, shape in enumerate(SHAPES):
        lines.append(f"shape {number}")
        for i in range(ROWS):
            lines.append(" ".join(map(str, row(shape, power_of_two(2 * i - 8 * FIRST_EXPONENT)))))
    for number, rows in enumerate(trained, len(SHAPES)):
        lines.append(f"shape {number}")
        lines += (" ".join(map(str, frequencies)) for frequencies in rows)
    return "\n".join(lines) + "\n"


def parse(text: str) -> list[list[list[int]]]:
    """The trained shapes of a file. Raises ValueError where they are not rows of frequencies."""
    lines = text.splitlines()[1 + LEVELS + len(SHAPES) * (1 + ROWS) :]
    shapes = [lines[at + 1 : at + 1 + ROWS] for at in range(0, len(lines), 1 + ROWS)]
    trained = [[[int(word) for word in line.split()] for line in shape] for shape in shapes]
    rows = [row for shape in trained for row in shape]
    if len(trained) != TRAINED or len(rows) != TRAINED * ROWS:
        raise ValueError(f"{len(trained)} trained shapes, {len(rows)} rows")
    if any(len(row) != SYMBOLS or sum(row) != TOTAL or min(row) < 1 for row in rows):
        raise ValueError("a trained row does not add up")
    return trained


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make_tables", description="Regenerate the frozen tables of the .fev format.")
    parser.add_argument("--check", action="store_true", help="only compare, exit 1 if the file differs")
    options = parser.parse_args(arguments)
    target = Path(__file__).resolve().parent.parent / "spec" / "tables" / "fev-1.txt"
    made = render(parse(target.read_text("ascii"))).encode("ascii")
    if options.check:
        same = target.read_bytes() == made
        print("same" if same else "different", file=sys.stderr)
        return 0 if same else 1
    target.write_bytes(made)
    print(f"{hashlib.sha256(made).hexdigest()}  {target.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
