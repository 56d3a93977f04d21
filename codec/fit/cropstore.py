"""The aligned squares of a clip on disk, so that memory does not grow with the clip; 197 KB a frame
at 256."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

import numpy as np
from torch import Tensor

from ..face.light import relit
from ..media.outfile import scratch_file
from ..model.pictures import from_numpy


class CropStore:
    """Squares (S, S, 3), uint8, by the order in which they came.

    Args:
        size: S, pixels.
        beside: a store whose file this one shares; it is closed there.

    Attributes:
        light: row -> gain and offset of its light, with which it is read as if it were lit.
    """

    def __init__(self, size: int, beside: CropStore | None = None):
        self.size, self.bytes = size, size * size * 3
        self._file: BinaryIO = scratch_file() if beside is None else beside._file
        self._owns = beside is None
        self._places: list[int] = []  # in the file
        self.light: dict[int, tuple[float, float]] = {}

    @property
    def count(self) -> int:
        """Squares."""
        return len(self._places)

    def append(self, crop: np.ndarray) -> None:
        self._places.append(self._file.seek(0, 2))
        self._file.write(crop.tobytes())

    def extend(self, other: CropStore) -> None:
        """The squares of a store that shares the file."""
        assert other._file is self._file and not other.light
        self._places += other._places

    def read(self, index: Iterable[int]) -> Tensor:
        """Squares (N, 3, S, S), float32, -1 to 1."""
        rows = []
        for i in index:
            self._file.seek(self._places[int(i)])
            row = np.frombuffer(self._file.read(self.bytes), np.uint8).reshape(self.size, self.size, 3)
            rows.append(relit(row, *self.light[int(i)]) if int(i) in self.light else row)
        return from_numpy(rows)

    def close(self) -> None:
        if self._owns:
            self._file.close()
