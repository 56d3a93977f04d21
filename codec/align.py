"""Find the face in every frame and lay the FFHQ square over it; cut that square out.

A placement is a row (cx, cy, half, angle): centre and half side of the square in pixels of the
frame, angle in radians, positive clockwise on the screen.  `fev.codec.aligner` is the network,
`fev.codec.paste` puts the square back.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .aligner import INPUT, Aligner

SMALLEST_FACE = 40  # half side of the FFHQ square in pixels below which a face is not coded
CASCADE_TO_SQUARE = 1.0  # half side of the rough square per side of the cascade's box
WHOLE_FRAME_TOLERANCE = 0.09  # how far the square of an already aligned clip may be off, in half sides


def sampling_grid(placement: np.ndarray, size: int, width: int, height: int) -> Tensor:
    """Grid for `grid_sample` that reads (N, 4) placements out of a width x height frame."""
    cx, cy, half, angle = np.asarray(placement, np.float64).T
    v = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = np.meshgrid(v, v)
    c, s = (half * np.cos(angle))[:, None, None], (half * np.sin(angle))[:, None, None]
    px = cx[:, None, None] + c * x - s * y
    py = cy[:, None, None] + s * x + c * y
    return torch.from_numpy(np.stack([px / width * 2 - 1, py / height * 2 - 1], 3).astype(np.float32))


def extract(frame: np.ndarray, placement: np.ndarray, size: int) -> Tensor:
    """Cut squares out of one frame: (H, W, 3) uint8 and (N, 4) placements -> (N, 3, size, size), -1 to 1.

    Large squares are shrunk by area averaging first, so that no detail aliases; outside the frame
    the border repeats.
    """
    placement = np.atleast_2d(placement)
    height, width = frame.shape[:2]
    cx, cy, half, angle = placement.T
    reach = half * (np.abs(np.cos(angle)) + np.abs(np.sin(angle))) + 2
    left, right = int(max(0, (cx - reach).min())), int(min(width, (cx + reach).max() + 1))
    top, bottom = int(max(0, (cy - reach).min())), int(min(height, (cy + reach).max() + 1))
    if right - left < 2 or bottom - top < 2:
        left, top, right, bottom = 0, 0, width, height
    factor = max(1, int(2 * half.min() / size))
    right, bottom = left + max(1, (right - left) // factor) * factor, top + max(1, (bottom - top) // factor) * factor
    part = frame[top : min(bottom, height), left : min(right, width)]
    x = torch.from_numpy(np.ascontiguousarray(part)).permute(2, 0, 1)[None].float() / 127.5 - 1
    if factor > 1:
        x = F.avg_pool2d(x, factor)
    local = placement.copy()
    local[:, 0] -= left
    local[:, 1] -= top
    grid = sampling_grid(local / np.array([factor, factor, factor, 1.0]), size, x.shape[3], x.shape[2])
    return F.grid_sample(x.expand(len(placement), -1, -1, -1), grid, padding_mode="border", align_corners=False)


def compose(rough: np.ndarray, params: np.ndarray) -> np.ndarray:
    """Placements of the rough squares and the network's (a, b, cx, cy) -> refined placements."""
    cx, cy, half, angle = rough.T
    a, b, px, py = params[:, :4].T
    c, s = half * np.cos(angle), half * np.sin(angle)
    return np.stack([cx + c * px - s * py, cy + s * px + c * py, half * np.hypot(a, b), angle + np.arctan2(b, a)], 1)


