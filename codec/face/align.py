"""Find the face in every frame and lay the FFHQ square over it; cut that square out.

A placement is a row (cx, cy, half, angle): centre and half side of the square in pixels of the
frame, angle in radians, positive clockwise on the screen.  `fev.codec.model.aligner` is the
network, `fev.codec.face.paste` puts the square back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..model.aligner import INPUT, Aligner
from ..model.pictures import LEVELS_PER_UNIT
from .people import People
from .person import Person

LOOKS = 4  # frames between looks over the whole picture for a face that is not there
FIRST_LOOKS = 25  # frames at the start that are all looked over
CLEAR = 4.5  # confidence of what is surely a face; real ones mostly have 5, other things seldom 3
CONFIRMED = 8  # frames for which a face must be followed to be the one: none of them has left the survey yet
PATIENCE = 3  # lost frames for which the face is looked for in all of the picture, in every one
UNCHECKED = 2  # frames in a row that are followed without comparing the face with the person
SEEN_ENOUGH = 0.8  # share of the inner face inside the picture from which on it can be compared
INNER = 0.7  # half side of the inner face in the square
APART = 0.7  # half sides between the centres of two faces
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
    """Cut squares out of one frame: (H, W, 3) uint8 and (N, 4) placements -> (N, 3, size, size), -1
    to 1.

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
    x = shrunk(part, factor)
    local = placement.copy()
    local[:, 0] -= left
    local[:, 1] -= top
    grid = sampling_grid(local / np.array([factor, factor, factor, 1.0]), size, x.shape[3], x.shape[2])
    return F.grid_sample(x.expand(len(placement), -1, -1, -1), grid, padding_mode="border", align_corners=False)


