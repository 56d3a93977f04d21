"""fev-puppet: the motion of one `.fev` file on the identity of another.  The work is done by `fev.codec.puppet`.

What comes out is marked as synthetic, with the digests of both files; decoding prints the mark.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..codec.media.containers import check_fev_name
from .common import (  # fmt: skip
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
    setup_device,
)
from .encode import Stages


def arguments() -> Any:
    options = parser("fev-puppet", "Put the motion of one .fev file on the identity of another; marked as synthetic.")
    options.add_argument("--identity", required=True, metavar="A.fev", help="who is seen; - for standard input")
    options.add_argument("--motion", required=True, metavar="B.fev", help="how the face moves, and the sound")
    options.add_argument("--actor", type=count, default=0, metavar="N", help="whom of A.fev (default: 0)")
    options.add_argument("--motion-actor", type=count, default=0, metavar="N", help="whose of B.fev (default: 0)")
    options.add_argument("output", help=".fev file, or - for standard output")
    options.add_argument("--no-audio", action="store_true", help="leave the sound out")
    options.add_argument("--model", help="model file, when it is not a built-in one")
    add_device(options)
    add_output(options)
    return options.parse_args()


def work() -> int:
    args = arguments()
    inputs = (args.identity, args.motion, args.model)
    check_fev_name(args.output)
    check_output(args.output, args.force, inputs, args.json)  # said at once, before networks are loaded
    device = setup_device(args.device, args.threads)
    from ..codec.puppet import puppet

    with (
        input_file(args.identity) as who,
        input_file(args.motion) as how,
        output_file(args.output, args.force, inputs) as dst,
        Stages() as stages,
    ):
        report = puppet(
            who, how, dst, actor=args.actor, motion_actor=args.motion_actor, model=args.model,
            audio=not args.no_audio, device=str(device), progress=stages,
        )  # fmt: skip
    if args.json:
        print_json(asdict(report))
    else:
        say(
            f"{report.frames} frames, {report.duration_s:.2f} s -> {report.bytes} bytes, marked as synthetic; "
            f"parameters {'learnt from the pictures' if report.learnt else 'as they are'}"
        )
    return 0


def main() -> None:
    run(work)


if __name__ == "__main__":
    main()
