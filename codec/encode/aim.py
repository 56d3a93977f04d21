"""The second pass to a bitrate: the file is written again and again to nowhere, at other prices of motion, until it has
its size.

`ratecontrol` says what to try, `wholeclip` fits and writes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..draw.units import motion_code
from ..fit.appearance import Appearance, Fitter
from ..fit.ratecontrol import MOST_PLATE, MOST_STEPS, RETRIES, Share, Target, least_bytes, price_for, share_out
from ..media.audio import Sound
from ..paper.fitter import Found
from .options import LEAST_BUDGET
from .outgoing import Nowhere

if TYPE_CHECKING:
    from ..face.survey import Survey
    from .wholeclip import Block, Clip, WholeClip

Look = Appearance | Found


class Aim:
    """One clip on its way to a rate.  fit: -> its look, by what the fitter was told to choose.

    fitted: look -> its segments' parameters.
    """

    def __init__(self, work: WholeClip, survey: Survey, clip: Clip):
        self.work, self.survey, self.clip = work, survey, clip
        assert work.options.bitrate is not None
        self.packets = work.sound.until(None)
        seconds = clip.pts[-1] * work.info.time_base + 1 / work.info.fps - work.info.start_time
        self.target = Target(work.options.bitrate, float(seconds))
        self.background = work._background(survey, round(MOST_PLATE * self.target.bytes))

    def write(self, fit: Any, fitted: Any, dst: Any) -> None:
        """Write the file.  Raises UsageError, with the least rate for this clip, where the rate cannot be kept."""
        reserved = 0
        for _ in range(RETRIES):
            self._choose(reserved)
            look = fit()
            least = self._still(look)
            self._fits(least)
            blocks = self.work._stage("motion", lambda look=look: list(fitted(look)))
            over, least = self.work._stage("price", lambda look=look, blocks=blocks: self._search(look, blocks))
            if least <= self.target.bytes or not isinstance(self.work.fitter, Fitter):
                break
            reserved += over  # motion costs more than it does in most clips: less is left for who it is
        self._fits(least)
        self._written(look, blocks, dst)

    def _fits(self, size: int) -> None:
        if size > self.target.bytes:
            raise self.target.refusal(size, self._spent())

    def _spent(self) -> str:
        sound = sum(len(packet.data) for packet in self.packets)
        return f"{8 * sound / self.target.seconds / 1000:.1f} of them for the sound" if sound else "without sound"

    def _choose(self, reserved: int) -> None:
        """Share out the bytes between identity and motion, where that is open.  reserved: bytes to leave alone."""
        fitter = self.work.fitter
        if not isinstance(fitter, Fitter):
            return
        nobody = Appearance(np.zeros(1, np.int32), torch.zeros(0), motion_code(self.work.options.fineness))
        others = self._still(nobody) - LEAST_BUDGET + reserved
        share: Share | None = share_out(self.target.bytes - others, len(self.clip.pts))
        if share is None:
            raise self.target.refusal(others + least_bytes(len(self.clip.pts)), self._spent())
        fitter.choose(share.quality, share.identity)

    def _written(self, look: Look, blocks: Iterable[Block], sink: Any) -> int:
        work = self.work
        work.sound = Sound(work.sound.config, self.packets)
        work._start(self.survey, sink, look, self.background)
        work._send(self.clip, blocks)
        return work.writer.bytes_written

    def _still(self, look: Look) -> int:
        """Bytes of the file if nothing moved."""
        params = self.work.model.latents.params
        self.work.metric = np.zeros((params, params))  # what would move need not be known
        size = self._written(look, self.work._still(self.clip), Nowhere())
        self.work.metric = None
        return size

    def _search(self, look: Look, blocks: list[Block]) -> tuple[int, int]:
        """Set step and price of motion.  Returns how many bytes the usual price is over, and the bytes of the file."""

        def size(price: float) -> int:
            self.work.price = price
            return self._written(look, blocks, Nowhere())

        usual = self._near(look, size)
        price, least = price_for(size, self.target.bytes)
        self.work.price = price
        return max(0, usual - self.target.bytes), least

    def _near(self, look: Look, size: Any) -> int:
        """Steps of motion with which the usual price comes near; modes are drawn alike whatever the step.

        Not so what drives the model, or a pivot's own parameters: those were quantised at the step that there is.
        Returns the bytes at the usual price.
        """
        modes = look.modes if isinstance(self.work.fitter, Fitter) else None
        free = modes is not None and modes.mix.shape[1] == 1
        way, now = 0, size(1.0)
        for _ in range(MOST_STEPS if free else 0):
            turn = now > self.target.bytes
            if way and turn != (way > 0):
                break
            way = 1 if turn else -1
            look.motion_code += way
            self.work.metric = None
            now = size(1.0)
        return now
