"""One pass over a clip: follow the face, smooth its placement, cut the aligned squares.

Frames come out in order with a delay of a few frames, because the smoothing looks ahead; memory is
that of those frames.  `fev.codec.encoder` consumes it.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..format.errors import MediaError
from .align import LOOK_AHEAD, FaceTracker, extract, is_aligned_crop, smooth_at
from .aligner import Aligner
from .model import to_numpy

MAX_PLATES = 12
PLATE_PIXELS = 24_000_000  # pixels kept for the background, over all its pictures


@dataclass(frozen=True)
class Seen:
    """A frame after alignment.

    crop: (S, S, 3) uint8, the aligned square; None when the frame is held (no face found).
    placement: (cx, cy, half, angle) in pixels of the frame.
    """

    pts: int
    placement: np.ndarray
    crop: np.ndarray | None


class Survey:
    """Iterate for `Seen`; afterwards `plates` holds sample frames for the background.

    aligned: set when the first frame comes out: the clip already is the aligned square.
    """

    def __init__(self, frames: Iterable[tuple[int, np.ndarray]], net: Aligner, size: int, order: int = 0):
        self.frames, self.size = frames, size
        self.tracker = FaceTracker(net, order)
        self.aligned: bool | None = None
        self.plates: list[np.ndarray] = []
        self.held = 0
        self._stride, self._count = 1, 0

    def __iter__(self) -> Iterator[Seen]:
        leading: list[int] = []  # time stamps of the frames before the first face
        window: deque[tuple[int, np.ndarray, np.ndarray, bool]] = deque()
        past: deque[tuple[np.ndarray, bool]] = deque(maxlen=LOOK_AHEAD)
        self._last: np.ndarray | None = None
        for pts, frame in self.frames:
            self._keep_plate(frame)
            placement, found = self.tracker.step(frame)
            if placement is None:
                leading.append(pts)
                continue
            window.append((pts, frame, placement, found))
            if len(window) > LOOK_AHEAD:
                yield from self._emit(window, past, leading)
        if not window and not self._count:
            raise MediaError("the video has no frames")
        if not window and self._last is None:
            tried = min(len(leading), 3)
            raise MediaError(f"no face found in any of {len(leading)} frames (frames 0 to {tried - 1} tried first)")
        while window:
            yield from self._emit(window, past, leading)

    def _emit(self, window: deque, past: deque, leading: list[int]) -> Iterator[Seen]:
        rows = [p for p, _ in past] + [w[2] for w in window]
        flags = np.array([f for _, f in past] + [w[3] for w in window])
        pts, frame, raw, found = window.popleft()
        height, width = frame.shape[:2]
        if self.aligned is None:
            self.aligned = is_aligned_crop([r for r, f in zip(rows, flags, strict=True) if f], width, height)
        if self.aligned:
            placement = np.array([width / 2, height / 2, width / 2, 0.0])
        else:
            smoothed = smooth_at(np.array(rows), flags, len(past))
            placement = smoothed if smoothed is not None else (raw if self._last is None else self._last)
            if not found and self._last is not None:
                placement = self._last
        past.append((raw, found))
        for early in leading:
            self.held += 1
            yield Seen(early, placement, None)
        leading.clear()
        self._last = placement
        if not found:
            self.held += 1
            yield Seen(pts, placement, None)
            return
        yield Seen(pts, placement, to_numpy(extract(frame, placement, self.size))[0])

    def _keep_plate(self, frame: np.ndarray) -> None:
        """Keep at most MAX_PLATES frames, evenly over what has been seen so far."""
        room = max(3, min(MAX_PLATES, PLATE_PIXELS // (frame.shape[0] * frame.shape[1])))
        if self._count % self._stride == 0:
            self.plates.append(frame)
            if len(self.plates) > room:
                self.plates = self.plates[::2]
                self._stride *= 2
        self._count += 1


class CropStore:
    """Aligned squares on disk, so that memory does not grow with the clip; 197 KB a frame at 256."""

    def __init__(self, size: int):
        self.size, self.bytes = size, size * size * 3
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the store
        self.count = 0

    def append(self, crop: np.ndarray) -> None:
        self._file.seek(0, 2)
        self._file.write(crop.tobytes())
        self.count += 1

    def read(self, index: Iterable[int]) -> Tensor:
        """Squares (N, 3, S, S), float32, -1 to 1."""
        rows = []
        for i in index:
            self._file.seek(int(i) * self.bytes)
            data = np.frombuffer(self._file.read(self.bytes), np.uint8)
            rows.append(data.reshape(self.size, self.size, 3))
        return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).float() / 127.5 - 1

    def close(self) -> None:
        self._file.close()
