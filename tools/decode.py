"""fev-decode: a `.fev` file back to a video.  The work is done by `fev.codec.decoder`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from .common import (
    add_device,
    add_output,
    check_output,
    count,
    input_file,
    output_file,
    parser,
    print_json,
    run,
    say,
    seconds,
    setup_device,
)  # fmt: skip
from .encode import Stages


def arguments() -> Any:
    options = parser("fev-decode", "Decode a .fev file into a video.")
    options.add_argument("input", help=".fev file, or - for standard input")
    options.add_argument("output", help="MP4 file, or - for a YUV4MPEG2 stream on standard output")
    options.add_argument("--crop", action="store_true", help="deliver the aligned square without the background")
    options.add_argument("--size", type=count, metavar="N", help="larger side of the picture in pixels")
    options.add_argument("--start", type=seconds, metavar="S", help="begin at this second")
    options.add_argument("--duration", type=seconds, metavar="S", help="seconds to decode")
    options.add_argument("--model", help="model file, when it is not a built-in one")
    options.add_argument("--identity", metavar="FILE", help=".fev file with the identity that the input refers to")
    options.add_argument("--remember", action="store_true", help="keep the identity in the cache for later files")
    options.add_argument("--salvage", action="store_true", help="decode what is intact of a damaged file")
    options.add_argument("--mux", choices=("mp4", "y4m"), help="what to write to standard output (mp4 is fragmented)")
    add_device(options)
    add_output(options)
    return options.parse_args()


def work() -> int:
    args = arguments()
    inputs = (args.input, args.identity) if args.identity else (args.input,)
    check_output(args.output, args.force, inputs)  # said at once, before networks are loaded
    device = setup_device(args.device, args.threads)
    from ..codec.decoder import DecodeOptions, decode

    container = "mp4"
    if args.output == "-":
        container = "fmp4" if args.mux == "mp4" else "y4m"
    elif args.mux == "y4m" or args.output.endswith(".y4m"):
        container = "y4m"
    options = DecodeOptions(
        crop=args.crop, size=args.size, start=args.start, duration=args.duration, model=args.model,
        identity=args.identity, remember=args.remember, salvage=args.salvage, device=str(device), container=container,
    )  # fmt: skip
    with input_file(args.input) as src, output_file(args.output, args.force, inputs) as dst, Stages() as stages:
        report = decode(src, dst, options, stages)
    if report.synthetic:
        say("note: this file is marked synthetic; the motion was not performed by the person shown")
    for damage in report.damage:
        say(f"damage: {damage}")
    if report.repeated:
        say(f"{report.repeated} frames were lost and are held")
    if args.json:
        print_json({**asdict(report), "damage": [str(d) for d in report.damage]})
    else:
        speed = report.frames / report.seconds
        say(f"{report.frames} frames, {report.width}x{report.height}, {speed:.1f} frames a second")
    return 0


def main() -> None:
    run(work)


if __name__ == "__main__":
    main()
