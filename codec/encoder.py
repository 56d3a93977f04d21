"""The encoder: a video in, a `.fev` stream out (design section 3).

Stages: survey (align, invert) -> identity, pivot, weight delta, modes (`appearance`) -> motion against what was
quantised (`motion`) -> segments.  Preset `fast` is one pass and streams (`streaming`); `medium` and `slow` look at the
whole clip first (`wholeclip`).
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import BinaryIO

from .encode.encoding import EncodeReport, Progress
from .encode.options import FAST, EncodeOptions
from .encode.streaming import Streaming
from .encode.wholeclip import WholeClip
from .media.identities import ReusedIdentity, read_identity
from .media.source import MediaSource
from .model.modelfile import DEFAULT, Model, load_for, load_model

__all__ = ["EncodeReport", "encode"]


def encode(
    src: MediaSource, dst: BinaryIO, options: EncodeOptions, progress: Progress = lambda s, d, t: None
) -> EncodeReport:
    """Encode `src` into the open stream `dst`.  Raises FevError."""
    with ExitStack() as stack:
        kind = Streaming if options.preset == FAST else WholeClip
        who = None if options.identity is None else read_identity(options.identity)
        model = load_model(options.model) if who is None else _model_of(who, options)
        return kind(model, options, who, progress, stack).run(src, dst)


def _model_of(who: ReusedIdentity, options: EncodeOptions) -> Model:
    """The model of an identity; any other one that was asked for is refused."""
    return load_for(who.identity.header.model_sha256.hex(), None if options.model == DEFAULT else options.model)
