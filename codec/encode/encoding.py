"""What both kinds of encoding share: open the source, start the file, say what was written.

`streaming` goes through the clip once, `wholeclip` looks at all of it first; `encoder` chooses.
What the file shows is found by a carrier (`fev.codec.fit.carrier`), of which the encoding knows no
more than its few verbs.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

import numpy as np

from ...format.container import Writer
from ...format.excerpt import Excerpt
from ...format.header import Header
from ...format.meta import PRIVATE, Meta, pack_key_frames
from ...format.stage import Set
from ...format.still import CODEC_AV1, Still
from ...format.video import VideoConfig
from ..draw.render import finest
from ..face.background import Plate, PlateSamples, encode_plate, make_plate
from ..face.camera import Camera
from ..face.faces import ShotFaces
from ..face.light import gain
from ..face.people import People
from ..face.person import Person
from ..face.places import Places
from ..face.portrait import Closer
from ..face.shots import Shots
from ..face.survey import Survey
from ..fit.carrier import Appearance, Carrier, CarrierSettings, Spending
from ..fit.effort import Effort
from ..fit.spread import WorstReport
from ..fit.stages import Stages
from ..media.audio import Sound, open_audio
from ..media.frame import Frame
from ..media.identities import ReusedIdentity, remember
from ..media.notices import Notices
from ..media.source import MediaSource, rereadable
from ..media.streams import StreamChoice
from ..media.video import VideoReader, open_video
from ..model.devices import pick_device
from ..model.modelfile import DEFAULT, Model, load_model
from ..threads.ahead import Ahead
from .carriers import carrier_of
from .closer import Spot, closer
from .options import EncodeOptions
from .outgoing import Outgoing
from .started import OpenedClip, SentActor, StartedFile
from .surveys import Surveys

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
        identity_sha256: what other files may refer to, of the first actor.
        actors, sets: of the file.
        chapters: in which the clip was fitted and written.
        revisions: in which the actors came, the first of each counted too.
        stages: seconds by stage.
        notices: what there is to say, counts by the keys of `notices.WORDS`.
        worst: what the bound on the worst frame did, by chapter and actor; empty where there was
            none.
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
    actors: int = 1
    sets: int = 0
    chapters: int = 1
    revisions: int = 1
    stages: dict[str, float] = field(default_factory=dict)
    notices: dict[str, int] = field(default_factory=dict)
    worst: tuple[WorstReport, ...] = ()


class Encoding(ABC):
    """One clip on its way into a file.  `work` is what the two kinds differ in.

    Args:
        model: that draws it.
        options: what the caller chose.
        effort: how much work is done.
        carrier: finds what the first actor of the file shows, and all others where nothing is
            `known`.
        stages: told what is done.
        stack: closes what is opened.
        known: the identity that another file holds, if the first actor is to be of that.
    """

    def __init__(
        self,
        model: Model,
        options: EncodeOptions,
        effort: Effort,
        carrier: Carrier[Any],
        stages: Stages,
        stack: ExitStack,
        known: ReusedIdentity | None = None,
    ):
        self.model, self.options, self.effort, self.carrier = model, options, effort, carrier
        self.stages, self.stack, self.known = stages, stack, known
        self._others: Carrier[Any] | None = None
        self.device = pick_device(options.device)
        self.finer = options.finer(model.size)
        self.notices = Notices()
        self.places = Places()
        self.chapters = 1
        self.bytes: int | None = None  # of the file, where it is not as the writer wrote it
        self.bounds: list[WorstReport] = []
        self.reopen: Callable[[], VideoReader]  # the clip once more, when it was opened

    def run(self, src: MediaSource, dst: BinaryIO) -> EncodeReport:
        """Read the clip and write the file.  Raises FevError."""
        started = time.perf_counter()
        clip = self._open(src)
        file = self.work(clip, dst)
        frames = file.writer.frames
        self.notices.add("all_damaged", int(self.notices["damaged"] >= frames))
        excerpts = [sent.excerpt for sent in file.actors.values()]
        for excerpt in excerpts if self.options.remember else ():
            remember(excerpt)
        return EncodeReport(
            frames=frames,
            held=clip.surveys.held,
            width=file.header.width,
            height=file.header.height,
            duration_s=float(file.out.end - clip.info.start_time),
            bytes=file.writer.bytes_written if self.bytes is None else self.bytes,
            preset=self.options.preset,
            model=self.model.name,
            aligned=bool(clip.surveys.aligned),
            elapsed_s=time.perf_counter() - started,
            identity_sha256=excerpts[0].sha256.hex(),
            actors=len(file.actors),
            sets=len(file.sets),
            chapters=self.chapters,
            revisions=sum(sent.actor.revision + 1 for sent in file.actors.values()),
            stages=self.stages.seconds,
            notices=self.notices.as_dict(),
            worst=tuple(self.bounds),
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
        inverter = built_in.inverter

        def faces(shot: Iterator[Frame], people: People, aligned: bool | None) -> ShotFaces:
            def survey(
                frames: Iterator[Frame], begin: np.ndarray | None, others: Callable[[], list[np.ndarray]]
            ) -> Survey:
                first = begin is None
                camera = Camera() if first and not options.crop else None
                return Survey(
                    frames, aligner, self.model.size, options.face, self.carrier.registration(), Person(inverter),
                    self.notices if first else Notices(), people, aligned if first else False,
                    begin, others, first, camera,
                )  # fmt: skip

            return ShotFaces(shot, survey, 1 if options.crop else options.faces)

        self.reopen = lambda: open_video(file, options.start, options.duration, which=which)
        sound = Sound(None, ()) if audio is None else Sound(audio.config, audio)
        return OpenedClip(video.info, sound, Surveys(Shots(frames), faces, self.notices))

    def carrier_for(self, number: int) -> Carrier[Any]:
        """The carrier of an actor: an identity that another file holds is the first one's."""
        if number and self.known is not None:
            if self._others is None:
                settings = CarrierSettings(self.effort, self.options.pivot, self.device, self.options.worst, self.finer)
                self._others = carrier_of(self.model, settings, self.stages)
            return self._others
        return self.carrier

    def spending(
        self,
        carrier: Carrier[Any],
        seconds: float | None,
        placements: list[np.ndarray],
        before: SentActor | None = None,
        chapters: int = 1,
    ) -> Spending:
        """What an actor may cost: what the caller said, or as many bytes as there is to show.

        What the caller said bounds all revisions together.  Each may take an even part of what is
        left, or more where its chapter shows more.

        Args:
            carrier: of the actor.
            seconds: that the face is seen, None where nobody knows.
            placements: of the frames with the face.
            before: its last revision, None where it is new.
            chapters: that are left.
        """
        usual = carrier.usual_budget(seconds, 2 * float(np.median([p[2] for p in placements])))
        if self.options.identity_budget is None:
            return Spending(self.options.fineness, usual)
        kept = 0 if before is None else before.actor.size - len(before.actor.parts.get("MODE", b""))
        left = self.options.identity_budget - (0 if before is None else before.brought)
        return Spending(self.options.fineness, kept + min(left, max(left // chapters, usual - kept)))

    def closer(self, spots: Sequence[Spot]) -> Closer | None:
        """What cuts squares from the clip again, as fine as they are drawn; None where they are as
        the networks see them.

        Args:
            spots: where the square of each row is.
        """
        return None if self.finer == 1 else closer(self.reopen, spots, self.finer * self.model.size)

    @property
    def side(self) -> int:
        """Of the square that is drawn, in pixels."""
        pivot = None if self.known is None else self.known.identity.pivot
        return self.finer * self.model.size if pivot is None else finest(pivot.still, self.model.size)

    def plate(self, samples: PlateSamples) -> Plate:
        """The picture behind the faces of a shot, from its sample frames."""
        return make_plate(samples)

    def still(self, plate: Plate, room: int | None = None) -> Still:
        """A plate as it is sent.

        Args:
            room: bytes; the finest picture that takes no more, or the coarsest.
        """
        for quality in (self.options.fineness,) if room is None else PLATE_QUALITIES:
            data = encode_plate(plate.picture, quality)
            if room is None or len(data) <= room:
                break
        return Still(CODEC_AV1, plate.picture.shape[1], plate.picture.shape[0], 1, False, data)

    def start(
        self,
        clip: OpenedClip,
        dst: Any,
        aligned: bool,
        keys: list[int],
        sets: list[Set],
        video: VideoConfig | None = None,
    ) -> StartedFile:
        """Write the header.

        Args:
            aligned: the clip is the aligned square.
            keys: numbers of the frames that others are registered to.
            sets: those that are known; the first is that of the first segment.
            video: what the video of segments is, if there is any.
        """
        info, model = clip.info, self.model
        crop = self.options.crop or aligned
        width, height = (self.side, self.side) if self.options.crop else (info.width, info.height)
        header = Header(
            width=width, height=height,
            time_base=(info.time_base.numerator, info.time_base.denominator),
            fps=(info.fps.numerator, info.fps.denominator),
            model_sha256=bytes.fromhex(model.sha256), params=model.latents.params,
            crop=crop, placement=not crop, segment_frames=self.segment_frames(clip),
        )  # fmt: skip
        writer = Writer(
            dst, header, sets=sets[:1], audio=clip.sound.config, meta=self._meta(keys),
            repeat_header_every=self._repeat(),
        )  # fmt: skip
        out = Outgoing(writer, clip.sound, info, video)
        return StartedFile(header, writer, out, sets={given.number: given for given in sets})

    def sent(self, file: StartedFile, number: int, appearance: Appearance) -> SentActor:
        """An actor of a file, or a revision of it where it differs from what the file has; its chunk
        is written when it is first needed."""
        before = file.actors.get(number)
        if before is not None and appearance.is_as(before.appearance):
            file.actors[number] = replace(before, appearance=appearance)
            return file.actors[number]
        if before is not None and not file.out.has_sent(before.actor.key):
            before = None  # all that showed it is video
        actor = appearance.actor(number, 0 if before is None else before.actor.revision + 1)
        assert appearance.budget is None or actor.size <= appearance.budget
        renderer = appearance.renderer(self.model, self.device)
        quantise = self.carrier_for(number).quantiser(renderer)
        if before is None:
            excerpt = appearance.known or Excerpt(file.header, actor)
            file.actors[number] = SentActor(actor, appearance, renderer, quantise, excerpt, actor.size)
        else:
            brought = sum(len(data) for part, data in actor.parts.items() if data != before.actor.parts.get(part))
            file.actors[number] = SentActor(
                actor, appearance, renderer, quantise, before.excerpt, before.brought + brought
            )
        return file.actors[number]

    def _meta(self, keys: list[int]) -> Meta:
        meta = pack_key_frames(keys)
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
