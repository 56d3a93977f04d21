"""The encoder: a video in, a `.fev` stream out (design section 3).

Stages: survey (align, invert) -> identity, pivot, weight delta, modes (`appearance`) -> motion against what was
quantised (`motion`) -> segments.  Preset `fast` is one
pass, feed-forward, and streams; `medium` and `slow` look at the whole clip first and keep its
aligned squares in a temporary file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..format.container import Writer
from ..format.errors import UsageError
from ..format.excerpt import Excerpt
from ..format.header import Header
from ..format.meta import pack_key_frames
from ..format.still import CODEC_AV1, Still
from .appearance import Appearance, Fitter, Guess
from .audio import Sound, open_audio
from .background import encode_plate, make_plate
from .identities import Known, known, remember
from .identity import within
from .media import open_video
from .modefit import ModeStart
from .model import DEFAULT, Model, load_for, load_model, pick_device
from .motion import MotionSettings, fit_motion, nearest
from .options import FAST, LEAST_BUDGET, SLOW, EncodeOptions
from .outgoing import Nowhere, Outgoing
from .paper.fitter import Codes, Found, PaperFitter
from .paper.stylespace import StyleSpace
from .ratecontrol import MOST_PLATE, MOST_STEPS, price_for, share_out
from .rdoq import choose, hold, metric_of
from .render import Renderer
from .reuse import AT_ONCE, FITTED, STAY, Passes, ReadStart, ReuseFitter
from .source import Source, name_of, rereadable
from .survey import CropStore, Seen, Survey
from .units import IDENTITY_CODE, motion_code

MOST_FRAMES = 256  # of a segment, for every conforming reader
BATCH = 16
SMOOTH = 0.0007  # price of a parameter's change from frame to frame, where a unit is what it is at first
FAST_MOTION = MotionSettings(64, 12, 0.4, 0.0007, 0.006)  # of a pivot that shared modes move

Progress = Callable[[str, int, int], None]  # stage, done, total
Block = tuple[Tensor, np.ndarray]  # of a segment: parameters (n, 35), unquantised; (n,) which frames are held


@dataclass(frozen=True)
class EncodeReport:
    """What was written.  seconds: wall time.  held: frames without a face.  stages: seconds a stage.
    identity: the hash that other files may refer to."""

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


@dataclass
class Clip:
    """What the survey leaves behind: a row a frame, squares on disk for the frames with a face.

    crop_row: place in the store, -1 for a held frame.
    """

    pts: list[int] = field(default_factory=list)
    placement: list[np.ndarray] = field(default_factory=list)
    crop_row: list[int] = field(default_factory=list)
    guesses: list[Guess] | list[Codes] = field(default_factory=list)


def encode(
    src: Source, dst: BinaryIO, options: EncodeOptions, progress: Progress = lambda s, d, t: None
) -> EncodeReport:
    """Encode `src` into the open stream `dst`.  Raises FevError."""
    with ExitStack() as stack:
        if options.identity is None:
            return _Encoder(load_model(options.model), options, None, progress, stack).run(src, dst)
        who = known(options.identity)
        return _Encoder(_model_of(who, options), options, who, progress, stack).run(src, dst)


def _model_of(who: Known, options: EncodeOptions) -> Model:
    """The model of an identity; any other one that was asked for is refused."""
    return load_for(who.identity.header.model_sha256.hex(), None if options.model == DEFAULT else options.model)


class _Encoder:
    def __init__(self, model: Model, options: EncodeOptions, who: Known | None, progress: Progress, stack: ExitStack):
        self.who = who
        self.model, self.options, self.progress, self.stack = model, options, progress, stack
        self.device = pick_device(options.device)
        self.stages: dict[str, float] = {}
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
        aligner = self.model.aligner or load_model(DEFAULT).aligner
        registration = None
        if isinstance(self.fitter, PaperFitter) and self.options.preset != FAST:
            registration = self.fitter.registration()
        survey = Survey(video, aligner, self.model.size, self.options.face, registration)
        self.sound = Sound(None, ()) if audio is None else Sound(audio.config, audio)
        self.info, self.name = info, name_of(src)
        if self.options.preset == FAST:
            frames = self._fast(survey, dst)
        else:
            frames = self._thorough(survey, dst)
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
            if lead:
                self.out.flush()
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
        self.out.close()
        return done

    def _fast_start(self, survey: Survey, lead: list[Seen], dst: BinaryIO) -> None:
        crops = [s.crop for s in lead if s.crop is not None]
        pictures = _pictures(crops)
        look = self.look = self.fitter.at_once(pictures, self.fitter.guess(pictures))
        self._start(survey, dst, look, self._background(survey, lead))
        self.pivoted = look.pivot is not None and self.model.shared is not None

    def _fast_segment(self, block: list[Seen], before: np.ndarray | None) -> np.ndarray:
        crops = [s.crop for s in block if s.crop is not None]
        motion = torch.zeros(len(block), self.header.params)
        if crops:
            motion[[i for i, s in enumerate(block) if s.crop is not None]] = self._fast_motion(_pictures(crops))
        held = np.array([s.crop is None for s in block])
        q = self._quantise(motion, held, before)
        self.out.write([s.pts for s in block], q, [s.placement for s in block], held)
        return q[-1]

    def _fast_motion(self, pictures: Tensor) -> Tensor:
        """Parameters (N, 35) of the frames of a block, by the inverter; where shared modes move a pivot, fitted."""
        guess = self.fitter.guess(pictures)
        if isinstance(self.fitter, PaperFitter):
            return self.fitter.moves(self.look, guess)
        if self.look.start is not None:
            driven = self.look.start.drive(guess.motion)
            motion = self._refined(pictures, self.look.start, driven, self.last, AT_ONCE)
            self.last = motion[-1]
            return motion
        if not self.pivoted:
            return guess.motion
        motion = fit_motion(self.renderer, pictures, guess.moves, FAST_MOTION, self.last)
        self.last = motion[-1]
        return motion

    def _thorough(self, survey: Survey, dst: BinaryIO) -> int:
        store = CropStore(self.model.size)
        self.stack.callback(store.close)
        clip = self._stage("survey", lambda: self._read(survey, store))
        seen = [Seen(p, q, None) for p, q in zip(clip.pts, clip.placement, strict=True)]
        guesses = type(clip.guesses[0]).joined(clip.guesses)
        if self.options.bitrate is not None:
            self._to_bitrate(survey, clip, seen, store, guesses, dst)
        else:
            look = self.fitter.fit(store, guesses)
            self._start(survey, dst, look, self._background(survey, seen))
            self._stage("motion", lambda: self._send(clip, self._fitted(clip, store, look)))
        return len(clip.pts)

    def _to_bitrate(
        self, survey: Survey, clip: Clip, seen: list[Seen], store: CropStore, guesses: Any, dst: BinaryIO
    ) -> None:
        """Two passes (`ratecontrol`): the file is written again and again to nowhere, at other prices of motion."""
        if isinstance(self.fitter, PaperFitter):
            raise UsageError("imported networks have no bitrate to aim at; --quality and --identity-budget set it")
        assert self.options.bitrate is not None
        packets = self.sound.until(None)
        seconds = clip.pts[-1] * self.info.time_base + 1 / self.info.fps - self.info.start_time
        target = round(self.options.bitrate * 125 * float(seconds))
        background = self._background(survey, seen, round(MOST_PLATE * target))

        def written(look: Appearance, blocks: Iterable[Block], sink: Any) -> int:
            self.sound = Sound(self.sound.config, packets)
            self._start(survey, sink, look, background)
            self._send(clip, blocks)
            return self.writer.bytes_written

        if isinstance(self.fitter, Fitter):
            nobody = Appearance(np.zeros(1, np.int32), torch.zeros(0), motion_code(self.options.fineness))
            others = written(nobody, self._still(clip), Nowhere()) - LEAST_BUDGET
            share = share_out(target - others, len(clip.pts))
            self.fitter.choose(share.quality, share.identity)
            self.metric = None
        look = self.fitter.fit(store, guesses)
        self._start(survey, Nowhere(), look, background)
        blocks = self._stage("motion", lambda: list(self._fitted(clip, store, look)))

        def size(price: float) -> int:
            self.price = price
            return written(look, blocks, Nowhere())

        def near() -> None:
            """Steps of motion with which the usual price comes near; modes are drawn alike whatever the step."""
            way = 0
            for _ in range(MOST_STEPS if look.modes is not None and isinstance(self.fitter, Fitter) else 0):
                turn = size(1.0) > target
                if way and turn != (way > 0):
                    break
                way = 1 if turn else -1
                look.motion_code += way
                self.metric = None

        def search() -> float:
            near()
            return price_for(size, target)

        self.price = self._stage("price", search)
        written(look, blocks, dst)

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
                clip.guesses.append(self.fitter.guess(_pictures(batch)))
                batch.clear()
            self.progress("align", len(clip.pts), self.info.frames_hint or 0)
        if batch:
            clip.guesses.append(self.fitter.guess(_pictures(batch)))
        return clip

    def _blocks(self, clip: Clip) -> Iterator[tuple[int, list[int]]]:
        """The segments of a clip: first frame, and the rows of its frames in the store, -1 for held ones."""
        need = self._segment_frames()
        return ((first, clip.crop_row[first : first + need]) for first in range(0, len(clip.pts), need))

    def _fitted(self, clip: Clip, store: CropStore, look: Appearance | Found) -> Iterator[Block]:
        """Every segment's parameters (n, 35), unquantised, and which of its frames are held."""
        free: Tensor | None = None
        for _, rows in self._blocks(clip):
            here = [r for r in rows if r >= 0]
            block = torch.zeros(len(rows), self.header.params)
            if here:
                fitted = self._fit_block(store.read(here), look, here, free)
                block[[i for i, r in enumerate(rows) if r >= 0]] = fitted
                free = fitted[-1]
            yield block, np.array([r < 0 for r in rows])

    def _still(self, clip: Clip) -> Iterator[Block]:
        """Segments in which nothing moves."""
        for _, rows in self._blocks(clip):
            yield torch.zeros(len(rows), self.header.params), np.zeros(len(rows), bool)

    def _send(self, clip: Clip, blocks: Iterable[Block]) -> None:
        """Quantise and write the segments of a clip, and end the file."""
        before: np.ndarray | None = None
        for (first, rows), (block, held) in zip(self._blocks(clip), blocks, strict=True):
            end = first + len(rows)
            before = self._quantise(block, held, before)
            self.out.write(clip.pts[first:end], before, clip.placement[first:end], held)
            before = before[-1]
            self.progress("motion", end, len(clip.pts))
        self.out.close()

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

    def _fit_block(self, crops: Tensor, look: Appearance | Found, rows: list[int], before: Tensor | None) -> Tensor:
        """Parameters (N, 35) of a block of frames, `rows` of the clip."""
        if isinstance(look, Found):
            return look.motion[rows]
        start = look.start
        steps = 24 if self.options.preset == SLOW else 16
        if start is None:
            settings = MotionSettings(size=64, steps=steps)
            if self.who is not None and look.pivot is not None and self.model.shared is not None:
                settings = FAST_MOTION
            return fit_motion(self.renderer, crops, look.motion[rows], settings, before)
        passes = ((128, steps, 0.35), (256, steps // 2, 0.12))
        return self._refined(crops, start, start.driven[rows], before, passes if self.who is None else FITTED)

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

    def _background(self, survey: Survey, seen: list[Seen], room: int | None = None) -> Still | None:
        """The still picture behind the face.  room: bytes; the finest that takes no more, or the coarsest."""
        if self.options.crop or survey.aligned:
            return None
        plate = make_plate(survey.plates, np.array([s.placement for s in seen]))
        for quality in (self.options.fineness,) if room is None else (60.0, 40.0, 20.0, 0.0):
            data = encode_plate(plate, quality)
            if room is None or len(data) <= room:
                break
        return Still(CODEC_AV1, plate.shape[1], plate.shape[0], 1, False, data)

    # -- writing

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
            background=background, audio=self.sound.config, meta=pack_key_frames(survey.key_frames),
            repeat_header_every=self.options.repeat_segments,
        )  # fmt: skip
        if self.who is None:
            assert sum(len(payload) for _, payload in self.writer.identity_chunks) <= self.fitter.budget
        self.out = Outgoing(self.writer, self.sound, info)

    def _written(self, look: Appearance | Found) -> dict[str, Any]:
        """What the Writer is to say of the identity."""
        if isinstance(self.fitter, ReuseFitter):
            return {"reference": self.fitter.who.sha256}
        identity = within(look.identity, self.fitter.budget)
        return {"identity": identity, "delta": look.delta or None, "modes": look.modes, "pivot": look.pivot}

    def _segment_frames(self) -> int:
        return int(np.clip(round(float(self.info.fps) * self.options.segment_seconds), 1, MOST_FRAMES))

    def _stage(self, name: str, work: Callable):
        started = time.perf_counter()
        result = work()
        self.stages[name] = time.perf_counter() - started
        return result


def _pictures(crops: list[np.ndarray]) -> Tensor:
    """Squares (S, S, 3), uint8 -> (N, 3, S, S), -1 to 1."""
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 127.5 - 1
