"""fev-serve: a page with the `.fev` files of a folder, played in the browser.  The parts are in `fev.tools.player`."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..format.errors import FevError, UsageError
from .common import count, parser, run, say

LOOPBACK = "127.0.0.1"
PORT = 8137


def arguments(given: list[str] | None) -> Any:
    o = parser("fev-serve", "Serve a page that plays .fev files, to this machine alone unless told otherwise.")
    o.add_argument("place", help=".fev file, or a folder of them")
    o.add_argument("--port", type=count, default=PORT, metavar="N", help=f"port, 0 for any (default: {PORT})")
    o.add_argument(
        "--host", default=LOOPBACK, help="address to listen on; another than loopback shows the faces to the network"
    )
    args = o.parse_args(given)
    if args.port > 65535:
        raise UsageError(f"--port {args.port} is not within 0 to 65535")
    return args


async def serve(place: Path, host: str, port: int) -> None:
    """Until it is interrupted."""
    from .player.web import start

    serving = await start(place, host, port, everybody=host != LOOPBACK)
    say(f"http://{host}:{serving.port}/  (Ctrl-C ends it)")
    if host != LOOPBACK:
        say("note: whoever reaches this address sees the faces in these files")
    over = asyncio.Event()
    with suppress(NotImplementedError):  # Windows has no signal handlers here; Ctrl-C works there all the same
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, over.set)
    try:
        await over.wait()
    finally:
        await serving.close()


def work(given: list[str] | None = None) -> int:
    """The command.  Returns its exit status."""
    args = arguments(given)
    place = Path(args.place)
    if not args.place or not os.path.exists(place):
        raise FevError(f"{args.place!r}: no such file or folder")
    try:
        import aiohttp  # noqa: F401
    except ImportError:
        raise UsageError("fev-serve needs aiohttp: pip install 'fev[play]'") from None
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(place, args.host, args.port))
    return 0


def main() -> None:
    """Entry point.  Exit 0 good, 1 bad input, 2 wrong usage."""
    run(work)


if __name__ == "__main__":
    main()
