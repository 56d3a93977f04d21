"""The encoder: a video in, a `.fev` stream out (design section 3).

Stages: survey (align, invert) -> identity and, for `slow`, weight delta (`tune`) -> texture and flow
modes (`modefit`) -> motion against what was quantised (`motion`) -> segments.  Preset `fast` is one
pass, feed-forward, and streams; `medium` and `slow` look at the whole clip first and keep its
aligned squares in a temporary file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import BinaryIO

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..format.audio import AudioPacket
from ..format.background import CODEC_AV1, Background
from ..format.container import Writer
from ..format.delta import DeltaTensor, encode_delta
from ..format.errors import UsageError
from ..format.header import Header
from ..format.identity import encode_identity
from ..format.modes import Modes
from ..format.segment import Segment
from .audio import AudioReader, open_audio
from .background import encode_plate, make_plate
from .delta import step_size
from .identity import best_identity, spread_out
from .media import VideoInfo, check_part, open_video
from .modefit import MIX_CODE, ModeFit, ModeSettings, principal_drive
from .model import DEFAULT, Model, load_model, pick_device
from .motion import MotionSettings, corrected, fit_motion, linear_correction, quantise_motion
from .render import Renderer
from .source import Source, name_of, rereadable
from .survey import CropStore, Seen, Survey
from .tune import ClipFit, TuneSettings
from .units import DEFAULT_QUALITY, IDENTITY_CODE, motion_code, quantise_placement

FAST, MEDIUM, SLOW = "fast", "medium", "slow"
PRESETS = (FAST, MEDIUM, SLOW)
DEFAULT_BUDGET = 27_000  # bytes of identity, delta and modes
TUNE_STEPS = ((64, 100), (128, 200), (256, 90))  # picture size and optimiser steps, coarse to fine
TUNE_SHARE = 0.25  # of the budget: what the weight delta may take
TUNE_KEYS = 160
MODE_STEPS = ((128, 1000), (256, 450))
MODE_KEYS = 320  # frames that the modes are fitted on
DRIVEN = 8  # combinations of the model's parameters that a file with modes keeps
LEAST_MODES = 600  # bytes; with less the modes are left out
BATCH = 16

Progress = Callable[[str, int, int], None]  # stage, done, total


@dataclass(frozen=True)
class EncodeOptions:
    """What a caller may choose; see the README for the meaning of each."""

    model: str = DEFAULT
    preset: str = MEDIUM
    quality: float = DEFAULT_QUALITY
    identity_budget: int | None = None
    face: int = 0
    crop: bool = False
    audio: bool = True
    audio_bitrate: int = 16_000
    start: float | None = None
    duration: float | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise UsageError(f"preset {self.preset!r} is not one of {', '.join(PRESETS)}")
        if not 0 <= self.quality <= 100:
            raise UsageError(f"quality {self.quality} is not within 0 to 100")
        if self.identity_budget is not None and not 0 <= self.identity_budget <= 1 << 22:
            raise UsageError("identity budget is not within 0 to 4194304 bytes")
        if self.face < 0:
            raise UsageError("face numbers start at 0")
        check_part(self.start, self.duration)


@dataclass(frozen=True)
class EncodeReport:
    """What was written.  seconds: wall time.  held: frames without a face.  stages: seconds a stage."""

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
    stages: dict[str, float] = field(default_factory=dict)


@dataclass
class Clip:
    """What the survey leaves behind: a row a frame, squares on disk for the frames with a face.

    crop_row: place in the store, -1 for a held frame.
    """

    pts: list[int] = field(default_factory=list)
    placement: list[np.ndarray] = field(default_factory=list)
    crop_row: list[int] = field(default_factory=list)
    identity: list[Tensor] = field(default_factory=list)
    motion: list[Tensor] = field(default_factory=list)


def encode(
    src: Source, dst: BinaryIO, options: EncodeOptions, progress: Progress = lambda s, d, t: None
) -> EncodeReport:
    """Encode `src` into the open stream `dst`.  Raises FevError."""
    with ExitStack() as stack:
        model = load_model(options.model)
        return _Encoder(model, options, progress, stack).run(src, dst)


class _Encoder:
    def __init__(self, model: Model, options: EncodeOptions, progress: Progress, stack: ExitStack):
        self.model, self.options, self.progress, self.stack = model, options, progress, stack
        self.device = pick_device(options.device)
        self.stages: dict[str, float] = {}
        self.pending: Segment | None = None
        self.frames_written = self.segments_written = 0

    def run(self, src: Source, dst: BinaryIO) -> EncodeReport:
        started = time.perf_counter()
        file = (
            self.stack.enter_context(rereadable(src))
            if not hasattr(src, "__fspath__") and not isinstance(src, str)
            else src
        )
        video = self.stack.enter_context(open_video(file, self.options.start, self.options.duration))
        info = video.info
        audio = open_audio(file, info, bitrate=self.options.audio_bitrate) if self.options.audio else None
        if audio is not None:
            self.stack.enter_context(audio)
        survey = Survey(video, self.model.aligner, self.model.size, self.options.face)
        self.sound = _Sound(audio, info)
        self.info, self.name = info, name_of(src)
        if self.options.preset == FAST:
            frames = self._fast(survey, dst)
        else:
            frames = self._thorough(survey, dst)
        assert survey.aligned is not None
        return EncodeReport(
            frames=frames,
            held=survey.held,
            width=self.header.width,
            height=self.header.height,
            duration_s=float(self.end - info.start_time),
            bytes=self.writer.bytes_written,
            preset=self.options.preset,
            model=self.model.name,
            aligned=survey.aligned,
            seconds=time.perf_counter() - started,
            stages=self.stages,
        )

    # -- presets

    def _fast(self, survey: Survey, dst: BinaryIO) -> int:
        """One pass: identity from the first second, then a segment as soon as it is complete."""
        lead: list[Seen] = []
        block: list[Seen] = []
        before: np.ndarray | None = None
        need = self._segment_frames()
        done = 0
        for seen in survey:
            self._flush()
            block.append(seen)
            if len(block) < need:
                continue
            if not lead:
                lead = block
                self._fast_start(survey, lead, dst)
            before = self._fast_segment(block, before)
            done += len(block)
            self.progress("encode", done, self.info.frames_hint or 0)
            block = []
        if not lead:
            self._fast_start(survey, block, dst)
        if block:
            self._fast_segment(block, before)
            done += len(block)
        self._close()
        return done

    def _fast_start(self, survey: Survey, lead: list[Seen], dst: BinaryIO) -> None:
        crops = [s.crop for s in lead if s.crop is not None]
        identity, _ = self._invert(np.stack(crops))
        self._start(survey, dst, identity.mean(0) / self.model.identity_scale, [], self._plate(survey, lead))

    def _fast_segment(self, block: list[Seen], before: np.ndarray | None) -> np.ndarray:
        crops = [s.crop for s in block if s.crop is not None]
        motion = torch.zeros(len(block), self.header.params)
        if crops:
            _, seen = self._invert(np.stack(crops))
            motion[[i for i, s in enumerate(block) if s.crop is not None]] = seen
        held = np.array([s.crop is None for s in block])
        q = hold(quantise_motion(motion, self.header.motion_qp), held, before)
        self._write([s.pts for s in block], q, [s.placement for s in block], held)
        return q[-1]

    def _thorough(self, survey: Survey, dst: BinaryIO) -> int:
        store = CropStore(self.model.size)
        self.stack.callback(store.close)
        clip = self._stage("survey", lambda: self._read(survey, store))
        identity = torch.cat(clip.identity)
        motion = torch.cat(clip.motion)
        plate = self._plate(survey, [Seen(p, q, None) for p, q in zip(clip.pts, clip.placement, strict=True)])
        budget = DEFAULT_BUDGET if self.options.identity_budget is None else self.options.identity_budget
        chosen, delta = best_identity(identity, motion) / self.model.identity_scale, []
        if self.options.preset == SLOW and budget:
            chosen, delta, motion = self._tune(store, chosen, motion, round(budget * TUNE_SHARE))
        quantised = (chosen / step_size(IDENTITY_CODE)).round().numpy().astype(np.int32)
        left = budget - len(encode_identity(quantised)) - (len(encode_delta(delta)) if delta else 0)
        modes, start = self._fit_modes(store, quantised, delta, motion, left)
        self._start(survey, dst, quantised, delta, plate, modes)
        self._stage("motion", lambda: self._fit_segments(clip, store, motion, start))
        self._close()
        return len(clip.pts)

    def _share(self, frames: int) -> float:
        """The work grows with the clip up to a ceiling, so that a short clip is not kept waiting."""
        return float(np.clip(frames / 300, 0.25, 1.0)) * (3 if self.options.preset == SLOW else 1)

    def _price(self) -> float:
        return 2e-7 * 2 ** ((DEFAULT_QUALITY - self.options.quality) / 10)

    def _tune(self, store: CropStore, identity: Tensor, motion: Tensor, budget: int):
        """Identity, weight delta and the model's parameters of all frames, fitted to a few of them."""
        share = self._share(len(motion))
        settings = TuneSettings(
            steps=tuple((size, max(8, round(count * share))) for size, count in TUNE_STEPS), price=self._price()
        )
        keys = spread_out(motion, min(len(motion), TUNE_KEYS))
        fit = ClipFit(
            self.model, store.read(keys), identity * self.model.identity_scale, motion[keys], settings, budget,
            step_size(IDENTITY_CODE), step_size(motion_code(self.options.quality)),
        )  # fmt: skip
        total = sum(n for _, n in settings.steps)
        ticks = iter(range(1, total + 1))
        self._stage("tune", lambda: fit.run(lambda n: self.progress("tune", next(ticks), total)))
        quantised, delta = fit.finish()
        correction = linear_correction(motion[keys], fit.motion.detach())
        tuned = torch.from_numpy(quantised).float() * step_size(IDENTITY_CODE)
        return tuned, delta, corrected(motion, correction)

    def _fit_modes(
        self, store: CropStore, identity: np.ndarray, delta: list[DeltaTensor], motion: Tensor, budget: int
    ) -> tuple[Modes | None, _Start | None]:
        """Texture and flow modes within a budget, and how the motion of any frame starts against them."""
        if budget < LEAST_MODES:
            return None, None
        qp = motion_code(self.options.quality)
        mix, driven = principal_drive(motion, DRIVEN, step_size(qp))
        renderer = Renderer(
            self.model, identity, delta, Modes.empty(mix, MIX_CODE), identity_code=IDENTITY_CODE, motion_code=qp,
            device=self.device, dtype=torch.float32,
        )  # fmt: skip
        keys = spread_out(motion, min(len(motion), MODE_KEYS))
        share = self._share(len(motion))
        settings = ModeSettings(
            steps=tuple((size, max(8, round(count * share))) for size, count in MODE_STEPS), price=self._price() / 10
        )
        with torch.no_grad():
            padded = [
                F.pad(driven[keys[i : i + BATCH]], (0, motion.shape[1] - driven.shape[1]))
                for i in range(0, len(keys), BATCH)
            ]
            drawn = torch.cat([renderer.draw_model(values).cpu() for values in padded])
        fit = ModeFit(drawn, store.read(keys), driven[keys], mix, settings, budget, step_size(qp))
        total = sum(n for _, n in settings.steps)
        ticks = iter(range(1, total + 1))
        self._stage("modes", lambda: fit.run(lambda n: self.progress("modes", next(ticks), total)))
        modes = fit.finish()
        return modes, None if modes is None else _Start(fit, driven)

    # -- stages

    def _read(self, survey: Survey, store: CropStore) -> Clip:
        clip, batch = Clip(), []
        for seen in survey:
            clip.pts.append(seen.pts)
            clip.placement.append(seen.placement)
            clip.crop_row.append(-1 if seen.crop is None else store.count)
            if seen.crop is not None:
                store.append(seen.crop)
                batch.append(seen.crop)
            if len(batch) == BATCH:
                self._invert_into(clip, batch)
            self.progress("align", len(clip.pts), self.info.frames_hint or 0)
        if batch:
            self._invert_into(clip, batch)
        return clip

    def _invert_into(self, clip: Clip, batch: list[np.ndarray]) -> None:
        identity, motion = self._invert(np.stack(batch))
        clip.identity.append(identity)
        clip.motion.append(motion)
        batch.clear()

    @torch.no_grad()
    def _invert(self, crops: np.ndarray) -> tuple[Tensor, Tensor]:
        x = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1
        return self.model.inverter(x)

    def _fit_segments(self, clip: Clip, store: CropStore, motion: Tensor, start: _Start | None) -> None:
        need = self._segment_frames()
        before: np.ndarray | None = None
        free: Tensor | None = None
        for first in range(0, len(clip.pts), need):
            rows = clip.crop_row[first : first + need]
            here = [r for r in rows if r >= 0]
            block = torch.zeros(len(rows), self.header.params)
            if here:
                fitted = self._fit_block(store.read(here), motion[here], start, here, free)
                block[[i for i, r in enumerate(rows) if r >= 0]] = fitted
                free = fitted[-1]
            held = np.array([r < 0 for r in rows])
            q = hold(quantise_motion(block, self.header.motion_qp), held, before)
            self._write(clip.pts[first : first + need], q, clip.placement[first : first + need], held)
            before = q[-1]
            self.progress("motion", min(first + need, len(clip.pts)), len(clip.pts))

    def _fit_block(
        self, crops: Tensor, motion: Tensor, start: _Start | None, rows: list[int], before: Tensor | None
    ) -> Tensor:
        """Parameters of a block of frames.  motion: the model's own, what the fit starts from without modes."""
        steps = 24 if self.options.preset == SLOW else 16
        if start is None:
            return fit_motion(self.renderer, crops, motion, MotionSettings(size=64, steps=steps), before)
        driven = start.driven[rows]
        with torch.no_grad():
            drawn = self.renderer.draw_model(F.pad(driven, (0, self.header.params - driven.shape[1]))).cpu()
        guess = start.guess(drawn, crops, driven)
        guess = F.pad(guess, (0, self.header.params - guess.shape[1]))
        settings = MotionSettings(size=128, steps=steps, rate=0.25)
        return fit_motion(self.renderer, crops, guess, settings, before, drawn, driven.shape[1])

    def _plate(self, survey: Survey, seen: list[Seen]) -> np.ndarray | None:
        if self.options.crop or survey.aligned:
            return None
        return make_plate(survey.plates, np.array([s.placement for s in seen]))

    # -- writing

    def _start(
        self,
        survey: Survey,
        dst: BinaryIO,
        identity: Tensor | np.ndarray,
        delta: list[DeltaTensor],
        plate: np.ndarray | None,
        modes: Modes | None = None,
    ) -> None:
        info, model = self.info, self.model
        crop = self.options.crop or bool(survey.aligned)
        width, height = (model.size, model.size) if self.options.crop else (info.width, info.height)
        self.header = Header(
            width=width, height=height,
            time_base=(info.time_base.numerator, info.time_base.denominator),
            fps=(info.fps.numerator, info.fps.denominator),
            model_sha256=bytes.fromhex(model.sha256), params=model.latents.directions.shape[0],
            motion_qp=motion_code(self.options.quality), identity_qp=IDENTITY_CODE,
            crop=crop, placement=not crop, segment_frames=self._segment_frames(),
        )  # fmt: skip
        if isinstance(identity, Tensor):
            identity = (identity / step_size(IDENTITY_CODE)).round().numpy().astype(np.int32)
        used = np.flatnonzero(identity)
        identity = identity[: used[-1] + 1] if len(used) else identity[:1]
        background = None
        if plate is not None:
            data = encode_plate(plate, self.options.quality)
            background = Background(CODEC_AV1, plate.shape[1], plate.shape[0], 1, False, data)
        self.renderer = Renderer(
            model, identity, delta, modes, identity_code=IDENTITY_CODE, motion_code=self.header.motion_qp,
            device=self.device, dtype=torch.float32,
        )  # fmt: skip
        self.writer = Writer(
            dst, self.header, identity=identity, delta=delta or None, modes=modes, background=background,
            audio=self.sound.config, meta={"writer": "fev"},
        )  # fmt: skip

    def _segment_frames(self) -> int:
        return int(np.clip(round(float(self.info.fps)), 1, 120))

    def _write(self, pts: list[int], motion: np.ndarray, placement: list[np.ndarray], held: np.ndarray) -> None:
        """Hand over a segment.  It is written when the next frame is there; the last takes the sound that is left."""
        self._flush()
        self.end = (pts[-1] + self._tick()) * self.info.time_base
        self.pending = Segment(
            index=self.segments_written, first_frame=self.frames_written, pts=np.array(pts, np.int64), motion=motion,
            placement=quantise_placement(np.array(placement)) if self.header.placement else None, held=held,
        )  # fmt: skip
        self.frames_written += len(pts)
        self.segments_written += 1

    def _flush(self, last: bool = False) -> None:
        if self.pending is not None:
            self.writer.write_segment(replace(self.pending, audio=self.sound.until(None if last else self.end)))
            self.pending = None

    def _tick(self) -> int:
        return max(1, round(1 / (self.info.fps * self.info.time_base)))

    def _close(self) -> None:
        self._flush(last=True)
        self.writer.close()

    def _stage(self, name: str, work: Callable):
        started = time.perf_counter()
        result = work()
        self.stages[name] = time.perf_counter() - started
        return result