class FaceTracker:
    """Follows one face through a clip, frame by frame.

    `order` chooses the face by size in the first frame that shows any (0 is the largest).
    """

    def __init__(self, net: Aligner, order: int = 0):
        self.net = net.eval()
        self.order = order
        self.last: np.ndarray | None = None
        self.lost = 0
        self._cascade = None

    @torch.no_grad()
    def refine(self, frame: np.ndarray, rough: np.ndarray, rounds: int) -> tuple[np.ndarray, np.ndarray]:
        """Run the aligner `rounds` times from (N, 4) rough squares; returns placements and confidences."""
        confidence = np.zeros(len(rough))
        for _ in range(rounds):
            rough = rough.copy()
            rough[:, 2] = np.clip(rough[:, 2], 8, 4 * max(frame.shape))
            rough[:, :2] = np.clip(rough[:, :2], 0, (frame.shape[1], frame.shape[0]))
            out = self.net(extract(frame, rough, INPUT)).double().numpy()
            rough, confidence = compose(rough, out), out[:, 4]
        return rough, confidence

    def detect(self, frame: np.ndarray) -> list[np.ndarray]:
        """All faces of a frame as placements, the largest first."""
        rough = self._cascade_boxes(frame)
        if not rough:
            rough = self._scan(frame)
        found: list[np.ndarray] = []
        if rough:
            placement, confidence = self.refine(frame, np.array(rough), 3)
            order = np.argsort(-placement[:, 2])
            for i in order:
                p = placement[i]
                if confidence[i] < 0 or p[2] < SMALLEST_FACE or abs(p[3]) > 1.2:
                    continue
                if all(np.hypot(*(p[:2] - q[:2])) > 0.7 * max(p[2], q[2]) for q in found):
                    found.append(p)
        return found

    def _cascade_boxes(self, frame: np.ndarray) -> list[list[float]]:
        from skimage.data import lbp_frontal_face_cascade_filename
        from skimage.feature import Cascade

        if self._cascade is None:
            self._cascade = Cascade(lbp_frontal_face_cascade_filename())
        factor = max(1, int(max(frame.shape[:2]) / 360))
        small = frame[: frame.shape[0] // factor * factor, : frame.shape[1] // factor * factor]
        grey = small.mean(2).reshape(small.shape[0] // factor, factor, small.shape[1] // factor, factor).mean((1, 3))
        side = min(grey.shape)
        boxes = self._cascade.detect_multi_scale(grey.astype(np.uint8), 1.2, 1, (max(24, side // 12),) * 2, (side,) * 2)
        return [
            [
                (b["c"] + b["width"] / 2) * factor,
                (b["r"] + b["height"] / 2) * factor,
                b["width"] * factor * CASCADE_TO_SQUARE,
                0.0,
            ]
            for b in boxes
        ]

    def _scan(self, frame: np.ndarray) -> list[list[float]]:
        """Rough squares from the network's own confidence, where the cascade sees nothing (profiles)."""
        height, width = frame.shape[:2]
        side = min(height, width)
        squares: list[list[float]] = []
        for share in (0.5, 0.33, 0.22):
            half = side * share
            xs = np.linspace(min(half, width / 2), max(width - half, width / 2), max(1, round(width / half)))
            ys = np.linspace(min(half, height / 2), max(height - half, height / 2), max(1, round(height / half)))
            squares += [[x, y, half, 0.0] for y in ys for x in xs]
        _, confidence = self.refine(frame, np.array(squares), 1)
        best = np.argsort(-confidence)[:4]
        return [squares[i] for i in best if confidence[i] > 0]

    def step(self, frame: np.ndarray) -> tuple[np.ndarray | None, bool]:
        """Placement in the next frame and whether the face was found; None before the first face."""
        if self.last is not None:
            rough = self.last[None].copy()
            placement, confidence = self.refine(frame, rough, 2)
            if confidence[0] > 0 and self._plausible(placement[0], frame):
                self.last, self.lost = placement[0], 0
                return self.last, True
        self.lost += 1
        if self.last is None or self.lost <= 3 or self.lost % 8 == 0:
            faces = self.detect(frame)
            if faces and self.last is None:
                self.last = faces[min(self.order, len(faces) - 1)]
                return self.last, True
            if faces:
                nearest = min(faces, key=lambda p: float(np.hypot(*(p[:2] - self.last[:2]))))
                if np.hypot(*(nearest[:2] - self.last[:2])) < 1.5 * self.last[2]:
                    self.last, self.lost = nearest, 0
                    return self.last, True
        return self.last, False

    def _plausible(self, p: np.ndarray, frame: np.ndarray) -> bool:
        """A step from one frame to the next that a head can make, and a square that is in the frame."""
        q = self.last
        assert q is not None
        height, width = frame.shape[:2]
        inside = -0.2 * width < p[0] < 1.2 * width and -0.2 * height < p[1] < 1.2 * height
        return bool(
            inside
            and p[2] > SMALLEST_FACE / 2
            and np.hypot(p[0] - q[0], p[1] - q[1]) < 0.5 * q[2]
            and 0.7 < p[2] / q[2] < 1.4
        )


SIGMA = (1.2, 1.2, 2.5, 2.5)  # of the smoothing, in frames: centre x and y, size, angle
LOOK_AHEAD = 7  # frames that the smoothing sees on both sides


def smooth_at(placement: np.ndarray, found: np.ndarray, at: int) -> np.ndarray | None:
    """Smoothed placement at row `at` of a window of rows, or None if the window shows no face.

    A straight line is fitted through the found rows with Gaussian weights, so that a moving head is
    followed without lag, at the ends of a clip too, and frames without a face are bridged.
    """
    if not found.any():
        return None
    time = np.arange(len(placement), dtype=np.float64) - at
    rows = placement.copy()
    rows[:, 2] = np.log(np.maximum(rows[:, 2], 1.0))
    out = np.empty(4)
    for k in range(4):
        weight = np.exp(-0.5 * (time / SIGMA[k]) ** 2) * found + 1e-12 * found
        total = weight.sum()
        t, y = (weight * time).sum() / total, (weight * rows[:, k]).sum() / total
        spread = (weight * (time - t) ** 2).sum()
        slope = (weight * (time - t) * (rows[:, k] - y)).sum() / spread if spread > 1e-6 * total else 0.0
        # a line may bridge a gap, not shoot far beyond it
        out[k] = y - slope * np.clip(t, -2 * SIGMA[k], 2 * SIGMA[k])
    out[2] = np.exp(out[2])
    return out


def smooth(placement: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Smoothed placements (N, 4) of a whole track; rows without a face near them keep the last one."""
    out = placement.copy()
    for i in range(len(out)):
        low, high = max(0, i - LOOK_AHEAD), i + LOOK_AHEAD + 1
        row = smooth_at(placement[low:high], found[low:high], i - low)
        out[i] = row if row is not None else out[max(0, i - 1)]
    return out


def is_aligned_crop(placements: Sequence[np.ndarray], width: int, height: int) -> bool:
    """Whether a square clip already is the FFHQ square, so that the whole frame is to be coded as it is."""
    if width != height or not len(placements):
        return False
    half = width / 2
    rows = np.array(placements)
    off = np.stack([rows[:, 0] / half - 1, rows[:, 1] / half - 1, np.log(rows[:, 2] / half), rows[:, 3]], 1)
    return bool((np.abs(np.median(off, 0)) < WHOLE_FRAME_TOLERANCE * np.array([1, 1, 1.5, 1])).all())
