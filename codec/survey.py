"""One pass over a clip: follow the face, smooth its placement, cut the aligned squares.

Frames come out in order with a delay of a few frames, because the smoothing looks ahead; memory is
that of those frames.  `fev.codec.encoder` consumes it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..format.errors import MediaError
from .align import LOOK_AHEAD, FaceTracker, compose, extract, is_aligned_crop, smooth_at
from .aligner import Aligner
from .frame import Frame
from .model import to_numpy
from .notices import Notices
from .outfile import scratch_file
from .paper.registration import Registration, similarity
from .paper.selection import blinking, opening

LOOK = 128  # side of the squares in which blinks are looked for
MAX_PLATES = 12
NO_PICTURE = np.zeros((0, 0, 3), np.uint8)
PLATE_PIXELS = 24_000_000  # pixels kept for the background, over all its pictures


@dataclass(frozen=True)
class Seen:
    """A frame after alignment.

    crop: (S, S, 3) uint8, the aligned square; None when the frame is held (no face found).
    placement: (cx, cy, half, angle) in pixels of the frame.
    damaged: the decoder concealed something in the picture.
    """

    pts: int
    placement: np.ndarray
    crop: np.ndarray | None
    damaged: bool = False


class Survey:
    """Iterate for `Seen`; afterwards `plates` holds sample frames for the background.

    aligned: set when the first frame comes out: the clip already is the aligned square.
    registration: moves every square to where its key frame's lies on the face (paper, stage 1); frames that blink then
    have no say in where the squares lie.
    """

    def __init__(
        self,
        frames: Iterable[Frame],
        net: Aligner,
        size: int,
        order: int = 0,
        registration: Registration | None = None,
        notices: Notices | None = None,
    ):
        self.frames, self.size, self.registration = frames, size, registration
        self.tracker = FaceTracker(net, order)
        self.aligned: bool | None = None
        self.plates: list[np.ndarray] = []
        self.notices = Notices() if notices is None else notices
        self._stride, self._count, self._out = 1, 0, 0

    @property
    def held(self) -> int:
        """Frames without a face, so far."""
        return self.notices["held"]

    def __iter__(self) -> Iterator[Seen]:
        leading: list[Frame] = []  # the frames before the first face, without their pictures
        window: deque[tuple[Frame, np.ndarray, bool, float]] = deque()
        past: deque[tuple[np.ndarray, bool, float]] = deque(maxlen=LOOK_AHEAD)
        self._last: np.ndarray | None = None
        for frame in self.frames:
            self._keep_plate(frame.rgb)
            placement, found = self.tracker.step(frame.rgb)
            if placement is None:
                leading.append(replace(frame, rgb=NO_PICTURE))
                continue
            window.append((frame, placement, found, self._opening(frame.rgb, placement)))
            if len(window) > LOOK_AHEAD:
                yield from self._emit(window, past, leading)
        if not window and not self._count:
            raise MediaError("the video has no frames")
        if not window and self._last is None:
            tried = min(len(leading), 3)
            raise MediaError(f"no face found in any of {len(leading)} frames (frames 0 to {tried - 1} tried first)")
        while window:
            yield from self._emit(window, past, leading)

    def _emit(self, window: deque, past: deque, leading: list[Frame]) -> Iterator[Seen]:
        rows = [p for p, _, _ in past] + [w[1] for w in window]
        flags = np.array([f for _, f, _ in past] + [w[2] for w in window])
        eyes = [e for _, _, e in past] + [w[3] for w in window]
        frame, raw, found, eye = window.popleft()
        height, width = frame.rgb.shape[:2]
        if self.aligned is None:
            self.aligned = is_aligned_crop([r for r, f in zip(rows, flags, strict=True) if f], width, height)
        if self.aligned:
            placement = np.array([width / 2, height / 2, width / 2, 0.0])
        else:
            smoothed = smooth_at(np.array(rows), self._trusted(flags, eyes), len(past))
            placement = smoothed if smoothed is not None else (raw if self._last is None else self._last)
            if not found and self._last is not None:
                placement = self._last
        past.append((raw, found, eye))
        square = extract(frame.rgb, placement, self.size) if found else None
        if square is not None and self.registration is not None and not self.aligned:
            moved = self.registration.step(self._out + len(leading), square[0])
            if moved.residual:  # not a key frame
                placement = compose(placement[None], similarity(moved.affine)[None])[0]
                square = extract(frame.rgb, placement, self.size)
        for early in leading:
            self.notices.add("held")
            self._out += 1
            yield Seen(early.pts, placement, None, early.damaged)
        leading.clear()
        self._last = placement
        self._out += 1
        if square is None:
            self.notices.add("held")
            yield Seen(frame.pts, placement, None, frame.damaged)
            return
        yield Seen(frame.pts, placement, to_numpy(square)[0], frame.damaged)

    def _opening(self, frame: np.ndarray, placement: np.ndarray) -> float:
        """How open the eyes are, where somebody asks."""
        if self.registration is None:
            return float("nan")
        return float(opening(extract(frame, placement, LOOK))[0])

    def _trusted(self, found: np.ndarray, eyes: list[float]) -> np.ndarray:
        """Frames of a window whose placement counts: a face was found and, where that is known, it does not blink."""
        if self.registration is None:
            return found
        steady = found & ~blinking(torch.tensor(eyes)).numpy()
        return steady if steady.any() else found

    @property
    def key_frames(self) -> list[int]:
        """Numbers of the frames that others are registered to, so far."""
        return [] if self.registration is None else self.registration.keys

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
        self._file = scratch_file()
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
