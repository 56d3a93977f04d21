"""The frozen integer tables, read from `spec/tables/`. `tools/make_tables.py` made them; nothing
computes them here.

The file's sha256 stands here and in every header: a reader with other tables refuses instead of
decoding nonsense.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import FevError

PATH = Path(__file__).resolve().parent.parent / "spec" / "tables" / "fev-1.txt"
SHA256 = "5af54589447c2b70e842292eb8200e921db9e611f297f4876d8063bb754c4c71"

SYMBOLS = 32  # 0..30 are the values -15..15
ESCAPE = 31
EDGE = 15
LAWS = 3  # shapes made by formula
MOTION_SHAPES = 10  # trained: two for each group of motion parameters, after a residual of zero and after another
SHAPES = LAWS + MOTION_SHAPES
ROWS = 36
LEVELS = 100
TOTAL_BITS = 16  # the frequencies of a row add up to 2**16
MEAN_BITS = 16  # mean magnitudes are integers in units of 2**-16


class Tables(NamedTuple):
    thresholds: NDArray[np.int64]  # (LEVELS - 1,) strictly rising; a mean's level is how many of them it reaches
    frequencies: NDArray[np.int64]  # (SHAPES, ROWS, SYMBOLS)
    bits: NDArray[np.float64]  # (SHAPES, ROWS, SYMBOLS) cost of a symbol. For estimates in the encoder, never to decode


@lru_cache(maxsize=1)
def load() -> Tables:
    """Reads and checks the table file. Raises FevError if the installation is damaged."""
    try:
        data = PATH.read_bytes()
    except OSError as error:
        raise FevError(f"cannot read the entropy tables: {error}") from None
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise FevError(f"the entropy tables {PATH.name} are not the ones this version was built with")
    lines = data.decode("ascii").split("\n")
    thresholds = np.array(lines[2 : 1 + LEVELS], np.int64)
    at = 1 + LEVELS
    shapes = []
    for _ in range(SHAPES):
        words = " ".join(lines[at + 1 : at + 1 + ROWS]).split()
        shapes.append(np.array(words, np.int64).reshape(ROWS, SYMBOLS))
        at += 1 + ROWS
    frequencies = np.stack(shapes)
    return Tables(thresholds, frequencies, TOTAL_BITS - np.log2(frequencies))
