"""Puppeteering: the motion of one file on the identity of another.

Oorloff and Yacoob (arXiv 2203.14512, supplement, Fig. 7) carry the parameters over as they are.
That is right where they mean the same in both files, which is so where a file's mix is all that
stands between its parameters and the model's.  The parameters of a file with modes of its own mean
what was fitted to that clip: there both files are drawn, what the model's inverter sees in the
pictures is the common tongue, and how the identity's parameters follow from it is learnt from the
identity's own frames.  It sees faces at rest differently, so there each clip's mean stands for
rest, and the whole motion is scaled down until it is as lively as the identity's own: beyond what
that clip showed its modes know nothing.

The result says that it is synthetic: in the header, and in its metadata with the digests of both
files.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from ..format.actor import Actor
from ..format.container import Writer
from ..format.errors import FevError, ModelMismatchError
from ..format.header import UNKNOWN_FRAMES
from ..format.meta import Meta
from ..format.segment import Segment, Track
from .draw.frames import BATCH
from .draw.units import dequantise_placement, quantise_placement
from .face.absence import nobody
from .fit.reading import InverterReading
from .fit.regression import regression
from .media.source import MediaSource, rereadable
from .model.devices import pick_device
from .model.modelfile import Model, load_for
from .performer import Performer, Shown

BLOCK = 1 << 20
OUTER = 0.9  # share of the identity's frames that lie within its reach
FLOOR = 0.02  # of the mean variance of its parameters, so that what hardly moves does not bound the rest
ROAM = 0.05  # of the square's half side: so much farther than in its own clip the square may go

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class PuppetReport:
    """What was written.

    Args:
        learnt: how the parameters were carried over; False means as they are.
        identity_file_sha256, motion_file_sha256: digests of the two files, as they were read.
        elapsed_s: wall time.
    """

    frames: int
    bytes: int
    duration_s: float
    learnt: bool
    identity_file_sha256: str
    motion_file_sha256: str
    elapsed_s: float


def puppet(
    identity: MediaSource,
    motion: MediaSource,
    dst: BinaryIO,
    *,
    actor: int = 0,
    motion_actor: int = 0,
    model: str | os.PathLike[str] | None = None,
    audio: bool = True,
    device: str = "auto",
    progress: Progress = lambda s, d, t: None,
) -> PuppetReport:
    """Write to `dst` a person of the .fev stream `identity`, moved as one of `motion`, whose sound
    it keeps.

    Args:
        actor, motion_actor: numbers of these two in their files.
        audio: False leaves the sound out.

    Raises:
        FevError.
        ModelMismatchError: where the files were made with two models.
    """
    started = time.perf_counter()
    with ExitStack() as stack:
        files = [stack.enter_context(rereadable(s)) for s in (identity, motion)]
        digests = [_digest(file) for file in files]
        asked = (identity, actor), (motion, motion_actor)
        who, how = (Performer(file, *one) for file, one in zip(files, asked, strict=True))
        if who.reader.header.model_sha256 != how.reader.header.model_sha256:
            raise ModelMismatchError(f"{how.name} and {who.name} were made with different models")
        loaded = load_for(who.reader.header.model_sha256.hex(), model)
        for clip in (who, how):
            clip.load(loaded, pick_device(device))
        carry = _Carry(loaded, who, how, progress)
        written = _write(dst, who, how, carry, audio, digests, progress)
    return PuppetReport(
        written.frames,
        written.bytes_written,
        how.seconds,
        carry.learnt,
        digests[0],
        digests[1],
        time.perf_counter() - started,
    )


class _Carry:
    """From the parameters of the one file to those of the other."""

    def __init__(self, model: Model, who: Performer, how: Performer, progress: Progress):
        self.model, self.who, self.how = model, who, how
        alike = (who.look.pivot is None) == (how.look.pivot is None)
        self.learnt = not (who.plain and how.plain and alike)
        if not self.learnt:
            return
        if model.inverter is None:
            raise FevError(
                f"{who.name} or {how.name} has modes of its own; model {model.name} has no inverter to read them with"
            )
        own = torch.cat([who.values(track) for track in who.tracks(own=True)])
        seen = self._seen(how, progress)
        change = seen - seen.mean(0)
        if who.plain:
            rest = _driven(who.own, own).mean(0)
            self.moved = self._undriven(rest + change[:, : model.latents.params])
        else:
            self.moved = own.mean(0) + within_reach(own, change @ regression(self._seen(who, progress, own=True), own))

    def __call__(self, track: Track, first: int) -> np.ndarray:
        """Integers (N, P) of the motion's file, from the actor's frame `first` on -> of the
        identity's.
        """
        if self.learnt:
            moved = self.moved[first : first + len(track.motion)]
        else:
            moved = self._undriven(_driven(self.how.shown, self.how.values(track)))
        return np.asarray((moved / self.who.own.step).round().to(torch.int32).numpy())

    @torch.no_grad()
    def _seen(self, clip: Performer, progress: Progress, own: bool = False) -> Tensor:
        """What the inverter sees in a clip's pictures, (N, 2 P): first what drives a file like the
        identity's.  own: in the first revision alone.
        """
        out: list[Tensor] = []
        for track in clip.tracks(own):
            for i in range(0, len(track.motion), BATCH):
                guess = InverterReading.of(
                    self.model, clip.shown.renderer.draw(track.motion[i : i + BATCH]).clamp(-1, 1)
                )
                pair = (guess.motion, guess.moves) if self.who.look.pivot is None else (guess.moves, guess.motion)
                out.append(torch.cat(pair, 1))
            progress(f"look at {clip.name}", sum(map(len, out)), clip.frames)
        return torch.cat(out)

    def _undriven(self, driven: Tensor) -> Tensor:
        """The model's parameters (N, P) -> those of the identity's file, by least squares where its
        mix keeps few.
        """
        modes = self.who.own.modes
        if modes is None:
            return driven
        columns = modes.mix.shape[1] - 1
        out = torch.zeros_like(driven)
        if columns:
            inverse = torch.linalg.pinv(modes.mix[:, 1:].double())
            out[:, :columns] = ((driven - modes.mix[:, 0]).double() @ inverse.t()).float()
        return out


def within_reach(own: Tensor, change: Tensor) -> Tensor:
    """A motion's changes (M, P) from its mean, no livelier than a clip's own values (N, P).

    Distance is Mahalanobis's, under the covariance of the clip's own values: what moves together
    stays together.  All is scaled by one number until OUTER of the frames lie as near as OUTER of
    the clip's own; what is still farther comes back to there alone.
    """
    centred = (own - own.mean(0)).double()
    covariance = centred.t() @ centred / len(centred)
    moving = covariance.diagonal() > 1e-9
    out = torch.zeros_like(change)
    if not moving.any():
        return out
    covariance = covariance[moving][:, moving]
    covariance += FLOOR * covariance.diagonal().mean() * torch.eye(len(covariance))
    white = torch.linalg.cholesky(torch.linalg.inv(covariance))
    reach = (centred[:, moving] @ white).norm(dim=1).quantile(OUTER)
    wanted = change[:, moving].double()
    far = (wanted @ white).norm(dim=1, keepdim=True)
    wanted = wanted * (reach / far.quantile(OUTER).clamp_min(1e-9)).clamp_max(1)
    far = (wanted @ white).norm(dim=1, keepdim=True)
    out[:, moving] = (wanted * (reach / far.clamp_min(1e-9)).clamp_max(1)).float()
    return out


def _driven(shown: Shown, motion: Tensor) -> Tensor:
    return motion if shown.modes is None else shown.modes.drive(motion)


def roaming(places: np.ndarray, own: np.ndarray, moving: np.ndarray | None) -> np.ndarray:
    """Where the identity's square goes when it follows another one: rows (N, 4) of centre, half
    side, angle.

    It stays where it was seen in its own clip, and a little around: its background is a still of
    that place.  Where nobody is there in the motion, nobody is shown.

    Args:
        places: (N, 4) of the motion.
        own, moving: all placements of both clips.  Without `moving` it rests.
    """
    own, gone = own[~nobody(own)], nobody(places)
    rest = np.median(own, 0)
    moving = None if moving is None else moving[~nobody(moving)]
    if moving is None or not len(moving):
        return np.tile(rest, (len(places), 1))
    still = np.median(moving, 0)
    out = np.empty_like(places)
    out[:, :2] = rest[:2] + (places[:, :2] - still[:2]) / still[2] * rest[2]
    out[:, 2] = rest[2] * places[:, 2] / still[2]
    out[:, 3] = rest[3] + places[:, 3] - still[3]
    room = ROAM * np.array([rest[2], rest[2], rest[2], 1.0])
    out = np.clip(out, own.min(0) - room, own.max(0) + room)
    out[gone, 2] = 0
    return np.asarray(out)


def _write(
    dst: BinaryIO, who: Performer, how: Performer, carry: _Carry, audio: bool, digests: list[str], progress: Progress
) -> Writer:
    look, held, played = who.look, who.reader, how.reader
    header = replace(
        held.header, time_base=played.header.time_base, fps=played.header.fps, synthetic=True,
        segment_frames=played.header.segment_frames, frame_count=UNKNOWN_FRAMES,
    )  # fmt: skip
    actor = Actor.of(
        look.values, look.motion_step_code, look.identity_step_code, delta=look.delta, modes=look.modes,
        pivot=look.pivot,
    )  # fmt: skip
    meta: Meta = {"synthetic": True, "identity_file_sha256": digests[0], "motion_file_sha256": digests[1]}
    writer = Writer(
        dst, header, actors=[actor], sets=[] if who.on_set is None else [replace(who.on_set, number=0)],
        audio=played.audio if audio else None, meta=meta,
    )  # fmt: skip
    rest, first = Track(np.zeros((1, header.params), np.int32)), 0
    for segment, track in how.segments():
        if track is None:
            new = _absent(rest, segment.frames, header.placement)
        else:
            new = Track(carry(track, first), _placed(track, who, how) if header.placement else None, track.held)
            first += segment.frames
        rest = new
        packets = segment.audio if audio else []
        writer.write_segment(Segment(segment.index, segment.first_frame, segment.pts, [new], packets))
        progress("puppet", writer.frames, how.length)
    writer.close()
    return writer


def _placed(track: Track, who: Performer, how: Performer) -> np.ndarray:
    """Integers (N, 4): where the identity's square goes."""
    places = np.zeros((len(track.motion), 4))
    if track.placement is not None:
        places = dequantise_placement(track.placement)
    assert who.places is not None
    return quantise_placement(roaming(places, who.places, how.places))


def _absent(before: Track, frames: int, placement: bool) -> Track:
    """Nobody, or where a file says no places the last picture."""
    motion = np.repeat(before.motion[-1:], frames, 0)
    return Track(motion, np.zeros((frames, 4), np.int32) if placement else None, np.arange(frames) > 0)


def _digest(file: BinaryIO) -> str:
    out = hashlib.sha256()
    file.seek(0)
    while block := file.read(BLOCK):
        out.update(block)
    return out.hexdigest()
