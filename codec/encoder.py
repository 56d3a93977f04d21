"""The encoder: a video in, a `.fev` stream out.

    survey (follow the face, align it)
    -> carrier (identity, pivot, weights, modes, within their bytes)
    -> motion against what was quantised -> segments

`encode/streaming.py` goes through the clip once and `encode/wholeclip.py` looks at all of it first;
the preset's effort says which.  `encode/carriers.py` knows what finds the appearance under which
model.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import BinaryIO

from ..format.errors import UsageError
from .encode.carriers import carrier_of
from .encode.encoding import EncodeReport
from .encode.options import EncodeOptions
from .encode.streaming import Streaming
from .encode.wholeclip import WholeClip
from .fit.carrier import CarrierSettings
from .fit.effort import Effort
from .fit.stages import Progress, Stages
from .media.identities import ReusedIdentity, read_identity
from .media.source import MediaSource
from .model.devices import pick_device
from .model.modelfile import DEFAULT, Model, load_for, load_model

__all__ = ["EncodeReport", "encode"]


def encode(
    src: MediaSource,
    dst: BinaryIO,
    options: EncodeOptions,
    progress: Progress = lambda stage, done, total: None,
    effort: Effort | None = None,
) -> EncodeReport:
    """Encode a clip.

    Args:
        src: path or binary file of the video.
        dst: open stream that takes the file.
        options: what the caller chose.
        progress: told how far each stage is.
        effort: how much work is done; None = what the preset stands for.

    Raises:
        UsageError: something is asked for that cannot be; before anything of the clip is read,
            unless only the clip itself can tell.
        FevError: the clip or a file cannot be read.
    """
    effort = options.effort if effort is None else effort
    who = None if options.identity is None else read_identity(options.identity)
    model = load_model(options.model) if who is None else _model_of(who, options)
    stages = Stages(progress)
    finer = options.finer(model.size)
    settings = CarrierSettings(effort, options.pivot, pick_device(options.device), options.worst, finer)
    carrier = carrier_of(model, settings, stages, who)
    if options.bitrate is not None and not carrier.can_aim:
        raise UsageError(
            f"nothing aims at a bitrate with model {model.name}; --quality and --identity-budget set the size"
        )
    if options.worst is not None and not carrier.can_bound:
        raise UsageError(f"nothing bounds the worst frame with model {model.name}")
    if finer > 1 and not carrier.draws_finer:
        raise UsageError(f"nothing is drawn finer than its pictures with model {model.name}: leave out the size")
    with ExitStack() as stack:
        kind = WholeClip if effort.whole else Streaming
        return kind(model, options, effort, carrier, stages, stack, who).run(src, dst)


def _model_of(who: ReusedIdentity, options: EncodeOptions) -> Model:
    """The model of an identity; any other one that was asked for is refused."""
    return load_for(who.identity.header.model_sha256.hex(), None if options.model == DEFAULT else options.model)
