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

from ..draw.units import motion_step_code
from ..fit.budget import LEAST_BUDGET
from ..fit.carrier import Appearance, Spending
from ..fit.cropstore import CropStore
from ..fit.quantiser import Quantiser, Rounding
from ..fit.ratecontrol import MOST_PLATE, MOST_STEPS, RETRIES, RateTarget, least_bytes, price_for, share_out
from ..media.audio import Sound
from .clip import SegmentMotion, SurveyedClip, fitted, send
from .encoding import Encoding
from .outgoing import Nowhere
from .started import OpenedClip, StartedFile
from .trials import Fit, best_share


@dataclass(frozen=True)
class PricedClip:
    """A clip that has its size, or as near as it comes.

    Args:
        appearance: with the step of its motion.
        quantise: at that step.
        price: of a bit of motion, as a factor.
        bytes: of the file.
        over: bytes that the file takes too many at the usual price.
    """

    appearance: Appearance
    quantise: Quantiser
    price: float
    bytes: int
    over: int


class Aim:
    """One clip on its way to a rate.

    Args:
        encoding: starts files of it.
        clip: that was read.
        seen: what the survey left behind.
        store: its squares.
        rate: kbit/s of the whole file.
    """

    def __init__(self, encoding: Encoding, clip: OpenedClip, seen: SurveyedClip, store: CropStore, rate: float):
        self.encoding, self.clip, self.seen, self.store = encoding, clip, seen, store
        self.packets = clip.sound.until(None)
        info = clip.info
        seconds = seen.pts[-1] * info.time_base + 1 / info.fps - info.start_time
        self.target = RateTarget(rate, float(seconds))
        self.share: float | None = None  # of the bytes for the identity, once trials have told it
        self.backdrop = encoding.backdrop(clip, round(MOST_PLATE * self.target.bytes))

    def write(self, fit: Fit, dst: Any) -> StartedFile:
        """Write the file.

        Args:
            fit: fits an appearance to the clip.
            dst: where the file goes.

        Raises:
            UsageError: the rate cannot be kept; with the least that can.
        """
        stages, reserved = self.encoding.stages, 0
        for _ in range(RETRIES):
            appearance = fit(self.encoding.carrier, self._spending(fit, reserved))
            still = self._still(appearance)
            self._check(still.writer.bytes_written)
            motion = stages.run("motion", partial(self._fitted, still))
            priced = stages.run("price", partial(self._priced, appearance, motion))
            if priced.bytes <= self.target.bytes or not self.encoding.carrier.sends_identity:
                break
            reserved += priced.over  # motion costs more than it does in most clips: less is left for who it is
        self._check(priced.bytes)
        file = self._start(priced.appearance, dst)
        send(self.seen, file, motion, priced.quantise, priced.price, stages.progress)
        return file

    def _fitted(self, file: StartedFile) -> list[SegmentMotion]:
        return list(fitted(self.seen, self.store, file))

    def _check(self, size: int) -> None:
        if size > self.target.bytes:
            raise self.target.refusal(size, self._sound())

    def _sound(self) -> str:
        sound = sum(len(packet.data) for packet in self.packets)
        return f"{8 * sound / self.target.seconds / 1000:.1f} of them for the sound" if sound else "without sound"

    def _spending(self, fit: Fit, reserved: int) -> Spending:
        """What looks best: bytes of the identity and quality of the motion.  reserved: bytes to
        leave alone."""
        fineness = self.encoding.options.fineness
        if not self.encoding.carrier.sends_identity:
            return Spending(fineness, 0)
        nobody = Appearance(np.zeros(1, np.int32), motion_step_code(fineness))
        others = self._still(nobody).writer.bytes_written - LEAST_BUDGET + reserved
        left, frames, curves = self.target.bytes - others, len(self.seen.pts), self.encoding.model.rates
        least = LEAST_BUDGET if curves is None else least_bytes(frames, curves)
        if left < least:
            raise self.target.refusal(others + least, self._sound())
        if curves is not None:
            return share_out(left, frames, curves)
        if self.share is None:
            trials = partial(best_share, self.encoding, self.store, fit, left, frames)
            self.share = self.encoding.stages.run("trials", trials)
        return Spending(fineness, max(LEAST_BUDGET, round(self.share * left)))

    def _start(self, appearance: Appearance, dst: Any = None) -> StartedFile:
        clip = replace(self.clip, sound=Sound(self.clip.sound.config, self.packets))
        return self.encoding.start(clip, Nowhere() if dst is None else dst, appearance, self.backdrop)

    def _size(self, appearance: Appearance, motion: Iterable[SegmentMotion], quantise: Quantiser, price: float) -> int:
        """Bytes of the file at a price of motion's bits."""
        file = self._start(appearance)
        send(self.seen, file, motion, quantise, price)
        return file.writer.bytes_written

    def _still(self, appearance: Appearance) -> StartedFile:
        """The file if nothing moved."""
        file = self._start(appearance)
        params = self.encoding.model.latents.params
        send(self.seen, file, self.seen.still(params), Rounding(file.renderer.motion_step))
        return file

    def _priced(self, appearance: Appearance, motion: list[SegmentMotion]) -> PricedClip:
        """Step and price of motion with which the file has its size."""
        appearance, quantise, usual = self._near(appearance, motion)
        price, least = price_for(partial(self._size, appearance, motion, quantise), self.target.bytes)
        return PricedClip(appearance, quantise, price, least, max(0, usual - self.target.bytes))

    def _near(self, appearance: Appearance, motion: list[SegmentMotion]) -> tuple[Appearance, Quantiser, int]:
        """The step of motion with which the usual price comes near, where it is free.

        What drives the model, and a pivot's own parameters, were quantised at the step that there
        is.

        Returns:
            The appearance with that step, its quantiser, and the bytes at the usual price.
        """
        way, quantise = 0, self._start(appearance).quantise
        now = self._size(appearance, motion, quantise, 1.0)
        for _ in range(MOST_STEPS if appearance.step_is_free else 0):
            turn = now > self.target.bytes
            if way and turn != (way > 0):
                break
            way = 1 if turn else -1
            appearance = replace(appearance, motion_step_code=appearance.motion_step_code + way)
            quantise = self._start(appearance).quantise
            now = self._size(appearance, motion, quantise, 1.0)
        return appearance, quantise, now
