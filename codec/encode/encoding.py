"""What both kinds of encoding share: open the source, start the file, fit a block's motion, quantise it.

`streaming` goes through the clip once, `wholeclip` looks at all of it first; `encoder` chooses.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...format.container import Writer
from ...format.excerpt import Excerpt
from ...format.header import Header
from ...format.meta import PRIVATE, Meta, pack_key_frames
from ...format.still import CODEC_AV1, Still
from ..draw.render import Renderer
from ..draw.units import IDENTITY_CODE
from ..face.absence import alone, plain
from ..face.background import encode_plate, make_plate
from ..face.light import gain
from ..face.person import Person
from ..face.survey import Survey
from ..fit.appearance import Appearance, Fitter
from ..fit.budget import by_need
from ..fit.keyframes import within
from ..fit.modefit import ModeStart
from ..fit.motion import MotionSettings, fit_motion, nearest
from ..fit.rdoq import choose, hold, metric_of
from ..fit.reuse import STAY, Passes, ReadStart, ReuseFitter
from ..media.audio import Sound, open_audio
from ..media.identities import ReusedIdentity, remember
from ..media.notices import Notices
from ..media.source import MediaSource, name_of, rereadable
from ..media.streams import Which
from ..media.video import open_video
from ..model.devices import pick_device
from ..model.modelfile import DEFAULT, Model, load_model
from ..model.stylespace import StyleSpace
from ..paper.fitter import Found, PaperFitter
from ..threads.ahead import Ahead
from .options import FAST, EncodeOptions
from .outgoing import Outgoing

MOST_FRAMES = 256  # of a segment, for every conforming reader
READ_AHEAD = 4  # frames that are decoded before the survey asks for them
SMOOTH = 0.0007  # price of a parameter's change from frame to frame, where a unit is what it is at first
FAST_MOTION = MotionSettings(64, 12, 0.4, 0.0007, 0.006)  # of a pivot that shared modes move

Progress = Callable[[str, int, int], None]  # stage, done, total


@dataclass(frozen=True)
class EncodeReport:
    """What was written.  seconds: wall time.  held: frames without a face.  stages: seconds a stage.
    identity: the hash that other files may refer to.  notices: what there is to say, counts by the keys of
    `notices.WORDS`."""

    frames: int
    held: int
    width: int
    height: int
    duration_s: float
    bytes: int
    preset: str
    model: str
    aligned: bool
    seconds: float
    identity: str = ""
    stages: dict[str, float] = field(default_factory=dict)
    notices: dict[str, int] = field(default_factory=dict)


class Encoding(ABC):
    """One clip on its way into a file.  work: what the two kinds differ in."""

    def __init__(
        self, model: Model, options: EncodeOptions, who: ReusedIdentity | None, progress: Progress, stack: ExitStack
    ):
        self.who = who
        self.model, self.options, self.progress, self.stack = model, options, progress, stack
        self.device = pick_device(options.device)
        self.stages: dict[str, float] = {}
        self.notices = Notices()
        self.fitter: Fitter | PaperFitter | ReuseFitter
        self.identity_code = IDENTITY_CODE
        if who is not None:
            self.identity_code = who.identity.header.identity_qp
            self.fitter = ReuseFitter(model, who, self.device)
        elif isinstance(model.latents, StyleSpace):
            self.fitter = PaperFitter(model, options, progress, self._stage)
        else:
            self.fitter = Fitter(model, options, self.device, progress, self._stage)
        self.last: Tensor | None = None  # parameters of the frame before the block, unquantised
        self.metric: np.ndarray | None = None  # how far the parameters move the clip's pictures
        self.price = 1.0  # of a bit of motion, as a factor
        self.empty = False  # the background was seen without anybody before it
        self.lit_tone: np.ndarray  # of the clip's well-lit pictures (`light`)

    def run(self, src: MediaSource, dst: BinaryIO) -> EncodeReport:
        started = time.perf_counter()
        file = (
            self.stack.enter_context(rereadable(src))
            if not hasattr(src, "__fspath__") and not isinstance(src, str)
            else src
        )
        options = self.options
        which = Which(options.stream, options.audio_stream, not options.audio)
        video = self.stack.enter_context(
            open_video(file, options.start, options.duration, which=which, notices=self.notices)
        )
        info = video.info
        audio = open_audio(file, info, bitrate=self.options.audio_bitrate) if self.options.audio else None
        if audio is not None:
            self.stack.enter_context(audio)
        aligner = self.model.aligner or load_model(DEFAULT).aligner
        registration = None
        if isinstance(self.fitter, PaperFitter) and self.options.preset != FAST:
            registration = self.fitter.registration()
        inverter = load_model(DEFAULT).inverter  # what tells people apart was learnt on its features
        assert inverter is not None
        order, person = self.options.face, Person(inverter)
        frames_ahead = self.stack.enter_context(Ahead(video, READ_AHEAD))
        survey = Survey(frames_ahead, aligner, self.model.size, order, registration, person, self.notices)
        self.sound = Sound(None, ()) if audio is None else Sound(audio.config, audio)
        self.info, self.name = info, name_of(src)
        frames = self.work(survey, dst)
        self.notices.add("all_damaged", int(self.notices["damaged"] >= frames))
        assert survey.aligned is not None
        found = Excerpt(self.header, self.writer.identity_chunks) if self.who is None else self.who.found
        if self.options.remember:
            remember(found)
        return EncodeReport(
            frames=frames,
            held=survey.held,
            width=self.header.width,
            height=self.header.height,
            duration_s=float(self.out.end - info.start_time),
            bytes=self.writer.bytes_written,
            preset=self.options.preset,
            model=self.model.name,
            aligned=survey.aligned,
            seconds=time.perf_counter() - started,
            identity=found.sha256.hex(),
            stages=self.stages,
            notices=self.notices.as_dict(),
        )

    @abstractmethod
    def work(self, survey: Survey, dst: BinaryIO) -> int:
        """Write the whole file.  Returns the number of frames."""

    # -- motion

    def _quantise(self, motion: Tensor, held: np.ndarray, before: np.ndarray | None) -> np.ndarray:
        """Parameters (n, 35) of a segment -> integers."""
        steps = (motion / self.renderer.motion_step).numpy()
        if isinstance(self.fitter, PaperFitter):  # its weights were tuned to the nearest integers
            return hold(nearest(steps), held, before)
        if self.metric is None and not held.all():
            self.metric = metric_of(self.renderer, motion[torch.from_numpy(~held)])
        if self.metric is None:
            return hold(nearest(steps), held, before)
        return choose(steps, self.metric, held, before, self.price)

    def _refined(
        self,
        crops: Tensor,
        start: ModeStart | ReadStart,
        driven: Tensor,
        before: Tensor | None,
        passes: Passes,
    ) -> Tensor:
        """Parameters (N, 35) of frames under modes, coarse to fine.  driven: (N, d), those that stay as they are."""
        with torch.no_grad():
            drawn = self.renderer.draw_model(F.pad(driven, (0, self.header.params - driven.shape[1]))).cpu()
        guess = start.guess(drawn, crops, driven)
        guess = F.pad(guess, (0, self.header.params - guess.shape[1]))
        stay = STAY if isinstance(start, ReadStart) else 0.0
        for size, count, rate in passes:
            settings = MotionSettings(size, count, rate * start.scale, SMOOTH / start.scale, stay / start.scale**2)
            guess = fit_motion(self.renderer, crops, guess, settings, before, drawn, driven.shape[1])
        return guess

    def _need(self, seconds: float, placements: list[np.ndarray]) -> None:
        """Give the face as many bytes as there is to show, unless the caller has said how many."""
        free = self.options.identity_budget is None and self.options.bitrate is None
        if free and isinstance(self.fitter, Fitter):
            side = 2 * float(np.median([p[2] for p in placements]))
            self.fitter.choose(self.options.fineness, by_need(seconds, side))

    # -- writing

    def _places(self, placements: list[np.ndarray], absent: list[bool]) -> list[np.ndarray]:
        """Placements as they are sent, where nobody is there in some of the frames."""
        if not any(absent):
            return placements
        nobody = plain(self.header.width, self.header.height)
        return [(alone(p) if self.empty else nobody) if no else p for p, no in zip(placements, absent, strict=True)]

    def _background(self, survey: Survey, room: int | None = None) -> Still | None:
        """The still picture behind the face.  room: bytes; the finest that takes no more, or the coarsest."""
        if self.options.crop or survey.aligned:
            return None
        self.empty = survey.samples.empty
        plate, moved = make_plate(survey.samples.chosen())
        self.notices.add("camera", moved)
        for quality in (self.options.fineness,) if room is None else (60.0, 40.0, 20.0, 0.0):
            data = encode_plate(plate, quality)
            if room is None or len(data) <= room:
                break
        return Still(CODEC_AV1, plate.shape[1], plate.shape[0], 1, False, data)

    def _start(self, survey: Survey, dst: Any, look: Appearance | Found, background: Still | None) -> None:
        info, model = self.info, self.model
        crop = self.options.crop or bool(survey.aligned)
        width, height = (model.size, model.size) if self.options.crop else (info.width, info.height)
        self.header = Header(
            width=width, height=height,
            time_base=(info.time_base.numerator, info.time_base.denominator),
            fps=(info.fps.numerator, info.fps.denominator),
            model_sha256=bytes.fromhex(model.sha256), params=model.latents.params,
            motion_qp=look.motion_code, identity_qp=self.identity_code,
            crop=crop, placement=not crop, segment_frames=self._segment_frames(),
        )  # fmt: skip
        self.renderer = Renderer(
            model, look.identity, look.delta, look.modes, look.pivot, identity_code=self.identity_code,
            motion_code=self.header.motion_qp, device=self.device, dtype=torch.float32,
        )  # fmt: skip
        self.writer = Writer(
            dst, self.header, **self._written(look),
            background=background, audio=self.sound.config, meta=self._meta(survey),
            repeat_header_every=self.options.repeat_segments,
        )  # fmt: skip
        if self.who is None:
            assert sum(len(payload) for _, payload in self.writer.identity_chunks) <= self.fitter.budget
        self.out = Outgoing(self.writer, self.sound, info)

    def _meta(self, survey: Survey) -> Meta:
        meta = pack_key_frames(survey.key_frames)
        if self.options.keep_notices:
            meta.update({PRIVATE + key: count for key, count in self.notices.as_dict().items()})
        return meta

    def _written(self, look: Appearance | Found) -> dict[str, Any]:
        """What the Writer is to say of the identity."""
        if isinstance(self.fitter, ReuseFitter):
            return {"reference": self.fitter.who.sha256}
        identity = within(look.identity, self.fitter.budget)
        return {"identity": identity, "delta": look.delta or None, "modes": look.modes, "pivot": look.pivot}

    def _segment_frames(self) -> int:
        return int(np.clip(round(float(self.info.fps) * self.options.segment_seconds), 1, MOST_FRAMES))

    def _light(self, tones: list[np.ndarray]) -> list[tuple[float, float]]:
        """Gain and offset of each picture's light against that of the first ones; fades are counted."""
        out = [gain(t, self.lit_tone) for t in tones]
        self.notices.add("faded", sum(g < 1 for g, _ in out))
        return out

    def _stage(self, name: str, work: Callable):
        started = time.perf_counter()
        result = work()
        self.stages[name] = time.perf_counter() - started
        return result