def shrunk(part: np.ndarray, factor: int) -> Tensor:
    """(H, W, 3) uint8, averaged over blocks of `factor` pixels -> (1, 3, H // factor, W // factor),
    -1 to 1.

    Whole numbers are summed, a quarter of the time that pooling takes.
    """
    height, width = (side // factor * factor for side in part.shape[:2])
    x = torch.from_numpy(np.ascontiguousarray(part[:height, :width]))
    x = x.to(torch.int16 if factor * factor * 255 < 1 << 15 else torch.int32)
    for _ in range(2):  # rows, then columns
        total = x[::factor].clone()
        for i in range(1, factor):
            total += x[i::factor]
        x = total.transpose(0, 1)
    return (x.permute(2, 0, 1).float().contiguous() / (factor * factor * LEVELS_PER_UNIT) - 1)[None]


def compose(rough: np.ndarray, params: np.ndarray) -> np.ndarray:
    """Placements of the rough squares and the network's (a, b, cx, cy) -> refined placements."""
    cx, cy, half, angle = rough.T
    a, b, px, py = params[:, :4].T
    c, s = half * np.cos(angle), half * np.sin(angle)
    return np.stack([cx + c * px - s * py, cy + s * px + c * py, half * np.hypot(a, b), angle + np.arctan2(b, a)], 1)


def inside(placement: np.ndarray, width: int, height: int) -> float:
    """Share of the inner face that lies inside the picture, 0 to 1."""
    cx, cy, half, angle = placement
    v = (np.arange(16) + 0.5) / 8 - 1
    x, y = np.meshgrid(v * INNER * half, v * INNER * half)
    px = cx + np.cos(angle) * x - np.sin(angle) * y
    py = cy + np.sin(angle) * x + np.cos(angle) * y
    return float(((px >= 0) & (px < width) & (py >= 0) & (py < height)).mean())


def apart(placement: np.ndarray, others: Sequence[np.ndarray]) -> bool:
    """Whether a placement is of another face than those."""
    return all(np.hypot(*(placement[:2] - q[:2])) > APART * max(placement[2], q[2]) for q in others)


class FaceTracker:
    """Follows one face through a clip, frame by frame.

    Args:
        order: chooses the face by size in the first frame that shows so many (0 is the largest).
        person: tells that face from those of others; without one any face goes on where the last
            was.
        people: who was in the shots before; one of them goes before the largest face.
        begin: placement of the face in the first frame, where that is known.
        others: placements of the faces that somebody else follows; they are left alone.

    Attributes:
        other: after a step: a face was seen that is not the person's.
        doubtful: after a step: how many of the frames before it may have followed that one.
        restarted: after a step: what was followed so far was no face.
        most: how many faces one frame has shown at most before the first was chosen.
    """

    def __init__(
        self,
        net: Aligner,
        order: int = 0,
        person: Person | None = None,
        people: People | None = None,
        begin: np.ndarray | None = None,
        others: Callable[[], list[np.ndarray]] = list,
    ):
        self.net = net.eval()
        self.order, self.person, self.people, self.others = order, person, people, others
        self.last = begin
        self.lost = self.doubtful = self.most = 0
        self.other = False
        self._waited = self._unsure = self._followed = 0
        self.restarted = False
        self._sure: np.ndarray | None = None  # the last placement of a face that was compared
        self._cascade: Any = None  # made when it is first needed

    @torch.no_grad()
    def refine(self, frame: np.ndarray, rough: np.ndarray, rounds: int) -> tuple[np.ndarray, np.ndarray]:
        """Run the aligner `rounds` times from (N, 4) rough squares; returns placements and
        confidences.
        """
        confidence = np.zeros(len(rough))
        for _ in range(rounds):
            rough = rough.copy()
            rough[:, 2] = np.clip(rough[:, 2], 8, 4 * max(frame.shape))
            rough[:, :2] = np.clip(rough[:, :2], 0, (frame.shape[1], frame.shape[0]))
            out = self.net(extract(frame, rough, INPUT)).double().numpy()
            rough, confidence = compose(rough, out), out[:, 4]
        return rough, confidence

    def detect(self, frame: np.ndarray, least: float = 0.0) -> list[np.ndarray]:
        """All faces of a frame as placements, the largest first.

        Args:
            least: confidence that they must have.
        """
        rough = self._cascade_boxes(frame)
        if not rough:
            rough = self._scan(frame)
        found: list[np.ndarray] = []
        if rough:
            placement, confidence = self.refine(frame, np.array(rough), 3)
            order = np.argsort(-placement[:, 2])
            for i in order:
                p = placement[i]
                if confidence[i] < least or p[2] < SMALLEST_FACE or abs(p[3]) > 1.2:
                    continue
                if apart(p, found):
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
        """Rough squares from the network's own confidence, where the cascade sees nothing
        (profiles).
        """
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

    def step(self, frame: np.ndarray, sudden: bool = False) -> tuple[np.ndarray | None, bool]:
        """Placement in the next frame and whether the face was found; None before the first face.

        Args:
            sudden: the picture is another one than before, so that nothing is known of where the
                face is.
        """
        self.restarted = False
        if self.last is None:
            return self._first(frame)
        self.doubtful = 0
        if not sudden:
            placement, confidence = self.refine(frame, self.last[None].copy(), 2)
            if confidence[0] > 0 and self._plausible(placement[0], frame) and self._is_free(placement[0]):
                due = self.lost > 0 or self._unsure >= UNCHECKED
                if not due or self._is_person(frame, placement)[0]:
                    return self._at(placement[0], compared=due), True
                self.other, self.doubtful = True, self._unsure
                self._unsure, self.last = 0, self._sure
        if self._followed < CONFIRMED and not sudden:
            return self._restart(frame)
        self.lost, self._unsure = self.lost + 1, 0
        if sudden or self.lost <= PATIENCE or self.lost % LOOKS == 0:
            again = self._again(frame, sudden)
            if again is not None:
                return self._at(again, compared=True), True
        return self.last, False

    def _restart(self, frame: np.ndarray) -> tuple[np.ndarray | None, bool]:
        """Choose again: what is lost so soon was a hand or a picture on the wall."""
        self.last, self._followed, self.restarted = None, 0, True
        self.other, self.doubtful = False, 0
        if self.person is not None:
            self.person.forget()
        return self._first(frame)

    def _first(self, frame: np.ndarray) -> tuple[np.ndarray | None, bool]:
        self._waited += 1
        if self._waited > FIRST_LOOKS and self._waited % LOOKS:
            return None, False
        # a hand that is taken for a face would be followed for the whole clip, so a clear one is
        # waited for
        faces = self._free(self.detect(frame, CLEAR if self._waited <= FIRST_LOOKS else 0.0))
        self.most = max(self.most, len(faces))
        which = self._choice(frame, faces)
        if len(faces) <= which:
            return None, False
        return self._at(faces[which], compared=self._is_person(frame, faces[which][None])[0]), True

    def _choice(self, frame: np.ndarray, faces: list[np.ndarray]) -> int:
        """Which of the faces is followed."""
        if not self.people or self.person is None or not faces:
            return self.order
        return self.people.pick(self.person.vectors(extract(frame, np.array(faces), 256)))

    def _at(self, placement: np.ndarray, compared: bool) -> np.ndarray:
        """The face is here."""
        self.last, self.lost = placement, 0
        self._followed += 1
        self._unsure = 0 if compared else self._unsure + 1
        if compared:
            self._sure, self.other = placement, False
        return placement

    def shows_person(self, frame: np.ndarray, placement: np.ndarray) -> bool:
        """Whether the face at a placement in a frame that was followed unchecked is the person's
        after all.
        """
        return self.person is None or bool(self.person.is_same(extract(frame, placement, 256), followed=True)[0])

    def _is_person(self, frame: np.ndarray, placements: np.ndarray) -> np.ndarray:
        """Which of the faces at (N, 4) placements are the person's, (N,)."""
        if self.person is None:
            return np.ones(len(placements), bool)
        same = self.person.is_same(extract(frame, placements, 256), followed=not self.lost)
        if self.lost:
            return same
        # of a face that the border has cut since it was last compared too little is seen to refuse
        # it
        return same | [inside(p, frame.shape[1], frame.shape[0]) < SEEN_ENOUGH for p in placements]

    def _again(self, frame: np.ndarray, sudden: bool) -> np.ndarray | None:
        """The face after it was lost: near its last place at first, then anywhere."""
        assert self.last is not None
        faces = np.array(self._free(self.detect(frame)))
        if not len(faces):
            return None
        near = np.hypot(*(faces[:, :2] - self.last[:2]).T)
        if not sudden and self.lost <= PATIENCE and self.person is None:
            faces, near = faces[near < 1.5 * self.last[2]], near[near < 1.5 * self.last[2]]
        faces = faces[np.argsort(near)]
        mine = self._is_person(frame, faces) if len(faces) else np.zeros(0, bool)
        if len(faces):
            self.other = not mine.any()
        return faces[mine.argmax()] if mine.any() else None

    def _is_free(self, placement: np.ndarray) -> bool:
        return apart(placement, self.others())

    def _free(self, faces: list[np.ndarray]) -> list[np.ndarray]:
        """Those that nobody else follows."""
        return [p for p in faces if self._is_free(p)]

    def _plausible(self, p: np.ndarray, frame: np.ndarray) -> bool:
        """A step from one frame to the next that a head can make, and a square that is in the
        frame.
        """
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
    return np.asarray(out)


def is_aligned_crop(placements: Sequence[np.ndarray], width: int, height: int) -> bool:
    """Whether a square clip already is the FFHQ square, so that the whole frame is to be coded as
    it is.
    """
    if width != height or not len(placements):
        return False
    half = width / 2
    rows = np.array(placements)
    off = np.stack([rows[:, 0] / half - 1, rows[:, 1] / half - 1, np.log(rows[:, 2] / half), rows[:, 3]], 1)
    return bool((np.abs(np.median(off, 0)) < WHOLE_FRAME_TOLERANCE * np.array([1, 1, 1.5, 1])).all())
