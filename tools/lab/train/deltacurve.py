"""What carries a person's appearance best, and how much of it how many bytes buy: quality against bytes, clip by clip.

    python -m fev.tools.lab.train.deltacurve CLIP... --out curve.jsonl [--bytes 0,1000,4000,16000,64000]
                                         [--carriers "pivot and modes,weights"] [--frames 60] [--every 2]
    python -m fev.tools.lab.train.deltacurve --out curve.jsonl            # the table of what was measured so far

Every row of the file is a clip, a carrier, the bytes it was given and those it took (identity, weight delta, pivot and
modes together, motion apart), and PSNR over the square and the face against the aligned frames.  What is in the file is
not measured again.  The carriers:

- `pivot and modes`, `modes`, `shared modes`: the presets `medium`, `medium` without a pivot, and `fast`, as files.  The
  shared modes are the change that the model predicts for every face, on top of a pivot.
- `weights`: everything that the format lets a weight delta change; `low-rank kernels`, `style affine` (biases of the
  style layers, an offset in StyleSpace), `per channel` (biases after the convolutions): parts of it.
- `sparse kernels`: single weights of the convolutions, which no file may hold.
- `stills tuned at the decoder`: coded stills, to which the receiver would tune all of the above by itself, unpriced.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....codec.draw.delta import DENSE, FACTOR_U, Tunable
from ....codec.draw.frames import FrameDecoder
from ....codec.draw.options import DecodeOptions
from ....codec.draw.pivot import pivot_picture
from ....codec.draw.units import IDENTITY_STEP_CODE, motion_step_code, step_size
from ....codec.encode.options import EncodeOptions
from ....codec.encoder import encode
from ....codec.face.survey import Survey
from ....codec.fit.budget import LEAST_BUDGET
from ....codec.fit.effort import SLOW
from ....codec.fit.keyframes import best_identity, spread_out
from ....codec.fit.motion import corrected, linear_correction
from ....codec.fit.pivotcoding import code_pivot
from ....codec.fit.reading import InverterReading
from ....codec.fit.tune import ClipFit, TuneSettings, coded_size
from ....codec.media.video import open_video
from ....codec.model.modelfile import Model, load_model
from ....codec.model.pictures import from_numpy, to_numpy
from ....format.delta import DeltaTensor
from ....format.errors import FevError
from ....format.identity import encode_identity
from ....format.reader import Reader
from ...measure.metrics import psnr
from ..parts import parts_of
from .evaluate import face_region

BUDGETS = (0, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000)
QUALITY = 60.0  # of the motion
PER_STILL = 1500  # bytes, about; and so many stills at most:
MOST_STILLS = 8
SPARSE_RATE = 0.01  # where every weight has a value of its own
TUNE_STEPS = SLOW.tune
FOR_IDENTITY = 300  # bytes, about: what the weights cannot count on while they are fitted

Row = dict[str, Any]


class Clip:
    """The first frames of a clip.  frames: (T, 3, S, S), aligned, -1 to 1.  seconds: from the first to the last."""

    def __init__(self, model: Model, path: Path, count: int, every: int):
        self.model, self.path, self.every = model, path, every
        own = parts_of(model)
        rows = []
        with open_video(path, None, None) as video:
            for at, seen in enumerate(Survey(video, own.aligner, model.size)):
                if seen.crop is None:
                    raise FevError(f"{path}: no face in frame {at}")
                rows.append(seen.crop)
                if len(rows) == count * every:
                    break
            self.seconds = float(len(rows) / Fraction(video.info.fps))
        self.true = np.stack(rows[::every])
        self.frames = from_numpy(self.true)
        self.guess = InverterReading.of(model, self.frames)

    def measured(self, pictures: np.ndarray) -> Row:
        if len(pictures) != len(self.true):
            raise FevError(f"{self.path}: {len(pictures)} pictures of {len(self.true)} came back")
        whole, face = psnr(pictures, self.true), psnr(pictures, self.true, face_region())
        return {"psnr": round(whole, 2), "psnr_face": round(face, 2)}


def as_file(clip: Clip, budget: int, **options: Any) -> Row:
    """Through a file, as a user would."""
    out = io.BytesIO()
    options |= {"duration": clip.seconds, "identity_budget": max(LEAST_BUDGET, budget), "quality": QUALITY}
    encode(clip.path, out, EncodeOptions(crop=True, audio=False, **options))
    with Reader(io.BytesIO(out.getvalue())) as reader:
        decoder = FrameDecoder(reader, DecodeOptions(crop=True))
        pictures = [rgb for _, rgb in decoder.frames(reader.segments())][:: clip.every]
        spent = reader.sections()
    bytes_ = sum(spent.get(name, 0) for name in ("identity", "delta", "modes"))
    return {"bytes": bytes_, "motion": spent["motion"], **clip.measured(np.stack(pictures))}


class Partly(ClipFit):
    """A fit that may change some of the tensors, those of kernels one weight at a time where `sparse` says so."""

    def __init__(self, *given: Any, may: Callable[[Tunable], bool], sparse: bool = False):
        super().__init__(*given)
        self.whole = self.budget + FOR_IDENTITY
        self.known = [t for t in self.known if may(t)]
        self.parts = {t.key: self.parts[t.key] for t in self.known}
        if sparse:
            self.known = [replace(t, low_rank=False) for t in self.known]
            self.parts = {t.key: {DENSE: torch.zeros(int(np.prod(t.shape)), requires_grad=True)} for t in self.known}

    def finish(self) -> tuple[np.ndarray, list[DeltaTensor]]:
        """As in any fit; the delta gets what the coded identity leaves of the whole."""
        integers = (self.identity.detach() / self.identity_step).round().numpy().astype(np.int32)
        self.budget = self.whole - len(encode_identity(integers))
        return super().finish()


class Unpriced(Partly):
    """What nobody has to send: `fitted` gives it a price of 0."""


def fitted(clip: Clip, kind: type[Partly], frames: Tensor, motion: Tensor, budget: int, **options: Any) -> Partly:
    """A fit of weights to frames (K, 3, S, S), their parameters (K, 35) known about."""
    share = float(np.clip(len(clip.frames) * clip.every / 300, 0.25, 1.0))
    settings = TuneSettings(
        steps=tuple((size, max(8, round(count * share))) for size, count in TUNE_STEPS),
        rate=SPARSE_RATE if options.get("sparse") else TuneSettings.rate,
        price=0.0 if kind is Unpriced else TuneSettings.price, step=0.001 if kind is Unpriced else TuneSettings.step,
    )  # fmt: skip
    identity = best_identity(clip.guess.identity, clip.guess.motion)
    steps = step_size(IDENTITY_STEP_CODE), step_size(motion_step_code(QUALITY))
    fit = kind(clip.model, frames, identity, motion, settings, budget, *steps, **options)
    fit.run()
    return fit


@torch.no_grad()
def drawn(fit: ClipFit, motion: Tensor, coded: bool) -> np.ndarray:
    """Pictures (T, S, S, 3) of parameters (T, 35) after a fit."""
    fit.motion = motion
    parts = torch.arange(len(motion)).split(16)
    return np.concatenate([to_numpy(fit.render(part, fit.model.size, coded)) for part in parts])


def as_weights(clip: Clip, budget: int, may: Callable[[Tunable], bool], sparse: bool = False) -> Row:
    """As a weight delta, quantised, coded and within its bytes."""
    motion = clip.guess.motion
    fit = fitted(clip, Partly, clip.frames, motion, budget - FOR_IDENTITY, may=may, sparse=sparse)
    identity, delta = fit.finish()
    sizes = {t.key: {} for t in fit.known}  # type: dict[int, dict[int, Tensor]]
    for tensor in delta:
        part = fit.parts[tensor.key][tensor.variant]
        values = torch.from_numpy(tensor.values).float() * step_size(tensor.step_code)
        sizes[tensor.key][tensor.variant] = values.reshape(_shape(fit.known, tensor.key, tensor.variant, part))
    fit.parts = {key: parts for key, parts in sizes.items() if parts}
    fit.known = [t for t in fit.known if t.key in fit.parts]
    fit.identity = torch.from_numpy(identity).float() * fit.identity_step
    step = fit.motion_step
    pictures = drawn(fit, (fit.motion.detach() / step).round() * step, False)
    size = len(encode_identity(identity)) + coded_size(delta)
    return {"bytes": size, "tensors": len(delta), **clip.measured(pictures)}


def _shape(known: Sequence[Tunable], key: int, variant: int, part: Tensor) -> tuple[int, ...]:
    """The shape of a coded tensor's values; factors that vanished are left out of it."""
    if variant == DENSE:
        return tuple(part.shape)
    (rows, _), (_, columns) = next(t for t in known if t.key == key).factor_shapes
    return (rows, -1) if variant == FACTOR_U else (-1, columns)


