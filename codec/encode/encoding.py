"""What both kinds of encoding share: open the source, start the file, say what was written.

`streaming` goes through the clip once, `wholeclip` looks at all of it first; `encoder` chooses.
What the file shows is found by a carrier (`fev.codec.fit.carrier`), of which the encoding knows no
more than its few verbs.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from ...format.container import Writer
from ...format.excerpt import Excerpt
from ...format.header import Header
from ...format.meta import PRIVATE, Meta, pack_key_frames
from ...format.stage import Set
from ...format.still import CODEC_AV1, Still
from ..face.background import encode_plate, make_plate
from ..face.light import gain
from ..face.person import Person
from ..face.survey import Survey
from ..fit.carrier import Appearance, Carrier, Spending
from ..fit.effort import Effort
from ..fit.stages import Stages
from ..media.audio import Sound, open_audio
from ..media.identities import remember
from ..media.notices import Notices
from ..media.source import MediaSource, rereadable
from ..media.streams import StreamChoice
from ..media.video import open_video
from ..model.devices import pick_device
from ..model.modelfile import DEFAULT, Model, load_model
from ..threads.ahead import Ahead
from .options import EncodeOptions
from .outgoing import Outgoing
from .started import Backdrop, OpenedClip, StartedFile

MOST_FRAMES = 256  # of a segment, for every conforming reader
READ_AHEAD = 4  # frames that are decoded before the survey asks for them
PLATE_QUALITIES = (60.0, 40.0, 20.0, 0.0)  # of a background that has to keep within some bytes, the finest first


@dataclass(frozen=True)
class EncodeReport:
    """What was written.

    Args:
        frames: of the file; `held` of them had no face.
        bytes: of the file.
        elapsed_s: wall time.
        identity_sha256: what other files may refer to.
        stages: seconds by stage.
        notices: what there is to say, counts by the keys of `notices.WORDS`.
    """

    frames: int
    held: int
    width: int
    height: int
    duration_s: float
    bytes: int
    preset: str
    model: str
    aligned: bool
    elapsed_s: float
    identity_sha256: str = ""
    stages: dict[str, float] = field(default_factory=dict)
    notices: dict[str, int] = field(default_factory=dict)


class Encoding(ABC):
    """One clip on its way into a file.  `work` is what the two kinds differ in.

    Args:
        model: that draws it.
        options: what the caller chose.
        effort: how much work is done.
        carrier: finds what the file shows.
        stages: told what is done.
        stack: closes what is opened.
    """

    def __init__(
        self,
        model: Model,
        options: EncodeOptions,
        effort: Effort,
        carrier: Carrier[Any],
        stages: Stages,
        stack: ExitStack,
    ):
        self.model, self.options, self.effort, self.carrier = model, options, effort, carrier
        self.stages, self.stack = stages, stack
        self.device = pick_device(options.device)
        self.notices = Notices()

    def run(self, src: MediaSource, dst: BinaryIO) -> EncodeReport:
        """Read the clip and write the file.  Raises FevError."""
        started = time.perf_counter()
        clip = self._open(src)
        file = self.work(clip, dst)
        frames = file.writer.frames
        self.notices.add("all_damaged", int(self.notices["damaged"] >= frames))
        assert clip.survey.aligned is not None
        if self.options.remember:
            remember(file.excerpt)
        return EncodeReport(
            frames=frames,
            held=clip.survey.held,
            width=file.header.width,
            height=file.header.height,
            duration_s=float(file.out.end - clip.info.start_time),
            bytes=file.writer.bytes_written,
            preset=self.options.preset,
            model=self.model.name,
            aligned=clip.survey.aligned,
            elapsed_s=time.perf_counter() - started,
            identity_sha256=file.excerpt.sha256.hex(),
            stages=self.stages.seconds,
            notices=self.notices.as_dict(),
        )

    @abstractmethod
    def work(self, clip: OpenedClip, dst: BinaryIO) -> StartedFile:
        """Write the whole file."""

    def _open(self, src: MediaSource) -> OpenedClip:
        options = self.options
        named = hasattr(src, "__fspath__") or isinstance(src, str)
        file = src if named else self.stack.enter_context(rereadable(src))
        which = StreamChoice(options.stream, options.audio_stream, not options.audio)
        video = self.stack.enter_context(
            open_video(file, options.start, options.duration, which=which, notices=self.notices)
        )
        audio = open_audio(file, video.info, bitrate=options.audio_bitrate) if options.audio else None
        if audio is not None:
            self.stack.enter_context(audio)
        built_in = load_model(DEFAULT)
        assert built_in.inverter is not None  # what tells people apart was learnt on its features
        aligner = self.model.aligner or built_in.aligner
        assert aligner is not None
        frames = self.stack.enter_context(Ahead(video, READ_AHEAD))
        survey = Survey(
            frames, aligner, self.model.size, options.face, self.carrier.registration(), Person(built_in.inverter),
            self.notices,
        )  # fmt: skip
        return OpenedClip(video.info, Sound(None, ()) if audio is None else Sound(audio.config, audio), survey)

    def spending(self, seconds: float | None, placements: list[np.ndarray]) -> Spending:
        """What the clip may cost: what the caller said, or as many bytes as there is to show.

        Args:
            seconds: that the face is seen, None where nobody knows.
            placements: of the frames with a face.
        """
        budget = self.options.identity_budget
        if budget is None:
            budget = self.carrier.usual_budget(seconds, 2 * float(np.median([p[2] for p in placements])))
        return Spending(self.options.fineness, budget)

    def backdrop(self, clip: OpenedClip, room: int | None = None) -> Backdrop:
        """The picture behind the face.

        Args:
            clip: that was surveyed.
            room: bytes; the finest picture that takes no more, or the coarsest.
        """
        if self.options.crop or clip.survey.aligned:
            return Backdrop()
        plate, moved = make_plate(clip.survey.samples.chosen())
        self.notices.add("camera", moved)
        for quality in (self.options.fineness,) if room is None else PLATE_QUALITIES:
            data = encode_plate(plate, quality)
            if room is None or len(data) <= room:
                break
        still = Still(CODEC_AV1, plate.shape[1], plate.shape[0], 1, False, data)
        return Backdrop(still, clip.survey.samples.empty)

    def start(self, clip: OpenedClip, dst: Any, appearance: Appearance, backdrop: Backdrop) -> StartedFile:
        """Write header and identity."""
        info, model = clip.info, self.model
        crop = self.options.crop or bool(clip.survey.aligned)
        width, height = (model.size, model.size) if self.options.crop else (info.width, info.height)
        known = appearance.known
        header = Header(
            width=width, height=height,
            time_base=(info.time_base.numerator, info.time_base.denominator),
            fps=(info.fps.numerator, info.fps.denominator),
            model_sha256=bytes.fromhex(model.sha256), params=model.latents.params,
            crop=crop, placement=not crop, segment_frames=self.segment_frames(clip),
        )  # fmt: skip
        renderer = appearance.renderer(model, self.device)
        actor = appearance.actor()
        assert appearance.budget is None or actor.size <= appearance.budget
        writer = Writer(
            dst, header, actors=[actor], sets=[] if backdrop.still is None else [Set(backdrop.still)],
            audio=clip.sound.config, meta=self._meta(clip.survey), repeat_header_every=self._repeat(),
        )  # fmt: skip
        return StartedFile(
            header, appearance, renderer, self.carrier.quantiser(renderer), writer,
            Outgoing(writer, clip.sound, info), known or Excerpt(header, actor), backdrop,
        )  # fmt: skip

    def _meta(self, survey: Survey) -> Meta:
        meta = pack_key_frames(survey.key_frames)
        if self.options.keep_notices:
            meta.update({PRIVATE + key: count for key, count in self.notices.as_dict().items()})
        return meta

    def _segment_seconds(self) -> float:
        return self.effort.segment if self.options.segment is None else self.options.segment

    def segment_frames(self, clip: OpenedClip) -> int:
        """Frames of a segment."""
        return int(np.clip(round(float(clip.info.fps) * self._segment_seconds()), 1, MOST_FRAMES))

    def _repeat(self) -> int:
        """Segments after which the set-up comes again, 0 for never."""
        repeat = self.options.repeat
        return 0 if repeat is None else max(1, round(repeat / self._segment_seconds()))

    def light(self, tones: list[np.ndarray], reference: np.ndarray) -> list[tuple[float, float]]:
        """Gain and offset of each picture's light against that of well-lit ones; fades are counted.

        Args:
            tones: of the pictures (`light.tone`).
            reference: of the clip's well-lit pictures.
        """
        out = [gain(t, reference) for t in tones]
        self.notices.add("faded", sum(g < 1 for g, _ in out))
        return out
