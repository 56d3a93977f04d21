"""fev-play: watch a `.fev` stream while it arrives.  The parts are in `fev.tools.player`."""

from __future__ import annotations

import time
from typing import Any

from ..format.errors import FevError, UsageError, about
from ..tools import serve
from .common import add_device, count, parser, print_json, run, say, seconds, setup_device
from .serve import PORT


def arguments(given: list[str] | None) -> Any:
    o = parser("fev-play", "Play a .fev file while it arrives, in a window, with its sound.")
    o.add_argument("input", help=".fev file, http(s) address, or - for standard input")
    o.add_argument("--crop", action="store_true", help="show the aligned square without the background")
    o.add_argument("--actor", type=count, metavar="N", help="whose square, with --crop (default: the lowest on stage)")
    o.add_argument("--size", type=count, metavar="N", help="larger side of the picture; less is faster")
    o.add_argument("--start", type=seconds, default=0.0, metavar="S", help="begin at this second")
    o.add_argument("--loop", action="store_true", help="begin again at the end")
    o.add_argument("--full", action="store_true", help="fill the screen")
    o.add_argument("--mute", action="store_true", help="begin without sound")
    o.add_argument("--overlay", action="store_true", help="begin with figures over the picture")
    o.add_argument("--duration", type=seconds, metavar="S", help="stop after so many seconds")
    o.add_argument("--web", action="store_true", help="in the browser instead, as fev-serve does")
    o.add_argument("--port", type=count, default=PORT, metavar="N", help=f"for --web (default: {PORT}, 0 for any)")
    o.add_argument("--model", help="model file, when it is not a built-in one")
    o.add_argument("--identity", metavar="FILE", help=".fev file with the identity that the input refers to")
    add_device(o)
    o.add_argument("--json", action="store_true", help="print what was shown and dropped as one JSON object")
    o.epilog = "keys: space pause, left and right 5 s, home, end, f full screen, m mute, i figures, q quit"
    args = o.parse_args(given)
    if args.size is not None and args.size < 32:
        raise UsageError("--size has to be 32 at least")
    return args


def work(given: list[str] | None = None) -> int:
    """The command.  Returns its exit status."""
    args = arguments(given)
    if args.web:
        if args.input == "-" or args.input.startswith("http"):
            raise UsageError("--web plays files and folders")
        return serve.work([args.input, "--port", str(args.port)])
    from .player.screen import Screen, Speaker, sdl

    sdl()  # what is missing is said before networks are loaded
    device = setup_device(args.device, args.threads)
    from ..codec.draw.options import DecodeOptions
    from .player.clock import Clock
    from .player.feed import Feed
    from .player.inputs import open_input
    from .player.session import Session

    stream = open_input(args.input)
    options = DecodeOptions(
        crop=args.crop, actor=args.actor, size=args.size, coarse=True, model=args.model, identity=args.identity,
        device=str(device), salvage=True,
    )  # fmt: skip
    clock, speaker = Clock(), Speaker()
    speaker.muted = args.mute
    speaker.run(False)
    feed = Feed(stream, options, clock, speaker.put if speaker.device else None)
    started, spent = time.monotonic(), time.process_time()
    try:
        feed.start()
        feed.ready.wait()
        if feed.error is not None:
            with about(args.input):
                raise feed.error
        if feed.reader.header.synthetic:
            say("note: this file is marked synthetic; the motion was not performed by the person shown")
        decoder = feed.decoder
        with Screen(f"{args.input} - fev", decoder.width, decoder.height, args.full) as screen:
            session = Session(feed, clock, screen, speaker if feed.has_sound else None, args.overlay, args.loop)
            session.limit = args.duration
            if args.start:
                session.seek(args.start)
            session.run()
    finally:
        feed.stop()
        speaker.close()
    if not session.shown and not session.quit:
        raise FevError("nothing to play: the stream holds no frame")
    report = session.report()
    wall = time.monotonic() - started
    report |= {"elapsed_s": round(wall, 2), "cpu_share": round((time.process_time() - spent) / wall, 3)}
    if args.json:
        print_json(report)
    return 0


def main() -> None:
    """Entry point.  Exit 0 good, 1 bad input, 2 wrong usage."""
    run(work)


if __name__ == "__main__":
    main()
