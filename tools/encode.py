"""fev-encode: a video to a `.fev` file.  The work is done by `fev.codec.encoder`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..codec.media.containers import check_fev_name
from .common import (  # fmt: skip
    add_device,
    add_output,
    check_output,
    count,
    decibels,
    input_file,
    kilobits,
    output_file,
    parser,
    percent,
    print_json,
    progress,
    run,
    say,
    say_notices,
    seconds,
    setup_device,
)

if TYPE_CHECKING:
    from ..codec.fit.spread import WorstReport


def arguments() -> Any:
    options = parser("fev-encode", "Encode a talking-head video into a .fev file.")
    options.add_argument("input", help="video file, or - for standard input")
    options.add_argument("output", help=".fev file, or - for standard output")
    options.add_argument("--model", default="base-256", help="built-in model name or model file (default: base-256)")
    options.add_argument("--preset", choices=("fast", "medium", "slow"), default="medium")
    options.add_argument("--quality", type=percent, help="0 to 100 (default: 60)")
    options.add_argument("--bitrate", type=kilobits, metavar="KBPS", help="kbit/s of the whole file, sound included")
    options.add_argument(
        "--identity-budget",
        type=count,
        metavar="BYTES",
        help="most bytes for identity, pivot, weight delta and modes together, without the 15 of each chunk's frame",
    )
    options.add_argument(
        "--worst",
        type=decibels,
        metavar="DB",
        help="no frame of the face is to lie so far below the mean (medium, slow)",
    )
    options.add_argument(
        "--identity", metavar="OTHER.fev", help="of the same person: refer to its identity instead of sending one"
    )
    options.add_argument("--remember", action="store_true", help="keep the identity in the cache for later files")
    options.add_argument(
        "--size", type=count, metavar="N",
        help="side of the square that is drawn, in pixels: 256, 512 or 1024 (default: 256)",
    )  # fmt: skip
    options.add_argument("--face", type=count, default=0, metavar="N", help="which face, by size: 0 is the largest")
    options.add_argument(
        "--faces",
        type=faces,
        default=1,
        metavar="N",
        help="code up to N faces at the same time, or all (default: 1, that of --face)",
    )
    options.add_argument(
        "--actors-only",
        action="store_true",
        help="refuse a clip of which plain video would come nearer to a part (medium, slow)",
    )
    options.add_argument("--crop", action="store_true", help="code the aligned square alone, without the background")
    options.add_argument("--no-audio", action="store_true", help="leave the sound out")
    options.add_argument("--audio-bitrate", type=count, default=16_000, metavar="BPS", help="of Opus (default: 16000)")
    options.add_argument(
        "--no-pivot", action="store_true", help="send no picture of the face: appearance from weights and modes alone"
    )
    options.add_argument(
        "--stream",
        type=count,
        metavar="N",
        help="which video stream, from 0 (default: the flagged or longest)",
    )
    options.add_argument("--audio-stream", type=count, metavar="N", help="which audio stream, likewise")
    options.add_argument("--start", type=seconds, metavar="S", help="begin at this second")
    options.add_argument("--duration", type=seconds, metavar="S", help="seconds to encode")
    options.add_argument(
        "--segment", type=seconds, metavar="S", help="seconds that decode alone, 0.1 to 10 (default 5; fast 1)"
    )
    options.add_argument(
        "--repeat",
        type=seconds,
        metavar="S",
        help="send the set-up again every S seconds, for receivers that join late",
    )
    options.add_argument(
        "--keep-notices", action="store_true", help="keep in the file what was dropped, held or guessed (medium, slow)"
    )
    add_device(options)
    add_output(options)
    return options.parse_args()


def faces(text: str) -> int | str:
    """`all`, or a number."""
    return text if text == "all" else count(text)


def work() -> int:
    args = arguments()
    inputs = (args.input, args.identity, args.model)
    check_fev_name(args.output)
    check_output(args.output, args.force, inputs, args.json)  # said at once, before networks are loaded
    device = setup_device(args.device, args.threads)
    from ..codec.encode.options import MOST_FACES, EncodeOptions
    from ..codec.encoder import encode

    options = EncodeOptions(
        model=args.model, preset=args.preset, quality=args.quality, bitrate=args.bitrate,
        identity_budget=args.identity_budget, worst=args.worst, size=args.size,
        identity=args.identity, remember=args.remember,
        face=args.face, faces=MOST_FACES if args.faces == "all" else args.faces,
        actors_only=args.actors_only,
        crop=args.crop, pivot=not args.no_pivot, audio=not args.no_audio, audio_bitrate=args.audio_bitrate,
        start=args.start, duration=args.duration, segment=args.segment, repeat=args.repeat, device=str(device),
        stream=args.stream, audio_stream=args.audio_stream, keep_notices=args.keep_notices,
    )  # fmt: skip
    with input_file(args.input) as src, output_file(args.output, args.force, inputs) as dst, Stages() as stages:
        report = encode(src, dst, options, stages)
    if args.json:
        print_json(asdict(report))
    else:
        rate = 8 * report.bytes / report.duration_s / 1000 if report.duration_s else 0.0
        say(
            f"{report.frames} frames, {report.duration_s:.2f} s -> {report.bytes} bytes, {rate:.2f} kbit/s, "
            f"{report.elapsed_s:.1f} s of work"
        )
        for worst in report.worst:
            say(worst_line(worst))
    say_notices(args.input, report.notices)
    return 0


def worst_line(worst: WorstReport) -> str:
    """What the bound on the worst frame did, in one line."""
    before, after = worst.before, worst.after
    return (
        f"face: mean {after.mean:.1f} dB, worst 1 % {after.worst_percent:.1f}, worst {after.worst:.1f} "
        f"(without the bound {before.mean:.1f}, {before.worst_percent:.1f}, {before.worst:.1f}); "
        f"{worst.below} frames below it (without {worst.below_before}), {worst.more_bytes} bytes more"
    )


class Stages:
    """One progress bar after another, named by the encoder's stages."""

    def __init__(self) -> None:
        self.name: str | None = None
        self.bar: Any = None
        self.done = 0

    def __enter__(self) -> Stages:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage != self.name:
            self.__exit__()
            self.name, self.done = stage, 0
            self.bar = progress(total or None, stage, "step" if stage in ("tune", "modes", "worst") else "frame")
        self.bar.update(done - self.done)
        self.done = done


def main() -> None:
    run(work)


if __name__ == "__main__":
    main()
