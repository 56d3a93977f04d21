"""A chapter of a clip that was surveyed, shot by shot, and the way of its segments into a file.  A
short clip is one chapter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from ...format.segment import Track
from ...format.video import Video
from ..face.background import Plate
from ..face.light import DARKEST, reference
from ..face.portrait import Closer, Conditions
from ..face.survey import NOWHERE, SurveyedFrame
from ..fit.cropstore import CropStore
from ..fit.stages import Progress
from ..media.videoinfo import VideoInfo
from .closer import Spot
from .outgoing import end_of
from .started import Backdrop, StartedFile

# Of an actor in a segment: parameters (n, P), not quantised, and (n,) which frames are held.
TrackMotion = tuple[Tensor, np.ndarray]
SegmentMotion = list[TrackMotion]
# Tones of pictures, and that of well-lit ones -> gain and offset of each picture's light.
Lighting = Callable[[list[np.ndarray], np.ndarray], list[tuple[float, float]]]


@dataclass
class FaceTrack:
    """One actor in a shot, a row a frame.

    Args:
        actor: number.
        further: it is not the one that the shot is about.
        crop_row: place in the actor's store, -1 for a held frame.
        absent: where nobody is there.
    """

    actor: int = 0
    further: bool = False
    placement: list[np.ndarray] = field(default_factory=list)
    crop_row: list[int] = field(default_factory=list)
    absent: list[bool] = field(default_factory=list)

    def is_in(self, part: slice) -> bool:
        """Whether a segment shows it."""
        return not self.further or not all(self.absent[part])

    def fill(self, frames: int, place: np.ndarray = NOWHERE) -> None:
        """Nobody is there up to so many frames.  place: where the square lies before it comes."""
        count = frames - len(self.absent)
        self.placement += [self.placement[-1] if self.placement else place] * count
        self.crop_row += [-1] * count
        self.absent += [True] * count


@dataclass
class SurveyedShot:
    """A shot, or what the chapter has of it.

    Args:
        tracks: of its actors, from the back to the front: the larger a face, the nearer it is.
        backdrop: what stands behind them.
        camera: (4,) of each frame, from a camera at rest, in pixels and radians.
        goes_on: it began in the chapter before.
    """

    pts: list[int] = field(default_factory=list)
    tracks: list[FaceTrack] = field(default_factory=list)
    backdrop: Backdrop = field(default_factory=Backdrop)
    camera: list[np.ndarray] = field(default_factory=list)
    goes_on: bool = False


class ActorFrames:
    """The frames that show one actor, a row each, shot after shot.

    Args:
        store: of their squares; closed by whoever made it.

    Attributes:
        placement, pts: of each row.
    """

    def __init__(self, store: CropStore):
        self.store = store
        self.placement: list[np.ndarray] = []
        self.pts: list[int] = []
        self._tones: list[np.ndarray] = []
        self._inside: list[float] = []
        self._damaged: list[bool] = []
        self._gains: list[float] = []

    def take(self, seen: SurveyedFrame) -> int:
        """A frame with the face; its row."""
        assert seen.crop is not None
        self.store.append(seen.crop)
        self.placement.append(seen.placement)
        self.pts.append(seen.pts)
        self._tones.append(seen.tone)
        self._inside.append(seen.inside)
        self._damaged.append(seen.damaged)
        return self.store.count - 1

    def extend(self, other: ActorFrames) -> int:
        """The frames of another shot, not lit yet; the row of the first."""
        first = self.store.count
        self.store.extend(other.store)
        self.placement += other.placement
        self.pts += other.pts
        self._tones += other._tones
        self._inside += other._inside
        self._damaged += other._damaged
        return first

    def light(self, track: FaceTrack, lighting: Lighting) -> None:
        """Bring the squares of a fade within a shot into the light of its rest; those that are too
        dark are held."""
        rows = [row for row in track.crop_row if row >= 0]
        tones = [self._tones[row] for row in rows]
        light = dict(zip(rows, lighting(tones, reference(np.stack(tones))), strict=True)) if rows else {}
        self.store.light.update({row: (g, o) for row, (g, o) in light.items() if g < 1})
        self._gains += [g for g, _ in light.values()]
        track.crop_row = [row if row >= 0 and light[row][0] > DARKEST else -1 for row in track.crop_row]

    @property
    def shown(self) -> list[np.ndarray]:
        """Placements of the frames that are not too dark, when all shots are lit."""
        return [p for p, g in zip(self.placement, self._gains, strict=True) if g > DARKEST]

    @property
    def spots(self) -> list[Spot]:
        """Where the square of each row was cut, when all shots are lit."""
        usual = (1.0, 0.0)
        places = zip(self.pts, self.placement, strict=True)
        return [Spot(*place, self.store.light.get(row, usual)) for row, place in enumerate(places)]

    def conditions(self, closer: Closer | None = None) -> Conditions:
        """What is known of the frames beside their squares, when all shots are lit."""
        gains = np.array(self._gains)
        return Conditions(np.array(self._inside), gains, np.array(self._damaged) | (gains <= DARKEST), closer)


@dataclass
class SurveyedClip:
    """What the survey leaves behind of a clip, or of a chapter of it.

    Args:
        segment_frames: frames of a segment; the last one of a shot may have fewer.
        first_frame: frames of the clip before it.
        actors: by their numbers, all that the clip has so far; they need not be seen.
        plates: backgrounds that are new, by the numbers of their sets.
        last: the clip ends with it.
    """

    segment_frames: int
    shots: list[SurveyedShot] = field(default_factory=list)
    first_frame: int = 0
    actors: list[ActorFrames] = field(default_factory=list)
    plates: dict[int, Plate] = field(default_factory=dict)
    last: bool = False

    @property
    def frames(self) -> int:
        return sum(len(shot.pts) for shot in self.shots)

    @property
    def end(self) -> int:
        """Frames of the clip up to its end."""
        return self.first_frame + self.frames

    def end_time(self, info: VideoInfo) -> Fraction:
        """Seconds where it ends, on the clock of the pts."""
        return end_of(self.shots[-1].pts[-1], info)

    @property
    def seen(self) -> list[int]:
        """Numbers of the actors that it shows."""
        return [number for number, actor in enumerate(self.actors) if actor.store.count]

    def segments(self) -> Iterator[tuple[SurveyedShot, slice, list[FaceTrack]]]:
        """Each segment's shot, which of its frames, and who is in them."""
        for shot in self.shots:
            for first in range(0, len(shot.pts), self.segment_frames):
                part = slice(first, min(first + self.segment_frames, len(shot.pts)))
                yield shot, part, [track for track in shot.tracks if track.is_in(part)]

    def fill(self, before: int) -> int:
        """The square of a file without a set has to be somebody's: in a shot that shows nobody the
        actor of the shot before stands still, or that of the first one.

        Args:
            before: the actor of the shot before, where it is not the clip's first chapter.

        Returns:
            That of the last shot.
        """
        last = before if self.first_frame else next(track.actor for shot in self.shots for track in shot.tracks)
        for shot in self.shots:
            if shot.tracks:
                last = shot.tracks[-1].actor
                continue
            count = len(shot.pts)
            shot.tracks = [FaceTrack(last, False, [NOWHERE] * count, [-1] * count, [False] * count)]
        return last

    def still(self, params: int) -> Iterator[SegmentMotion]:
        """Segments in which nothing moves."""
        for _, part, tracks in self.segments():
            count = part.stop - part.start
            yield [(torch.zeros(count, params), np.zeros(count, bool)) for _ in tracks]