class _Start:
    """How the parameters of any frame begin: a projection, corrected by what the joint fit found on the key frames."""

    def __init__(self, fit: ModeFit, driven: Tensor):
        self.driven = driven
        self._fit = fit
        seen = fit.guess(fit.drawn, fit.truth, fit.driven)
        self._correction = linear_correction(seen, fit.fitted())

    def guess(self, drawn: Tensor, truth: Tensor, driven: Tensor) -> Tensor:
        """Parameters (N, planes - 1) of frames that the model draws as `drawn`; the driven ones as they are."""
        moved = corrected(self._fit.guess(drawn, truth, driven), self._correction)
        return torch.cat([driven, moved[:, driven.shape[1] :]], 1)


class _Sound:
    """Hands out the audio packets of a stretch of time, in order."""

    def __init__(self, reader: AudioReader | None, info: VideoInfo):
        self.config = reader.config if reader is not None else None
        self._packets: Iterator[AudioPacket] = iter(reader) if reader is not None else iter(())
        self._next = next(self._packets, None)

    def until(self, seconds: Fraction | None) -> list[AudioPacket]:
        """Packets that begin before `seconds` on the clock of the pts; None for all that is left."""
        out: list[AudioPacket] = []
        while self._next is not None and (seconds is None or self._next.pts < seconds * 48_000):
            out.append(self._next)
            self._next = next(self._packets, None)
        return out


def hold(motion: np.ndarray, held: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """Repeat the last good row over held frames; before the first one, the first good row."""
    out = motion.copy()
    good = np.flatnonzero(~held)
    last = before if before is not None else (out[good[0]] if len(good) else np.zeros_like(out[0]))
    for i in range(len(out)):
        if held[i]:
            out[i] = last
        last = out[i]
    return out
