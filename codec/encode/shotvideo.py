"""A shot as video within so many bytes: in the size and at the rate of pictures that come nearest
to it.

`fev.codec.media.videoencoder` codes, `fev.codec.draw.footage` shows what a decoder will.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ..draw.footage import Footage
from ..face.warp import resize
from ..media.videoencoder import COARSEST, FINEST, CodedShot, Coding, coded_size, encode_shot
from .likeness import Likeness, likeness

SIDES = (1280, 960, 640, 480, 320, 240)  # larger sides that are tried
STEPS = (1, 2, 3)  # frames from picture to picture
TRIES = 4  # qualities that are tried of each
USUAL = 60.0  # the quality at which sizes and steps are likely to be the right ones
HALVING = 9.0  # steps of quality that halve the bytes
PIXEL_POWER, RATE_POWER = 0.75, 0.5  # of the bytes, by pixels and by pictures a second
CLOSE, AIM = 0.92, 0.97  # shares of the budget: where no finer quality is looked for; what is aimed at
JUDGED, JUDGED_PIXELS = 24, 24_000_000  # frames of a shot that are compared, and their pixels


@dataclass(frozen=True)
class Shot:
    """What is to be coded.

    Args:
        frames: begins anew each time; uint8 (H, W, 3) each.
        lengths: frames of each segment.
        pts: (n,) times of all frames.
        fps: frames a second.
        width, height: of the pictures.
    """

    frames: Callable[[], Iterable[np.ndarray]]
    lengths: Sequence[int]
    pts: NDArray[np.int64]
    fps: Fraction
    width: int
    height: int

    @property
    def judged(self) -> NDArray[np.int64]:
        """Frames by which ways to send the shot are compared, evenly over it."""
        last = len(self.pts) - 1
        most = max(3, min(JUDGED, JUDGED_PIXELS // (self.width * self.height)))
        return np.unique(np.linspace(0, last, most).round().astype(np.int64))

    def source(self) -> list[np.ndarray]:
        """The pictures of these."""
        wanted = set(self.judged.tolist())
        return [rgb for number, rgb in enumerate(self.frames()) if number in wanted]


@dataclass(frozen=True)
class VideoShot:
    """A shot as video, and how near it comes."""

    coding: Coding
    coded: CodedShot
    likeness: Likeness


def code_video(
    shot: Shot, budget: int, sides: Sequence[int] = SIDES, steps: Sequence[int] = STEPS, preset: int = 6
) -> VideoShot:
    """The nearest that video comes to a shot within `budget` bytes of packets.

    Begins with the size and the rate of pictures of which the quality is likely to be a usual one,
    and goes on to neighbours for as long as they come nearer. Where not even the smallest, slowest
    and coarsest fits, that one is given: its size says so.

    Args:
        sides: larger sides of coded pictures.
        steps: frames from picture to picture.
        preset: of SVT-AV1.

    Raises:
        MediaError: where the encoder refuses.
    """
    return _Search(shot, budget, sides, steps, preset).climb()


class _Search:
    """Over sizes and steps; places count from the largest size, and from the smallest step."""

    def __init__(self, shot: Shot, budget: int, sides: Sequence[int], steps: Sequence[int], preset: int):
        self.shot, self.budget, self.preset = shot, budget, preset
        sizes = {coded_size(shot.width, shot.height, side) for side in sides}
        self.sizes, self.steps = sorted(sizes, reverse=True), sorted(steps)
        self.source = shot.source()
        self.tried: dict[tuple[int, int], VideoShot | None] = {}

    def climb(self) -> VideoShot:
        last = len(self.sizes) - 1, len(self.steps) - 1
        least = self._coded(Coding(*self.sizes[-1], self.steps[-1], COARSEST, self.preset))
        if least[1].size > self.budget:
            return VideoShot(*least, near(self.shot, self.source, least[1]))
        places = [(a, b) for a in range(last[0] + 1) for b in range(last[1] + 1)]
        guesses = {place: self._guess(place, least[1].size) for place in places}
        here = min(places, key=lambda place: abs(guesses[place] - USUAL))
        while True:
            around = [here, *((here[0] + a, here[1] + b) for a, b in ((1, 0), (0, 1), (-1, 0), (0, -1)))]
            for place in around:
                if place in guesses and place not in self.tried:
                    self.tried[place] = self._at(place, guesses[place])
            found = {place: shot for place in around if (shot := self.tried.get(place)) is not None}
            best = max(found, key=lambda place: found[place].likeness.score, default=last)
            if best == here:
                return found[here]
            here = best

    def _guess(self, place: tuple[int, int], least: int) -> float:
        """The quality that is likely to fit, by the bytes of the least that there is."""
        size, step = self.sizes[place[0]], self.steps[place[1]]
        pixels = size[0] * size[1] / (self.sizes[-1][0] * self.sizes[-1][1])
        likely = least * pixels**PIXEL_POWER * (self.steps[-1] / step) ** RATE_POWER
        return COARSEST - HALVING * math.log2(self.budget / likely)

    def _coded(self, coding: Coding) -> tuple[Coding, CodedShot]:
        return coding, encode_shot(self.shot.frames(), self.shot.lengths, self.shot.fps, coding)

    def _at(self, place: tuple[int, int], guess: float) -> VideoShot | None:
        """The finest quality that fits, of a few that are tried; None if the coarsest does not."""
        fits, beyond, slope = COARSEST + 1, FINEST - 1, HALVING  # qualities; `beyond` is too fine
        coding = Coding(*self.sizes[place[0]], self.steps[place[1]], COARSEST, self.preset)
        quality, best = min(COARSEST, max(FINEST, round(guess))), None
        known: list[tuple[int, int]] = []
        for _ in range(TRIES):
            now = self._coded(replace(coding, quality=quality))
            known.append((quality, now[1].size))
            if now[1].size <= self.budget:
                best, fits = now, quality
            else:
                beyond = quality
            if fits - beyond <= 1 or (best is not None and best[1].size > CLOSE * self.budget):
                break
            slope = _slope(known) or slope
            step = slope * math.log2(self.budget * AIM / now[1].size)
            quality = min(fits - 1, max(beyond + 1, quality - round(step)))
        return None if best is None else VideoShot(*best, near(self.shot, self.source, best[1]))


def _slope(known: list[tuple[int, int]]) -> float | None:
    """Steps of quality that halve the bytes, by the two that were tried last."""
    if len(known) < 2:
        return None
    (quality, size), (other, another) = known[-2:]
    grown = math.log2(another / size)
    return (quality - other) / grown if abs(grown) > 0.05 else None


def near(shot: Shot, source: list[np.ndarray], coded: CodedShot) -> Likeness:
    """How near a shot that was coded comes to it. source: `shot.source()`."""
    return likeness(source, shown(coded, shot))


def shown(coded: CodedShot, shot: Shot) -> Iterator[np.ndarray]:
    """What a decoder shows of the frames by which a shot is judged, where nobody stands before it."""
    wanted, first = set(shot.judged.tolist()), 0
    for video, length in zip(coded.segments, shot.lengths, strict=True):
        footage = Footage(coded.config, video, shot.pts[first : first + length], salvage=False)
        for place in range(length):
            if first + place in wanted:
                picture = footage.at(place)
                assert picture is not None
                yield resize(picture, shot.width, shot.height)
        first += length
