"""A shot as video within so many bytes: in the size and at the rate of pictures that come nearest
to it.

`fev.codec.media.videoencoder` codes, `fev.codec.draw.footage` shows what a decoder will.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ..draw.footage import Footage
from ..face.warp import resize
from ..media.videoencoder import COARSEST, FINEST, CodedShot, Coding, coded_size, encode_shot
from .likeness import Likeness, likeness

SIDES = (1280, 960, 640, 480, 320, 240)  # larger sides that are tried
STEPS = (1, 2, 3)  # frames from picture to picture
TRIES = 4  # qualities that are tried to come within the budget
# Where to go on from a size and a step: itself; smaller or larger at as many bytes; and beside it.
AROUND = ((0, 0), (1, -1), (-1, 1), (1, 0), (0, 1), (-1, 0), (0, -1))
APART = 1.2  # a size that is less than so much smaller than another is not tried
UNLIKELY = 3  # steps of quality beyond the coarsest from which on a place is not tried
GUESSES, ABOUT = 2, 0.6  # qualities by which a place is judged; octaves of bytes around the budget
USUAL = 60.0  # the quality at which sizes and steps are likely to be the right ones
HALVING = 9.0  # steps of quality that halve the bytes
NEARLY = 1.0  # dB of the score
OCTAVE = 6.0  # dB of the score for twice the bytes
PIXEL_POWER, RATE_POWER = 0.75, 0.5  # of the bytes, by pixels and by pictures a second
CLOSE, AIM = 0.92, 0.97  # shares of the budget: where no finer quality is looked for; what is aimed at
JUDGED, JUDGED_PIXELS = 24, 24_000_000  # frames of a shot that are compared, and their pixels

_Place = tuple[int, int]


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
    """Over sizes and steps; places count from the largest size, and from the smallest step.

    Places are compared by codings that take about the budget, as if they took all of it. Only the
    best is then brought within it.
    """

    def __init__(self, shot: Shot, budget: int, sides: Sequence[int], steps: Sequence[int], preset: int):
        self.shot, self.budget, self.preset = shot, budget, preset
        self.sizes, self.steps = _apart({coded_size(shot.width, shot.height, side) for side in sides}), sorted(steps)
        self.source = shot.source()
        self.coded: dict[_Place, list[tuple[int, CodedShot]]] = {}  # by quality, in the order of trying
        self.scores: dict[_Place, float] = {}

    def climb(self) -> VideoShot:
        last = len(self.sizes) - 1, len(self.steps) - 1
        least = self._code(last, COARSEST)
        if least.size > self.budget:
            return self._found(last, COARSEST, least)
        places = [(a, b) for a in range(last[0] + 1) for b in range(last[1] + 1)]
        here = min(places, key=lambda place: abs(self._guess(place, last) - USUAL))
        while True:
            around = [place for a, b in AROUND if (place := (here[0] + a, here[1] + b)) in places]
            for place in around:
                if place not in self.scores:
                    self.scores[place] = self._score(place, here if here in self.coded else last)
            best = max(around, key=lambda place: self.scores[place])
            if self.scores[best] == -math.inf:
                return self._fitted(last)
            if best == here:
                break
            here = best
        # The bytes of a coding go in steps: the next best may come nearer to the budget.
        ranked = sorted(self.scores, key=lambda place: self.scores[place], reverse=True)
        close = [place for place in ranked[:2] if self.scores[place] > self.scores[here] - NEARLY]
        return max((self._fitted(place) for place in close), key=lambda found: found.likeness.score)

    def _code(self, place: _Place, quality: int) -> CodedShot:
        coding = Coding(*self.sizes[place[0]], self.steps[place[1]], quality, self.preset)
        coded = encode_shot(self.shot.frames(), self.shot.lengths, self.shot.fps, coding)
        self.coded.setdefault(place, []).append((quality, coded))
        return coded

    def _found(self, place: _Place, quality: int, coded: CodedShot) -> VideoShot:
        coding = Coding(*self.sizes[place[0]], self.steps[place[1]], quality, self.preset)
        return VideoShot(coding, coded, near(self.shot, self.source, coded))

    def _guess(self, place: _Place, known: _Place) -> int:
        """The quality that is likely to take the budget, by what was coded at a place."""
        quality, coded = self.coded[known][-1]
        (width, height), (own_width, own_height) = self.sizes[place[0]], self.sizes[known[0]]
        pixels = width * height / (own_width * own_height)
        rate = self.steps[known[1]] / self.steps[place[1]]
        likely = coded.size * pixels**PIXEL_POWER * rate**RATE_POWER
        return quality - round(HALVING * math.log2(self.budget / likely))

    def _score(self, place: _Place, known: _Place) -> float:
        """How near a place comes; -inf where its coarsest quality is beyond the budget."""
        quality = self._guess(place, known)
        if quality > COARSEST + UNLIKELY and known in self.scores:
            return -math.inf
        for _ in range(GUESSES):
            quality = min(COARSEST, max(FINEST, quality))
            coded = self._code(place, quality)
            beyond = math.log2(coded.size / self.budget)
            if quality == COARSEST and beyond > 0:
                return -math.inf
            if quality == FINEST and beyond < 0:
                beyond = 0.0  # there is no way to take more
            if abs(beyond) < ABOUT:
                break
            quality += round(HALVING * beyond)
        return near(self.shot, self.source, coded).score - OCTAVE * beyond

    def _fitted(self, place: _Place) -> VideoShot:
        """The finest quality at a place that fits, of a few that are tried."""
        for _ in range(TRIES):
            known = {quality: coded.size for quality, coded in self.coded[place]}
            fits = min((quality for quality, size in known.items() if size <= self.budget), default=COARSEST + 1)
            beyond = max((quality for quality, size in known.items() if size > self.budget), default=FINEST - 1)
            if fits - beyond <= 1 or (fits in known and known[fits] > CLOSE * self.budget):
                break
            quality, size = list(known.items())[-1]
            step = _halving(known) * math.log2(self.budget * AIM / size)
            self._code(place, min(fits - 1, max(beyond + 1, quality - round(step))))
        good = [(quality, coded) for quality, coded in self.coded[place] if coded.size <= self.budget]
        if not good:  # the coarsest fits, or the place would not have a score
            good = [(COARSEST, self._code(place, COARSEST))]
        return self._found(place, *min(good, key=lambda each: each[0]))


def _apart(sizes: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """The largest first, without those that are nearly as large as another."""
    out: list[tuple[int, int]] = []
    for size in sorted(sizes, reverse=True):
        if not out or max(size) * APART <= max(out[-1]):
            out.append(size)
    return out


def _halving(known: dict[int, int]) -> float:
    """Steps of quality that halve the bytes, by the two that were tried last."""
    if len(known) < 2:
        return HALVING
    (quality, size), (other, another) = list(known.items())[-2:]
    grown = math.log2(another / size)
    return (quality - other) / grown if abs(grown) > 0.05 else HALVING


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
