"""The second pass to a bitrate: a chapter is written again and again to nowhere, at other prices of
motion, until the file has its size.

`ratecontrol` says what to try; `wholeclip` comes here with a chapter that it has surveyed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np

from ...format.stage import Set
from ..draw.units import motion_step_code
from ..fit.budget import LEAST_BUDGET, by_need
from ..fit.carrier import Appearance, Spending
from ..fit.quantiser import Rounding
from ..fit.ratecontrol import MOST_PLATE, MOST_STEPS, RETRIES, RateTarget, least_bytes, price_for, share_out
from ..media.audio import Sound
from .clip import FramesBefore, SegmentMotion, SurveyedClip, fitted, quantised, send
from .encoding import Encoding
from .outgoing import Nowhere
from .started import OpenedClip, StartedFile
from .trials import Fit, best_share

# dB that a revision must gain where its bytes are there: motion would gain little by them, for the step
# of a revision that the file has cannot be made finer.
OCTAVE = 0.3

Cast = dict[int, Appearance]  # by the numbers of the actors
Value = TypeVar("Value")


@dataclass(frozen=True)
class PricedClip:
    """A chapter with which the file has its size, or as near as it comes.

    Args:
        cast: with the steps of their motion.
        motion: of every segment.
        price: of a bit of motion, as a factor.
        bytes: of the file, up to its end.
        over: bytes that the file takes too many at the usual price.
    """

    cast: Cast
    motion: list[SegmentMotion]
    price: float
    bytes: int
    over: int


class Aim:
    """A chapter on its way to a rate.

    The file may take the bytes of its length up to the chapter's end: what one chapter leaves, the
    next one has, and what one takes too many, the next ones save.  Where the first one has too few,
    or the whole file in the end, that is refused.

    Args:
        encoding: starts files of the clip.
        clip: that is read, with the sound of the chapter.
        seen: what the survey left behind.
        file: that the chapter will stand in, up to it; None for the first.
        before: what the actors had in the frame before.
        rate: kbit/s of the whole file.
        share: of the bytes for the identities, once trials on an earlier chapter have told it.
    """

    def __init__(
        self,
        encoding: Encoding,
        clip: OpenedClip,
        seen: SurveyedClip,
        file: StartedFile | None,
        before: FramesBefore,
        rate: float,
        share: float | None = None,
    ):
        self.encoding, self.clip, self.seen, self.file, self.before = encoding, clip, seen, file, before
        self.packets = clip.sound.until(None)
        info = clip.info
        pts = [at for shot in seen.shots for at in shot.pts]
        self.fps = float(info.fps)
        self.target = RateTarget(rate, float(pts[-1] * info.time_base + 1 / info.fps - info.start_time))
        self.share = share
        plates, room = seen.plates, self.target.bytes - (file.writer.bytes_written if file else 0)
        room = round(MOST_PLATE * max(0, room) / max(1, len(plates)))
        self.sets = [Set(encoding.still(plate, room), number, plate.place) for number, plate in plates.items()]
        self.carriers = {number: encoding.carrier_for(number) for number in seen.seen}

    def priced(self, fit: Fit) -> PricedClip:
        """What the chapter is to be written with.

        Args:
            fit: fits an appearance to the frames of an actor.

        Raises:
            UsageError: the rate cannot be kept; with the least that can.
        """
        stages, reserved = self.encoding.stages, 0
        sends = any(carrier.sends_identity for carrier in self.carriers.values())
        for _ in range(RETRIES):
            cast = self._fit(fit, reserved)
            still = self._still(cast)
            self._check(still.writer.bytes_written)
            motion = stages.run("motion", partial(self._fitted, cast))
            priced = stages.run("price", partial(self._priced, cast, motion))
            if priced.bytes <= self.target.bytes or not sends:
                break
            reserved += priced.over  # motion costs more than it does in most clips: less is left for who it is
        self._check(priced.bytes)
        return priced

    def _fitted(self, cast: Cast) -> list[SegmentMotion]:
        before, hint = self._going_on(self.before.motion, cast), self.clip.info.frames_hint
        return list(fitted(self.seen, self._start(cast), before, self.encoding.stages.progress, hint))

    def _going_on(self, before: dict[int, Value], cast: Cast) -> dict[int, Value]:
        """What of the frame before still means the same."""
        known = {} if self.file is None else self.file.actors
        return {n: v for n, v in before.items() if n not in cast or cast[n].is_as(known[n].appearance)}

    def _check(self, size: int) -> None:
        if size > self.target.bytes and (self.file is None or self.seen.last):
            raise self.target.refusal(size, self._sound())

    def _sound(self) -> str:
        sound = sum(len(packet.data) for packet in self.packets)
        return f"{8 * sound / self.target.seconds / 1000:.1f} of them for the sound" if sound else "without sound"

    def _fit(self, fit: Fit, reserved: int) -> Cast:
        """Everybody, each within a share of the bytes.  reserved: bytes to leave alone."""
        spending = self._spending(fit, reserved)
        shares = self._shares()
        out = {}
        for number, carrier in self.carriers.items():
            share = shares[number]
            budget = max(LEAST_BUDGET, int(spending.budget * share)) if share else 0
            out[number] = fit(carrier, number, replace(spending, budget=budget, octave=OCTAVE))
        return out

    def _shares(self) -> dict[int, float]:
        """Of the bytes for all identities, by actor: by how long each is seen and how large it is."""
        needs = {}
        for number, carrier in self.carriers.items():
            shown = self.seen.actors[number].shown
            side = 2 * float(np.median([p[2] for p in shown])) if shown else 0.0
            needs[number] = by_need(len(shown) / self.fps, side) if carrier.sends_identity and shown else 0
        return {number: need / max(1, sum(needs.values())) for number, need in needs.items()}

    def _spending(self, fit: Fit, reserved: int) -> Spending:
        """What looks best: bytes of all identities and quality of the motion.  reserved: bytes to
        leave alone."""
        fineness = self.encoding.options.fineness
        senders = sum(carrier.sends_identity for carrier in self.carriers.values())
        if not senders:
            return Spending(fineness, 0)
        nobody = Appearance(np.zeros(1, np.int32), motion_step_code(fineness))
        new = {number: nobody for number in self.carriers if self.file is None or number not in self.file.actors}
        least_identities = senders * LEAST_BUDGET
        paid = len(new) * LEAST_BUDGET if self.file else least_identities
        others = self._still(new).writer.bytes_written - paid + reserved
        frames, curves = sum(len(actor.shown) for actor in self.seen.actors), self.encoding.model.rates
        left = self.target.bytes - others
        least = least_identities if curves is None else least_bytes(frames, curves) + least_identities - LEAST_BUDGET
        if left < least:
            if self.file is None:
                raise self.target.refusal(others + least, self._sound())
            return Spending(fineness, 0)
        if curves is not None:
            return share_out(left, frames, curves)
        if self.share is None:
            largest = max(self.carriers, key=lambda n: len(self.seen.actors[n].shown))
            store = self.seen.actors[largest].store
            trials = partial(best_share, self.encoding, store, fit, largest, left, frames)
            self.share = self.encoding.stages.run("trials", trials)
        return Spending(fineness, max(least_identities, round(self.share * left)))

    def _start(self, cast: Cast) -> StartedFile:
        """The file up to the chapter, written to nowhere."""
        sound = Sound(self.clip.sound.config, self.packets)
        if self.file is not None:
            file = self.file.fork(Nowhere(), sound)
            file.sets.update({given.number: given for given in self.sets})
        else:
            clip, surveys = replace(self.clip, sound=sound), self.clip.surveys
            file = self.encoding.start(clip, Nowhere(), bool(surveys.aligned), surveys.key_frames, self.sets)
        for number, appearance in cast.items():
            self.encoding.sent(file, number, appearance)
        return file

    def _sent(self, file: StartedFile, cast: Cast, motion: Iterable[SegmentMotion], price: float) -> StartedFile:
        segments = quantised(self.seen, file, motion, self._going_on(self.before.integers, cast), price)
        send(file, segments, self.seen.last)
        return file

    def _size(self, cast: Cast, motion: Iterable[SegmentMotion], price: float) -> int:
        """Bytes of the file at a price of motion's bits."""
        return self._sent(self._start(cast), cast, motion, price).writer.bytes_written

    def _still(self, cast: Cast) -> StartedFile:
        """The file if nothing moved."""
        file = self._start(cast)
        for number, sent in file.actors.items():
            file.actors[number] = replace(sent, quantise=Rounding(sent.renderer.motion_step))
        return self._sent(file, cast, self.seen.still(self.encoding.model.latents.params), 1.0)

    def _priced(self, cast: Cast, motion: list[SegmentMotion]) -> PricedClip:
        """Step and price of motion with which the file has its size."""
        cast, usual = self._near(cast, motion)
        price, least = price_for(partial(self._size, cast, motion), self.target.bytes)
        return PricedClip(cast, motion, price, least, max(0, usual - self.target.bytes))

    def _near(self, cast: Cast, motion: list[SegmentMotion]) -> tuple[Cast, int]:
        """The steps of motion with which the usual price comes near, where they are free.

        What drives the model, and a pivot's own parameters, were quantised at the step that there
        is.

        Returns:
            Everybody with that step, and the bytes at the usual price.
        """
        way, now = 0, self._size(cast, motion, 1.0)
        for _ in range(MOST_STEPS if any(a.step_is_free for a in cast.values()) else 0):
            turn = now > self.target.bytes
            if way and turn != (way > 0):
                break
            way = 1 if turn else -1
            cast = {
                number: replace(a, motion_step_code=a.motion_step_code + way) if a.step_is_free else a
                for number, a in cast.items()
            }
            now = self._size(cast, motion, 1.0)
        return cast, now
