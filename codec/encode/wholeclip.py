"""The whole clip is looked at first, its aligned squares wait in a temporary file (`medium` and
`slow`).

With a bitrate the file is written again and again to nowhere, until it has its size (`aim`).
"""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np

from ..face.light import DARKEST, reference
from ..face.portrait import Conditions
from ..fit.carrier import Appearance, Carrier, Spending
from ..fit.cropstore import CropStore
from ..threads.ahead import threads_for_tensors
from .aim import Aim
from .clip import SurveyedClip, fitted, send
from .encoding import Encoding
from .started import OpenedClip, StartedFile

BATCH = 16  # frames that the carrier guesses at once


class WholeClip(Encoding):
    """Survey, fit, then motion against what was quantised."""

    def work(self, clip: OpenedClip, dst: BinaryIO) -> StartedFile:
        with threads_for_tensors(self.carrier.tensor_threads):
            return self._work(clip, dst)

    def _work(self, clip: OpenedClip, dst: BinaryIO) -> StartedFile:
        store = CropStore(self.model.size)
        self.stack.callback(store.close)
        seen = self.stages.run("survey", lambda: self._read(clip, store))
        conditions = self._lit(seen, store)
        parts = (range(i, min(i + BATCH, store.count)) for i in range(0, store.count, BATCH))
        reading = self.carrier.joined([self.carrier.guess(store.read(rows)) for rows in parts])

        def fit(carrier: Carrier[Any], spending: Spending) -> Appearance:
            return carrier.fit(store, reading, conditions, spending)

        if self.options.bitrate is not None:
            return Aim(self, clip, seen, store, self.options.bitrate).write(fit, dst)
        seconds = len(seen.faces) / float(clip.info.fps)
        appearance = fit(self.carrier, self.spending(seconds, [seen.placement[i] for i in seen.faces]))
        file = self.start(clip, dst, appearance, self.backdrop(clip))
        motion = fitted(seen, store, file)
        self.stages.run("motion", lambda: send(seen, file, motion, file.quantise, progress=self.stages.progress))
        return file

    def _read(self, clip: OpenedClip, store: CropStore) -> SurveyedClip:
        out = SurveyedClip(self.segment_frames(clip))
        with threads_for_tensors(1):
            for seen in clip.survey:
                out.pts.append(seen.pts)
                out.placement.append(seen.placement)
                out.absent.append(seen.absent)
                out.crop_row.append(-1 if seen.crop is None else store.count)
                if seen.crop is not None:
                    store.append(seen.crop)
                    out.tones.append(seen.tone)
                    out.inside.append(seen.inside)
                    out.damaged.append(seen.damaged)
                self.stages.progress("align", len(out.pts), clip.info.frames_hint or 0)
        return out

    def _lit(self, clip: SurveyedClip, store: CropStore) -> Conditions:
        """Bring the squares of a fade into the light of the rest; those that are too dark are
        held."""
        light = self.light(clip.tones, reference(np.stack(clip.tones)))
        store.light = {row: (g, o) for row, (g, o) in enumerate(light) if g < 1}
        gains = np.array([g for g, _ in light])
        for frame in clip.faces:
            if gains[clip.crop_row[frame]] <= DARKEST:
                clip.crop_row[frame] = -1
        return Conditions(np.array(clip.inside), gains, np.array(clip.damaged) | (gains <= DARKEST))