def as_stills(clip: Clip, budget: int) -> Row:
    """Coded stills, and weights that the receiver tunes to them; parameters of all frames as the inverter sees them."""
    count = int(np.clip(budget // PER_STILL, 1, MOST_STILLS))
    keys = spread_out(clip.guess.motion, min(count, len(clip.frames)))
    nothing = np.zeros(1, np.int32)
    stills = [code_pivot(clip.frames[k], nothing, budget // len(keys)) for k in keys]
    if any(still is None for still in stills):
        raise FevError(f"{budget} bytes are too few for a still")
    shown = torch.cat([pivot_picture(still, clip.model.size) for still in stills if still])
    fit = fitted(clip, Unpriced, shown, clip.guess.motion[keys], 1, may=lambda t: True)
    motion = clip.guess.motion
    if len(keys) > 1:
        motion = corrected(motion, linear_correction(motion[keys], fit.motion.detach()))
    bytes_ = sum(len(still.pack()) for still in stills if still)
    return {"bytes": bytes_, "stills": len(keys), **clip.measured(drawn(fit, motion, False))}


def kernel(t: Tunable) -> bool:
    return t.low_rank


CARRIERS: dict[str, Callable[[Clip, int], Row]] = {
    "pivot and modes": lambda clip, budget: as_file(clip, budget, preset="medium"),
    "modes": lambda clip, budget: as_file(clip, budget, preset="medium", pivot=False),
    "shared modes": lambda clip, budget: as_file(clip, budget, preset="fast"),
    "weights": lambda clip, budget: as_weights(clip, budget, lambda t: True),
    "low-rank kernels": lambda clip, budget: as_weights(clip, budget, kernel),
    "style affine": lambda clip, budget: as_weights(clip, budget, lambda t: t.name.endswith(".affine.bias")),
    "per channel": lambda clip, budget: as_weights(
        clip, budget, lambda t: t.name.endswith(".bias") and not t.name.endswith(".affine.bias")
    ),
    "sparse kernels": lambda clip, budget: as_weights(clip, budget, kernel, sparse=True),
    "stills tuned at the decoder": as_stills,
}


def known(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def table(rows: list[Row], measure: str) -> Iterator[str]:
    """A Markdown table: a carrier a row, bytes given a column, means over the clips that all carriers there have."""
    budgets = sorted({row["budget"] for row in rows})
    yield f"| {measure} | " + " | ".join(f"{b:,}" for b in budgets) + " |"
    yield "| --- |" + " --- |" * len(budgets)
    for carrier in dict.fromkeys(row["carrier"] for row in rows):
        cells = []
        for budget in budgets:
            here = [r for r in rows if r["carrier"] == carrier and r["budget"] == budget and measure in r]
            cells.append(f"{np.mean([r[measure] for r in here]):.1f} ({len(here)})" if here else "")
        yield f"| {carrier} | " + " | ".join(cells) + " |"


def work(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="rows of JSON, added to")
    parser.add_argument("--bytes", default=",".join(map(str, BUDGETS)))
    parser.add_argument("--carriers", default="pivot and modes", help="with commas between; see above")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--every", type=int, default=2, help="frame of the clip is measured, and fitted by weights")
    args = parser.parse_args(given)
    model = load_model()
    done = {(r["clip"], r["carrier"], r["budget"]) for r in known(args.out)}
    for path in args.clips:
        clip = None
        for carrier in args.carriers.split(","):
            for budget in (int(part) for part in args.bytes.split(",")):
                if (path.stem, carrier, budget) in done:
                    continue
                clip = clip or Clip(model, path, args.frames, args.every)
                started = time.perf_counter()
                row: Row = {"clip": path.stem, "carrier": carrier, "budget": budget}
                try:
                    row |= CARRIERS[carrier](clip, budget)
                except FevError as error:
                    row["failed"] = str(error)
                row["seconds"] = round(time.perf_counter() - started, 1)
                with open(args.out, "a") as file:
                    file.write(json.dumps(row) + "\n")
                print(json.dumps(row), flush=True)
    for measure in ("psnr_face", "psnr"):
        print("\n".join(table(known(args.out), measure)) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(work())
