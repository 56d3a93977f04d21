"""What chapters do to a long clip: how each later one is drawn by the modes before it and by a
revision, what that costs, and what time, memory and disk the whole takes.

    python -m fev.tools.lab.longtalk CLIP OUT.fev --chapter 20

The figures of docs/measurements/long-talks.md come from here.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import resource
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from ...codec.encode.options import EncodeOptions
from ...codec.encoder import encode
from ...codec.fit import revision
from ...codec.fit.cropstore import CropStore
from ...codec.fit.effort import EFFORTS
from ...codec.fit.revision import Looked
from ...codec.media.outfile import output_file


def decibels(looked: Looked) -> float:
    """PSNR of what is drawn, where people look; pictures are -1 to 1."""
    return 10 * math.log10(4 / looked.error)


class Watch:
    """Listens to an encoder at work.

    Args:
        keep: None = revisions stay where they pay; else whether they always or never do.
    """

    def __init__(self, keep: bool | None):
        self.keep = keep
        self.rows: list[dict[str, Any]] = []
        self.squares = self.most = 0
        self._pays, self._append, self._close = revision.pays, CropStore.append, CropStore.close
        self._stack = ExitStack()

    def __enter__(self) -> Watch:
        def append(store: CropStore, crop: np.ndarray) -> None:
            self._append(store, crop)
            self.squares += store.bytes
            self.most = max(self.most, self.squares)

        def close(store: CropStore) -> None:
            self.squares = 0
            self._close(store)

        for place, name, own in (
            (revision, "pays", self.pays),
            (CropStore, "append", append),
            (CropStore, "close", close),
        ):
            self._stack.enter_context(patch.object(place, name, own))
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def pays(self, before: Looked, after: Looked, new_bytes: int, frames: int, octave: float) -> bool:
        """As `revision.pays`, and written down."""
        would = self._pays(before, after, new_bytes, frames, octave)
        row = {
            "frames": frames, "before_db": round(decibels(before), 2), "after_db": round(decibels(after), 2),
            "before_bits": round(before.bits, 1), "after_bits": round(after.bits, 1), "modes": new_bytes, "pays": would,
        }  # fmt: skip
        self.rows.append(row)
        print(json.dumps(row), flush=True)
        return would if self.keep is None else self.keep


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("out")
    parser.add_argument("--chapter", type=float, default=EFFORTS["medium"].chapter, help="seconds of a chapter")
    parser.add_argument("--steps", type=float, default=1.0, help="share of the steps of the modes")
    parser.add_argument("--duration", type=float, help="seconds of the clip")
    parser.add_argument("--keep", choices=("always", "never"), help="revisions, instead of where they pay")
    args = parser.parse_args()
    usual = EFFORTS["medium"]
    effort = replace(usual, chapter=args.chapter, step_factor=args.steps * usual.step_factor)
    options, out = EncodeOptions(crop=True, audio=False, duration=args.duration), io.BytesIO()
    keep = None if args.keep is None else args.keep == "always"
    with Watch(keep) as watch:
        report = encode(args.clip, out, options, effort=effort)
    with output_file(args.out, force=True) as file:
        file.write(out.getvalue())
    told = {
        "frames": report.frames, "chapters": report.chapters, "revisions": report.revisions, "bytes": report.bytes,
        "seconds": {name: round(value, 1) for name, value in report.stages.items()},
        "a_frame": round(report.elapsed_s / report.frames, 3),
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "disk_mb": round(watch.most / 1e6, 1),
    }  # fmt: skip
    print(json.dumps(told))


if __name__ == "__main__":
    main()
