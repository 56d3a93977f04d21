"""The aligned squares of a clip on disk, so that memory does not grow with the clip; 197 KB a frame
at 256."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from torch import Tensor

from ..face.light import relit
from ..media.outfile import scratch_file
from ..model.pictures import from_numpy


class CropStore:
    """Squares (S, S, 3), uint8, by the order in which they came.

    Args:
        size: S, pixels.

    Attributes:
        count: of the squares.
        light: row -> gain and offset of its light, with which it is read as if it were lit.
    """

    def __init__(self, size: int):
        self.size, self.bytes = size, size * size * 3
        self._file = scratch_file()
        self.count = 0
        self.light: dict[int, tuple[float, float]] = {}  # row -> gain and offset of its light

    def append(self, crop: np.ndarray) -> None:
        self._file.seek(0, 2)
        self._file.write(crop.tobytes())
        self.count += 1

    def read(self, index: Iterable[int]) -> Tensor:
        """Squares (N, 3, S, S), float32, -1 to 1."""
        rows = []
        for i in index:
            self._file.seek(int(i) * self.bytes)
            row = np.frombuffer(self._file.read(self.bytes), np.uint8).reshape(self.size, self.size, 3)
            rows.append(relit(row, *self.light[int(i)]) if int(i) in self.light else row)
        return from_numpy(rows)

    def close(self) -> None:
        self._file.close()
