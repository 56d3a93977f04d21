"""The second pass to a bitrate: the file is written again and again to nowhere, at other prices of
motion, until it has its size.

`ratecontrol` says what to try; `wholeclip` comes here with a clip that it has surveyed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ...format.stage import Set
from ..draw.units import motion_step_code
from ..face.background import Plate
from ..fit.budget import LEAST_BUDGET, by_need
from ..fit.carrier import Appearance, Spending
from ..fit.quantiser import Rounding
from ..fit.ratecontrol import MOST_PLATE, MOST_STEPS, RETRIES, RateTarget, least_bytes, price_for, share_out
from ..media.audio import Sound
from .clip import SegmentMotion, SurveyedClip, fitted, send
from .encoding import Encoding
from .outgoing import Nowhere
from .started import OpenedClip, StartedFile
from .trials import Fit, best_share

Cast = list[Appearance]  # by the numbers of the actors


@dataclass(frozen=True)
class PricedClip:
    """A clip that has its size, or as near as it comes.

    Args:
        cast: with the steps of their motion.
        price: of a bit of motion, as a factor.
        bytes: of the file.
        over: bytes that the file takes too many at the usual price.
    """

    cast: Cast
    price: float
    bytes: int
    over: int


class Aim:
    """One clip on its way to a rate.

    Args:
        encoding: starts files of it.
        clip: that was read.
        seen: what the survey left behind.
        plates: backgrounds by the numbers of their sets.
        rate: kbit/s of the whole file.
    """

    def __init__(self, encoding: Encoding, clip: OpenedClip, seen: SurveyedClip, plates: list[Plate], rate: float):
        self.encoding, self.clip, self.seen = encoding, clip, seen
        self.packets = clip.sound.until(None)
        info = clip.info
        pts = [at for shot in seen.shots for at in shot.pts]
        self.fps = float(info.fps)
        self.target = RateTarget(rate, float(pts[-1] * info.time_base + 1 / info.fps - info.start_time))
        self.share: float | None = None  # of the bytes for the identities, once trials have told it
        room = round(MOST_PLATE * self.target.bytes / max(1, len(plates)))
        self.sets = [Set(encoding.still(plate, room), number, plate.place) for number, plate in enumerate(plates)]
        self.carriers = [encoding.carrier_for(number) for number in range(len(seen.actors))]

    def write(self, fit: Fit, dst: Any) -> StartedFile:
        """Write the file.

        Args:
            fit: fits an appearance to the frames of an actor.
            dst: where the file goes.

        Raises:
            UsageError: the rate cannot be kept; with the least that can.
        """
        stages, reserved = self.encoding.stages, 0
        sends = any(carrier.sends_identity for carrier in self.carriers)
        for _ in range(RETRIES):
            cast = self._fit(fit, reserved)
            still = self._still(cast)
            self._check(still.writer.bytes_written)
            motion = stages.run("motion", partial(self._fitted, still))
            priced = stages.run("price", partial(self._priced, cast, motion))
            if priced.bytes <= self.target.bytes or not sends:
                break
            reserved += priced.over  # motion costs more than it does in most clips: less is left for who it is
        self._check(priced.bytes)
        file = self._start(priced.cast, dst)
        send(self.seen, file, motion, priced.price, stages.progress)
        return file

    def _fitted(self, file: StartedFile) -> list[SegmentMotion]:
        return list(fitted(self.seen, file))

    def _check(self, size: int) -> None:
        if size > self.target.bytes:
            raise self.target.refusal(size, self._sound())

    def _sound(self) -> str:
        sound = sum(len(packet.data) for packet in self.packets)
        return f"{8 * sound / self.target.seconds / 1000:.1f} of them for the sound" if sound else "without sound"

    def _fit(self, fit: Fit, reserved: int) -> Cast:
        """Everybody, each within a share of the bytes.  reserved: bytes to leave alone."""
        spending = self._spending(fit, reserved)
        shares = self._shares()
        out = []
        for number, (carrier, share) in enumerate(zip(self.carriers, shares, strict=True)):
            budget = max(LEAST_BUDGET, int(spending.budget * share)) if share else 0
            out.append(fit(carrier, number, replace(spending, budget=budget)))
        return out

    def _shares(self) -> list[float]:
        """Of the bytes for all identities, by actor: by how long each is seen and how large it is."""
        needs = []
        for carrier, actor in zip(self.carriers, self.seen.actors, strict=True):
            side = 2 * float(np.median([p[2] for p in actor.shown]))
            needs.append(by_need(len(actor.shown) / self.fps, side) if carrier.sends_identity else 0)
        return [need / max(1, sum(needs)) for need in needs]

    def _spending(self, fit: Fit, reserved: int) -> Spending:
        """What looks best: bytes of all identities and quality of the motion.  reserved: bytes to
        leave alone."""
        fineness = self.encoding.options.fineness
        senders = sum(carrier.sends_identity for carrier in self.carriers)
        if not senders:
            return Spending(fineness, 0)
        nobody = Appearance(np.zeros(1, np.int32), motion_step_code(fineness))
        least_identities = senders * LEAST_BUDGET
        others = self._still([nobody] * len(self.carriers)).writer.bytes_written - least_identities + reserved
        frames, curves = sum(len(actor.shown) for actor in self.seen.actors), self.encoding.model.rates
        left = self.target.bytes - others
        least = least_identities if curves is None else least_bytes(frames, curves) + least_identities - LEAST_BUDGET
        if left < least:
            raise self.target.refusal(others + least, self._sound())
        if curves is not None:
            return share_out(left, frames, curves)
        if self.share is None:
            largest = max(range(len(self.seen.actors)), key=lambda n: len(self.seen.actors[n].shown))
            store = self.seen.actors[largest].store
            trials = partial(best_share, self.encoding, store, fit, largest, left, frames)
            self.share = self.encoding.stages.run("trials", trials)
        return Spending(fineness, max(least_identities, round(self.share * left)))

    def _start(self, cast: Cast, dst: Any = None) -> StartedFile:
        clip = replace(self.clip, sound=Sound(self.clip.sound.config, self.packets))
        surveys = clip.surveys
        where = Nowhere() if dst is None else dst
        file = self.encoding.start(clip, where, bool(surveys.aligned), surveys.key_frames, self.sets)
        for number, appearance in enumerate(cast):
            self.encoding.sent(file, number, appearance)
        return file

    def _size(self, cast: Cast, motion: Iterable[SegmentMotion], price: float) -> int:
        """Bytes of the file at a price of motion's bits."""
        file = self._start(cast)
        send(self.seen, file, motion, price)
        return file.writer.bytes_written

    def _still(self, cast: Cast) -> StartedFile:
        """The file if nothing moved."""
        file = self._start(cast)
        for number, sent in file.actors.items():
            file.actors[number] = replace(sent, quantise=Rounding(sent.renderer.motion_step))
        send(self.seen, file, self.seen.still(self.encoding.model.latents.params))
        return file

    def _priced(self, cast: Cast, motion: list[SegmentMotion]) -> PricedClip:
        """Step and price of motion with which the file has its size."""
        cast, usual = self._near(cast, motion)
        price, least = price_for(partial(self._size, cast, motion), self.target.bytes)
        return PricedClip(cast, price, least, max(0, usual - self.target.bytes))

    def _near(self, cast: Cast, motion: list[SegmentMotion]) -> tuple[Cast, int]:
        """The steps of motion with which the usual price comes near, where they are free.

        What drives the model, and a pivot's own parameters, were quantised at the step that there
        is.

        Returns:
            Everybody with that step, and the bytes at the usual price.
        """
        way, now = 0, self._size(cast, motion, 1.0)
        for _ in range(MOST_STEPS if any(a.step_is_free for a in cast) else 0):
            turn = now > self.target.bytes
            if way and turn != (way > 0):
                break
            way = 1 if turn else -1
            cast = [replace(a, motion_step_code=a.motion_step_code + way) if a.step_is_free else a for a in cast]
            now = self._size(cast, motion, 1.0)
        return cast, now
