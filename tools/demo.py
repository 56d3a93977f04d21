"""The whole way once, at a rate that shows what fev is for, with AV1 and H.264 at the same bytes beside it.

    python -m fev.tools.demo [--bitrate 8] [--out demo] [CLIP]

`make demo` runs it on the sample clip, a face that does not exist (`fev.tools.make_sample`); `make demo CLIP=talk.mp4`
on the first seconds of a clip of yours.  All codecs get the same pictures without sound, and all bytes are counted:
fev's whole file, of the others the packets and parameter sets.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from .common import count, kilobits, parser, print_json, progress, run, say, seconds

SAMPLE = Path(__file__).parent / "sample" / "sample.mp4"
BITRATE = 6.0  # kbit/s: a little below the lowest rate of AV1 on the sample
MOST_SECONDS = 10.0  # of a clip that somebody gives: a few minutes of work
MOST_SIDE = 512  # pixels, for all codecs
COLUMNS = 6  # of the contact sheet
EVERY = 5  # frames between those that are scored
LABEL = 18  # pixels above each row
RIVALS = {"svtav1": range(20, 71), "x264": range(20, 52)}  # quantisers that are tried, the finest first


@dataclass(frozen=True)
class Result:
    """What one codec made of the clip.

    Attributes:
        psnr, ssim: means over the scored frames, over the whole picture; PSNR in dB.
        lowest: the codec goes no lower.
        frames: what was decoded, (H, W, 3) uint8 each.
    """

    title: str
    bytes: int
    kbps: float
    psnr: float
    ssim: float
    lowest: bool = False
    frames: list[np.ndarray] = field(default_factory=list, repr=False)

    def line(self) -> str:
        measured = f"PSNR {self.psnr:5.2f} dB  SSIM {self.ssim:.3f}"
        note = "  (it goes no lower)" if self.lowest else ""
        return f"{self.title:<6}{self.bytes:>7} bytes  {self.kbps:6.2f} kbit/s  {measured}{note}"


def sections(path: Path) -> dict[str, int]:
    """Bytes of a `.fev` file by section."""
    from ..format import Reader

    with path.open("rb") as file, Reader(file) as reader:
        for _ in reader.segments():
            pass
        return reader.sections()


def score(truth: list[np.ndarray], seen: list[np.ndarray]) -> tuple[float, float]:
    """PSNR and SSIM, means over every few frames."""
    from .measure.metrics import psnr, ssim

    assert len(truth) == len(seen)
    one, other = np.stack(truth[::EVERY]), np.stack(seen[::EVERY])
    return psnr(one, other), ssim(one, other)


def prepare(clip: Path, path: Path, most: float) -> tuple[list[np.ndarray], Fraction]:
    """The pictures that all codecs get: the first seconds, no larger than MOST_SIDE, of even size; into `path`, too."""
    from ..codec.face.warp import resize
    from ..codec.media.mux import VideoWriter
    from ..codec.media.video import open_video

    frames: list[np.ndarray] = []
    with open_video(clip, None, most) as video:
        info = video.info
        scale = min(1.0, MOST_SIDE / max(info.width, info.height))
        width, height = (max(64, 2 * round(side * scale / 2)) for side in (info.width, info.height))
        with VideoWriter(path, width, height, info.time_base, info.fps, crf=1) as writer:
            for frame in video:
                frames.append(resize(frame.rgb, width, height))
                writer.write(frames[-1], frame.pts)
    return frames, info.fps


def read(source: Any) -> list[np.ndarray]:
    from ..codec.media.video import open_video

    with open_video(source) as video:
        return [frame.rgb for frame in video]


def largest(size: Callable[[int], int], tried: range, most: int) -> tuple[int, bool]:
    """The finest quantiser at which a codec takes no more than so many bytes; else its coarsest, and True."""
    low, high = 0, len(tried) - 1
    if size(tried[high]) > most:
        return tried[high], True
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if size(tried[middle]) <= most else (middle + 1, high)
    return tried[high], False


def rival(name: str, frames: list[np.ndarray], fps: Fraction, most: int) -> Result:
    """AV1 or H.264 at no more bytes, with one key frame and all the time that it wants."""
    from .report import classic
    from .report.coded import CodedClip

    made: dict[int, CodedClip] = {}

    def size(quantiser: int) -> int:
        point = "qp51" if (name, quantiser) == ("x264", 51) else f"crf{quantiser}"
        made[quantiser] = classic.encode(name, point, "single", "slow", frames, fps)
        return made[quantiser].bytes

    chosen, lowest = largest(size, RIVALS[name], most)
    seen = read(io.BytesIO(made[chosen].stream))
    title = classic.CODECS[name].title.split()[0]
    return result(title, made[chosen].bytes, frames, seen, fps, lowest)


def result(
    title: str, size: int, truth: list[np.ndarray], seen: list[np.ndarray], fps: Fraction, lowest: bool = False
) -> Result:
    return Result(title, size, 8 * size * float(fps) / len(truth) / 1000, *score(truth, seen), lowest, seen)


def sheet(rows: list[tuple[str, list[np.ndarray]]]) -> np.ndarray:
    """A contact sheet: a labelled row of pictures a codec, the same moments in all."""
    from PIL import Image, ImageDraw

    total = len(rows[0][1])
    moments = sorted({round(i) for i in np.linspace(0, total - 1, min(COLUMNS, total))})
    out = []
    for label, frames in rows:
        bar = Image.new("RGB", (len(moments) * frames[0].shape[1], LABEL), (255, 255, 255))
        ImageDraw.Draw(bar).text((4, 3), label, fill=(0, 0, 0))
        out += [np.asarray(bar), np.concatenate([frames[i] for i in moments], 1)]
    return np.concatenate(out, 0)


def arguments(given: list[str] | None = None) -> Any:
    options = parser("fev.tools.demo", "Code a clip at a low rate, with AV1 and H.264 at the same bytes beside it.")
    options.add_argument("clip", nargs="?", type=Path, default=SAMPLE)
    options.add_argument("--preset", choices=("medium", "slow"), default="medium")
    options.add_argument("--bitrate", type=kilobits, default=BITRATE, metavar="KBPS", help="kbit/s (default: 6)")
    options.add_argument(
        "--duration",
        type=seconds,
        default=MOST_SECONDS,
        metavar="S",
        help="of the clip, from its beginning (default: 10)",
    )
    options.add_argument("--out", type=Path, default=Path("demo"))
    options.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    options.add_argument("--threads", type=count, default=0, help="processor threads (default: all)")
    options.add_argument("--json", action="store_true", help="print one JSON object")
    return options.parse_args(given)


def work(given: list[str] | None = None) -> int:
    args = arguments(given)
    from PIL import Image

    from ..codec.decoder import decode
    from ..codec.draw.options import DecodeOptions
    from ..codec.encode.options import EncodeOptions
    from ..codec.encoder import encode
    from ..codec.media.mux import VideoWriter
    from .common import setup_device
    from .report import classic

    setup_device(args.device, args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    clip, coded, decoded = (args.out / name for name in ("clip.mp4", "clip.fev", "decoded.mp4"))
    started = time.perf_counter()
    rivals = [name for name in RIVALS if classic.missing(name) is None]
    with progress(3 + len(rivals), "demo", "step") as bar:
        frames, fps = prepare(args.clip, clip, args.duration)
        bar.update(1)
        options = EncodeOptions(preset=args.preset, bitrate=args.bitrate, audio=False, device=args.device)
        with coded.open("wb") as out:
            report = encode(clip, out, options)
        bar.update(1)
        with coded.open("rb") as stream:
            back = decode(stream, decoded, DecodeOptions(device=args.device))
        results = [result("fev", report.bytes, frames, read(decoded), fps)]
        bar.update(1)
        for name in rivals:
            results.append(rival(name, frames, fps, report.bytes))
            bar.update(1)
    rows = [("source", frames), *((r.line(), r.frames) for r in results)]
    Image.fromarray(sheet(rows)).save(args.out / "side_by_side.png")
    height, width = frames[0].shape[:2]
    with VideoWriter(args.out / "side_by_side.mp4", width * len(rows), height, 1 / fps, fps) as writer:
        for i in range(len(frames)):
            writer.write(np.concatenate([seen[i] for _, seen in rows], 1), i)
    parts = {name: size for name, size in sections(coded).items() if size}
    if args.json:
        shown = [{k: v for k, v in asdict(r).items() if k != "frames"} for r in results]
        print_json({"frames": len(frames), "width": width, "height": height, "codecs": shown, "sections": parts})
        return 0
    say(f"{args.clip.name}: {len(frames)} frames, {width}x{height}, {len(frames) / float(fps):.2f} s, without sound")
    for each in results:
        say(f"  {each.line()}")
    say("  fev's bytes: " + ", ".join(f"{name} {size}" for name, size in parts.items()))
    say(f"  encode {report.elapsed_s / report.frames:.2f} s a frame ({args.preset}), "
        f"decode {back.frames / back.elapsed_s:.0f} frames a second")  # fmt: skip
    order = ", ".join(label.split()[0] for label, _ in rows)
    say(f"  look at {args.out / 'side_by_side.png'} and {args.out / 'side_by_side.mp4'}: {order}")
    say(f"  {time.perf_counter() - started:.0f} s in all")
    return 0


if __name__ == "__main__":
    run(work)
