"""The commands.  What interrupts one before it has begun ends it at once: no traceback of half an import.

`fev` itself imports nothing, so this runs first of all; nothing slow may be imported here.
"""

import os
import signal
import sys


def leave(number: int, frame: object) -> None:
    """End the process as a signal does, with nothing said and nothing undone."""
    os._exit(128 + number)


def is_command() -> bool:
    """Whether this process is one of the commands: `fev-encode`, or `python -m fev.tools.encode`."""
    name = os.path.basename(sys.argv[0]) if sys.argv else ""
    return name.startswith("fev-") or (name == "-m" and any(w.startswith("fev.tools.") for w in sys.orig_argv))


# An interrupt that is ignored, as in a script's background, stays ignored.  `common.run` takes over from here.
if is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, leave)
