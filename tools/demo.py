"""The whole way once, on the sample clip: encode, decode, sizes, quality, and pictures to look at.

    python -m fev.tools.demo [--preset medium] [--out demo] [CLIP]

`make demo` runs it.  The sample clip is a face that does not exist (`fev.tools.make_sample`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import decode, encode, open
from .common import parser, print_json, progress, run, say

SAMPLE = Path(__file__).parent / "sample" / "sample.mp4"
SHEET_COLUMNS = 6
METRIC_EVERY = 5  # frames between those that are scored


@dataclass(frozen=True)
class Quality:
    """Means over the scored frames: PSNR in dB over the whole picture, SSIM."""

    psnr: float
    ssim: float
    scored: int


def sections(path: Path) -> dict[str, int]:
    """Bytes of a `.fev` file by section."""
    with open(path) as reader:
        for _ in reader.segments():
            pass
        return reader.sections()


def compare(source: Path, decoded: Path, out: Path) -> Quality:
    """Score decoded against source, and write the contact sheet and the side-by-side video."""
    from skimage.io import imsave
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    from ..codec.media import open_video
    from ..codec.mux import VideoWriter

    psnr, ssim, kept = [], [], []
    with open_video(source) as a, open_video(decoded) as b:
        total = a.info.frames_hint or 1
        step = max(1, total // SHEET_COLUMNS)
        writer = VideoWriter(out / "side_by_side.mp4", 2 * a.info.width, a.info.height, a.info.time_base, a.info.fps)
        with writer:
            for i, (one, other) in enumerate(zip(a, b, strict=True)):
                left, right = one.rgb, other.rgb
                writer.write(np.concatenate([left, right], 1), one.pts)
                if i % METRIC_EVERY == 0:
                    psnr.append(peak_signal_noise_ratio(left, right))
                    ssim.append(structural_similarity(left, right, channel_axis=2))
                if i % step == 0 and len(kept) < SHEET_COLUMNS:
                    kept.append((left, right))
    rows = [np.concatenate([pair[k] for pair in kept], 1) for k in (0, 1)]
    imsave(out / "side_by_side.png", np.concatenate(rows, 0), check_contrast=False)
    return Quality(float(np.mean(psnr)), float(np.mean(ssim)), len(psnr))


def arguments() -> Any:
    options = parser("fev.tools.demo", "Encode and decode the sample clip and show what came of it.")
    options.add_argument("clip", nargs="?", type=Path, default=SAMPLE)
    options.add_argument("--preset", choices=("fast", "medium", "slow"), default="medium")
    options.add_argument("--out", type=Path, default=Path("demo"))
    options.add_argument("--json", action="store_true", help="print one JSON object")
    return options.parse_args()


def work() -> int:
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    coded, decoded = args.out / "sample.fev", args.out / "decoded.mp4"
    bar = progress(None, "demo", "step")
    started = time.perf_counter()
    report = encode(args.clip, coded, preset=args.preset)
    bar.update(1)
    back = decode(coded, decoded)
    bar.update(1)
    quality = compare(args.clip, decoded, args.out)
    bar.close()
    parts = sections(coded)
    source = args.clip.stat().st_size
    if args.json:
        print_json(
            {"source": source, "bytes": report.bytes, "sections": parts, "psnr": quality.psnr, "ssim": quality.ssim}
        )
        return 0
    say(f"{args.clip.name}: {report.frames} frames, {report.width}x{report.height}, {report.duration_s:.2f} s")
    say(f"  mp4 {source} bytes  ->  fev {report.bytes} bytes, {source / report.bytes:.0f} times smaller")
    say(f"  {8 * report.bytes / report.duration_s / 1000:.2f} kbit/s in all; bytes by section:")
    for name, size in parts.items():
        if size:
            say(f"    {name:<12}{size:>8}  {8 * size / report.frames:8.1f} bits/frame")
    say(
        f"  PSNR {quality.psnr:.2f} dB, SSIM {quality.ssim:.3f} over the whole picture ({quality.scored} frames scored)"
    )
    say(f"  encode {report.seconds / report.frames:.3f} s a frame ({args.preset}), "
        f"decode {back.frames / back.seconds:.1f} frames a second")  # fmt: skip
    say(f"  look at {args.out / 'side_by_side.png'} and {args.out / 'side_by_side.mp4'} "
        f"(source left or above; {time.perf_counter() - started:.0f} s in all)")  # fmt: skip
    return 0


if __name__ == "__main__":
    run(work)