@dataclass
class FramesBefore:
    """What the actors had in the frame before a chapter, within a shot.

    Args:
        motion: (P,), not quantised.
        integers: (P,).
    """

    motion: dict[int, Tensor] = field(default_factory=dict)
    integers: dict[int, np.ndarray] = field(default_factory=dict)

    def forget(self, actor: int) -> None:
        """Its parameters mean something else from here on."""
        self.motion.pop(actor, None)
        self.integers.pop(actor, None)


@dataclass(frozen=True)
class QuantisedSegment:
    """A segment as it is handed over."""

    pts: list[int]
    tracks: list[Track]
    backdrop: Backdrop
    cameras: list[np.ndarray]


def fitted(
    clip: SurveyedClip,
    file: StartedFile,
    before: dict[int, Tensor],
    progress: Progress = lambda stage, done, total: None,
    total: int | None = None,
) -> Iterator[SegmentMotion]:
    """Every segment's parameters, fitted to its frames.

    Args:
        before: (P,) of the actors in the frame before, within a shot; kept up to date.
        total: frames of the whole clip, about.
    """
    done = clip.first_frame
    for shot, part, tracks in clip.segments():
        if part.start == 0 and not shot.goes_on:
            before.clear()
        motion: SegmentMotion = []
        for track in tracks:
            sent, rows = file.actors[track.actor], track.crop_row[part]
            here = [r for r in rows if r >= 0]
            block = torch.zeros(len(rows), file.header.params)
            if here:
                start, last = sent.appearance.start[here], before.get(track.actor)
                found = sent.refined(clip.actors[track.actor].store.read(here), start, last)
                block[[i for i, r in enumerate(rows) if r >= 0]] = found
                before[track.actor] = found[-1]
            motion.append((block, np.array([r < 0 for r in rows])))
        done += part.stop - part.start
        progress("motion", done, max(clip.end, total or 0))
        yield motion


def quantised(
    clip: SurveyedClip,
    file: StartedFile,
    motion: Iterable[SegmentMotion],
    before: dict[int, np.ndarray],
    price: float = 1.0,
) -> Iterator[QuantisedSegment]:
    """The segments of a clip.

    Args:
        motion: of every segment.
        before: (P,) integers of the actors in the frame before, within a shot; kept up to date.
        price: of a bit, as a factor.
    """
    for (shot, part, tracks), blocks in zip(clip.segments(), motion, strict=True):
        if part.start == 0 and not shot.goes_on:
            before.clear()
        written = []
        for track, (block, held) in zip(tracks, blocks, strict=True):
            sent = file.actors[track.actor]
            integers = sent.quantise(block, held, before.get(track.actor), price)
            clear = track.further or shot.backdrop.empty
            places = file.places(clear, track.placement[part], track.absent[part])
            written.append(file.track(sent, integers, places, held))
            before[track.actor] = integers[-1]
        yield QuantisedSegment(shot.pts[part], written, shot.backdrop, shot.camera[part])


def send(
    file: StartedFile,
    segments: Iterable[QuantisedSegment],
    last: bool,
    videos: Mapping[int, Video] = MappingProxyType({}),
) -> None:
    """Write the segments of a chapter, all of them.

    Args:
        last: the file ends with them.
        videos: of the segments, by number among these, that are plain video.
    """
    for number, segment in enumerate(segments):
        if number in videos:
            file.write_video(segment.pts, videos[number])
        else:
            file.write(segment.pts, segment.tracks, segment.backdrop, segment.cameras)
    if last:
        file.close()
    else:
        file.out.flush()
