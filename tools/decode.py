"""fev-decode: a `.fev` file back to a video.  The work is done by `fev.codec.decoder`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..codec.media.containers import ENDINGS, container_of
from ..codec.media.outfile import is_special
from .common import (  # fmt: skip
    add_device,
    add_output,
    check_output,
    count,
    output_file,
    parser,
    print_json,
    run,
    say,
    say_notices,
    seconds,
    setup_device,
    stream_file,
)
from .encode import Stages


def arguments() -> Any:
    options = parser("fev-decode", "Decode a .fev file into a video.")
    options.add_argument("input", help=".fev file, or - for standard input")
    options.add_argument(
        "output", help=f"video file ({', '.join(ENDINGS)}), or - for a YUV4MPEG2 stream on standard output"
    )
    options.add_argument("--crop", action="store_true", help="deliver the aligned square without the background")
    options.add_argument(
        "--actor", type=count, metavar="N", help="whose square, with --crop (default: the lowest number on stage)"
    )
    options.add_argument("--size", type=count, metavar="N", help="larger side of the picture in pixels")
    options.add_argument("--start", type=seconds, metavar="S", help="begin at this second")
    options.add_argument("--duration", type=seconds, metavar="S", help="seconds to decode")
    options.add_argument("--model", help="model file, when it is not a built-in one")
    options.add_argument("--identity", metavar="FILE", help=".fev file with the identity that the input refers to")
    options.add_argument("--remember", action="store_true", help="keep the identity in the cache for later files")
    options.add_argument("--salvage", action="store_true", help="decode what is intact of a damaged file")
    options.add_argument(
        "--container",
        choices=("mp4", "mkv", "webm", "y4m"),
        help="what to write, whatever the output's name (to standard output mp4 is fragmented)",
    )
    add_device(options)
    add_output(options)
    return options.parse_args()


def work() -> int:
    args = arguments()
    nameless = args.output == "-" or (is_special(args.output) and not args.output.endswith(tuple(ENDINGS)))
    container = args.container or ("y4m" if nameless else container_of(args.output))
    if args.output == "-" and container == "mp4":
        container = "fmp4"
    inputs = (args.input, args.identity, args.model)
    check_output(args.output, args.force, inputs, args.json)  # said at once, before networks are loaded
    device = setup_device(args.device, args.threads)
    from ..codec.decoder import decode
    from ..codec.draw.options import DecodeOptions

    options = DecodeOptions(
        crop=args.crop, actor=args.actor, size=args.size, start=args.start, duration=args.duration, model=args.model,
        identity=args.identity, remember=args.remember, salvage=args.salvage, device=str(device), container=container,
    )  # fmt: skip
    with stream_file(args.input) as src, output_file(args.output, args.force, inputs) as dst, Stages() as stages:
        report = decode(src, dst, options, stages)
    if report.synthetic:
        say("note: this file is marked synthetic; the motion was not performed by the person shown")
    for damage in report.damage:
        say(f"damage: {damage}")
    if args.json:
        print_json({**asdict(report), "damage": [d._asdict() for d in report.damage]})
    else:
        speed = report.frames / report.elapsed_s
        say(f"{report.frames} frames, {report.width}x{report.height}, {speed:.1f} frames a second")
    say_notices(args.input, report.notices)
    return 0


def main() -> None:
    run(work)


if __name__ == "__main__":
    main()
