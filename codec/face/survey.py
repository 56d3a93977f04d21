"""One pass over a clip: follow the face, smooth its placement, cut the aligned squares.

Frames come out in order with a delay of a few frames, because the smoothing looks ahead; memory is
that of those frames.  `fev.codec.encoder` consumes it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from ...format.errors import MediaError
from ..media.frame import Frame
from ..media.notices import Notices
from ..model.aligner import Aligner
from ..model.pictures import to_numpy
from .align import LOOK_AHEAD, FaceTracker, compose, extract, inside, is_aligned_crop, smooth_at
from .background import PlateSamples
from .camera import Camera, filled
from .light import TONE, alike, contrast, gain, is_cut, tone
from .people import People
from .person import Person
from .portrait import blinking, opening
from .registration import Registration, similarity

LOOK = 128  # side of the squares in which blinks are looked for
LEAP = 0.5  # half sides that a face does not move from one frame to the next
LEAVING = 0.75  # share of the inner face inside the picture below which a face that is lost has left
DARK = 3.0  # contrast of a picture that shows nothing
NO_PICTURE = np.zeros((0, 0, 3), np.uint8)
NOWHERE = np.zeros(4)  # the placement of nobody
# A frame before the first face, without its picture; its tone; its camera, None where it cannot be told.
Leading = tuple[Frame, np.ndarray, np.ndarray | None]


@dataclass(frozen=True)
class SurveyedFrame:
    """A frame after alignment.

    Args:
        crop: (S, S, 3) uint8, the aligned square; None where the face is not there or not the
            person's.
        placement: (cx, cy, half, angle) in pixels of the frame.
        damaged: the decoder concealed something in the picture.
        absent: nobody is there.
        tone: the picture's light (`light.tone`).
        inside: share of the inner face that is inside the picture.
        camera: (x, y, scale less 1, angle) from a camera at rest to the picture's, in pixels and
            radians.
        found: ... as it was found, though it may not move; None where it cannot be told.
    """

    pts: int
    placement: np.ndarray
    crop: np.ndarray | None
    damaged: bool = False
    absent: bool = False
    tone: np.ndarray = field(default_factory=lambda: np.zeros(TONE, np.uint8))
    inside: float = 1.0
    camera: np.ndarray = field(default_factory=lambda: np.zeros(4))
    found: np.ndarray | None = None


@dataclass
class _Row:
    """A frame on its way.

    Args:
        track: changes where the face leaps.
        shot: changes where the picture does.
    """

    frame: Frame
    tone: np.ndarray
    placement: np.ndarray
    found: bool
    eye: float
    track: int
    shot: int
    other: bool  # somebody else was seen
    camera: np.ndarray | None


class Survey:
    """Iterate for `SurveyedFrame`.  Of a clip with several shots each has a survey of its own.

    Args:
        notices: where what there is to say is counted.
        registration: moves every square to where its key frame's lies on the face (paper, stage 1);
            frames that blink then have no say in where the squares lie.
        person: tells the face that is followed from others; without one any face will do.
        people: who was in the shots before.  Given, a shot may show nobody; without, that is an
            error.
        aligned: whether the clip already is the aligned square, where that is known.
        begin, others: see `FaceTracker`.
        scenery: whether frames for the background are kept.
        camera: follows the camera; without one it stands still.

    Attributes:
        samples: afterwards, frames for the background.
        out: frames that have come out so far.
        aligned: set when the first frame with a face comes out.
    """

    def __init__(
        self,
        frames: Iterable[Frame],
        net: Aligner,
        size: int,
        order: int = 0,
        registration: Registration | None = None,
        person: Person | None = None,
        notices: Notices | None = None,
        people: People | None = None,
        aligned: bool | None = None,
        begin: np.ndarray | None = None,
        others: Callable[[], list[np.ndarray]] = list,
        scenery: bool = True,
        camera: Camera | None = None,
    ):
        self.camera = camera
        self.frames, self.size, self.registration, self.people = frames, size, registration, people
        self.tracker = FaceTracker(net, order, person, people, begin, others)
        self.scenery = scenery
        self.aligned = aligned
        self.samples = PlateSamples()
        self._empty = PlateSamples()  # of frames before the first face
        self.notices = Notices() if notices is None else notices
        self._count = self.out = self._track = self._shot = 0
        self._last: np.ndarray | None = None  # placement of the frame before
        self._seen: _Row | None = None  # the last frame with the face
        self._view = np.zeros(4)  # the camera of the frame before

    @property
    def held(self) -> int:
        """Frames without the face, so far."""
        return sum(self.notices[key] for key in ("held", "other", "absent"))

    def __iter__(self) -> Generator[SurveyedFrame, None, None]:
        leading: list[Leading] = []
        window: deque[_Row] = deque()
        past: deque[_Row] = deque(maxlen=LOOK_AHEAD)
        before: np.ndarray | None = None  # tone of the frame before
        for frame in self.frames:
            self._count += 1
            here = tone(frame.rgb)
            cut = before is not None and is_cut(here, before)
            before = here
            placement, found = self.tracker.step(frame.rgb, cut)
            camera = self._step(frame, placement)
            if self.tracker.restarted:
                leading += [(replace(row.frame, rgb=NO_PICTURE), row.tone, row.camera) for row in window]
                window.clear()
            if placement is None:
                if self.people is not None and self.scenery:
                    self._empty.moving = self.camera is not None and self.camera.moving
                    self._empty.take(frame, here, None, camera)
                leading.append((replace(frame, rgb=NO_PICTURE), here, camera))
                continue
            self._follow(window, placement, found, cut)
            eye = self._opening(frame.rgb, placement)
            other = self.tracker.other
            window.append(_Row(frame, here, placement, found, eye, self._track, self._shot, other, camera))
            if len(window) > LOOK_AHEAD:
                yield from self._emit(window, past, leading)
        if not window and not self._count:
            raise MediaError("the video has no frames")
        if not window and self._last is None:
            if self.people is None:
                raise MediaError(self.nobody(len(leading)))
            yield from self._empty_shot(leading)
        while window:
            yield from self._emit(window, past, leading)

    @property
    def person(self) -> Person | None:
        """The face that is followed, as far as it is known."""
        return self.tracker.person

    @property
    def found(self) -> bool:
        """Whether a face has come out so far."""
        return self._seen is not None

    def _empty_shot(self, leading: list[Leading]) -> Iterator[SurveyedFrame]:
        """The frames of a shot that shows nobody."""
        self.samples = self._empty
        views = [camera for *_, camera in leading]
        for place, (frame, here, _) in enumerate(leading):
            self.out += 1
            self._say(True, False)
            self._view = self._looks(views[place:])
            yield SurveyedFrame(
                frame.pts, NOWHERE, None, frame.damaged, True, here, camera=self._view, found=views[place]
            )

    def nobody(self, frames: int) -> str:
        """What is to be said of so many frames without a face."""
        if self.tracker.most:
            return (
                f"there is no face {self.tracker.order}: at most {self.tracker.most} are seen at once, "
                f"and the first is face 0"
            )
        return f"no face found in any of {frames} frames (frames 0 to {min(frames, 3) - 1} tried first)"

    def _follow(self, window: deque[_Row], placement: np.ndarray, found: bool, cut: bool) -> None:
        """Count cuts and leaps of the face; take back frames in which somebody else was followed."""
        for row in list(window)[len(window) - min(self.tracker.doubtful, len(window)) :]:
            if not self.tracker.shows_person(row.frame.rgb, row.placement):
                row.found, row.other = False, True
        if window and cut:
            self._shot += 1
            self._track += 1
            self.notices.add("cuts")
        last = next((row.placement for row in reversed(window) if row.found), None)
        if found and last is not None and np.hypot(*(placement[:2] - last[:2])) > LEAP * last[2]:
            self._track += 1

    def _emit(self, window: deque[_Row], past: deque[_Row], leading: list[Leading]) -> Iterator[SurveyedFrame]:
        rows, at = [*past, *window], len(past)
        row = window.popleft()
        past.append(row)
        height, width = row.frame.rgb.shape[:2]
        flags = np.array([r.found and r.track == row.track for r in rows])
        if self.aligned is None:
            self.aligned = is_aligned_crop([r.placement for r in rows if r.found], width, height)
        if self.aligned:
            placement = np.array([width / 2, height / 2, width / 2, 0.0])
        elif not row.found and self._last is not None:
            placement = self._last
        else:
            trusted = self._trusted(flags, [r.eye for r in rows])
            smoothed = smooth_at(np.array([r.placement for r in rows]), trusted, at)
            placement = smoothed if smoothed is not None else row.placement
        square = extract(row.frame.rgb, placement, self.size) if row.found else None
        if square is not None and self.registration is not None and not self.aligned:
            moved = self.registration.step(self.out + len(leading), square[0])
            if moved.residual:  # not a key frame
                placement = compose(placement[None], similarity(moved.affine)[None])[0]
                square = extract(row.frame.rgb, placement, self.size)
        row.placement = placement
        yield from self._before(leading, row, (width, height))
        self._view = self._looks([row.camera, *(r.camera for r in window)])
        absent = square is None and self._gone(row, (width, height))
        self._last = placement
        self.out += 1
        if square is None:
            self._say(absent, row.other)
        else:
            self._seen = row
        if self.scenery and (absent or square is not None) and not self.aligned:
            self.samples.take(row.frame, row.tone, None if absent else placement, row.camera)
        row.frame = replace(row.frame, rgb=NO_PICTURE)
        yield SurveyedFrame(
            row.frame.pts,
            placement,
            None if square is None else to_numpy(square)[0],
            row.frame.damaged,
            absent,
            row.tone,
            inside(placement, width, height),
            self._view,
            row.camera,
        )

    def _step(self, frame: Frame, placement: np.ndarray | None) -> np.ndarray | None:
        """The camera of the next frame, None where it cannot be told."""
        if self.camera is None or self.aligned:
            return None
        return self.camera.step(frame.rgb, [] if placement is None else [placement])

    def _looks(self, rows: list[np.ndarray | None]) -> np.ndarray:
        """Where the camera of a frame looks.  rows: of the frame and those after it."""
        self.samples.moving = moves = self.camera is not None and self.camera.moving and not self.aligned
        view = filled(self._view, rows) if moves else np.zeros(4)
        self.notices.add("camera", int(view.any()))
        return view

    def _say(self, absent: bool, other: bool) -> None:
        self.notices.add("absent" if absent else "other" if other else "held")

    def _before(self, leading: list[Leading], first: _Row, size: tuple[int, int]) -> Iterator[SurveyedFrame]:
        """The frames before the first face: a dark or a hidden face is held, a title or an empty
        room shows nobody.
        """
        absent, out = False, []
        for frame, here, _ in reversed(leading):
            dark = contrast(here[None])[0] < DARK or gain(here, first.tone)[0] < 1
            absent = absent or not (dark or alike(here, first.tone, first.placement, size))
            out.append(
                SurveyedFrame(frame.pts, first.placement, None, frame.damaged, absent and not self.aligned, here)
            )
        views = [camera for *_, camera in leading]
        leading.clear()
        for place, seen in enumerate(reversed(out)):
            self.out += 1
            self._say(seen.absent, False)
            self._view = self._looks(views[place:])
            yield replace(seen, camera=self._view, found=views[place])

    def _gone(self, row: _Row, size: tuple[int, int]) -> bool:
        """Whether nobody is there, rather than somebody whom the tracker cannot see."""
        if self.aligned or self._seen is None or row.shot != self._seen.shot:
            return False
        if inside(self._seen.placement, *size) < LEAVING:
            return True
        if contrast(row.tone[None])[0] < DARK:  # black, or no signal
            return False
        return not alike(row.tone, self._seen.tone, self._seen.placement, size)

    def _opening(self, frame: np.ndarray, placement: np.ndarray) -> float:
        """How open the eyes are, where somebody asks."""
        if self.registration is None:
            return float("nan")
        return float(opening(extract(frame, placement, LOOK))[0])

    def _trusted(self, found: np.ndarray, eyes: list[float]) -> np.ndarray:
        """Frames of a window whose placement counts: a face was found and, where that is known, it
        does not blink.
        """
        if self.registration is None:
            return found
        steady = found & ~blinking(torch.tensor(eyes)).numpy()
        return steady if steady.any() else found

    @property
    def key_frames(self) -> list[int]:
        """Numbers of the frames that others are registered to, so far."""
        return [] if self.registration is None else self.registration.keys
