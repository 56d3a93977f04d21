"""Efforts of a few steps, for tests that do not look at what a fit reaches."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

from fev.codec.encode.options import EncodeOptions
from fev.codec.encoder import EncodeReport, encode
from fev.codec.fit.effort import EFFORTS, Effort, MotionPass
from fev.codec.fit.motion import MotionSettings


def quick(preset: str = "medium") -> Effort:
    """A preset with hardly any steps."""
    usual = EFFORTS[preset]
    known = (MotionPass(32, 30, 0.5), MotionPass(64, 6, 0.3))
    return replace(
        usual,
        modes=((32, 24),),
        modes_again=((32, 24),),
        tune=((32, 16),) if usual.tune else (),
        first_moves=MotionSettings(32, 4, 0.4, 0.0),
        known_motion=known if usual.whole else known[:1],
        search=replace(usual.search, tune=tuple((64, 6) for _ in usual.search.tune)),
    )


def encode_quickly(src: Any, dst: Any, **options: Any) -> EncodeReport:
    """As `fev.encode`, with hardly any steps.  dst: a path, or an open file."""
    chosen, out = EncodeOptions(**options), io.BytesIO()
    report = encode(src, out, chosen, effort=quick(chosen.preset))
    if hasattr(dst, "write"):
        dst.write(out.getvalue())
    else:
        dst.write_bytes(out.getvalue())
    return report
