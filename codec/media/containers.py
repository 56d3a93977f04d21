"""Which container a name asks for.  `fev.codec.media.mux` writes them."""

from __future__ import annotations

import os
from typing import Any

from ...format.errors import UsageError

CONTAINERS = ("mp4", "fmp4", "mkv", "webm", "y4m")  # fmp4: MP4 in fragments, for pipes
ENDINGS = {".mp4": "mp4", ".m4v": "mp4", ".mkv": "mkv", ".webm": "webm", ".y4m": "y4m"}
SILENT = ("y4m",)  # hold no sound
VIDEO = (*ENDINGS, ".mov", ".avi", ".ts", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv", ".gif")


def container_of(dst: Any) -> str:
    """The container for a path or an open file, by its name; MP4 for a file without a name.

    Raises:
        UsageError: where a path asks for something that is not written.
    """
    named = isinstance(dst, (str, os.PathLike))
    name = os.fsdecode(dst) if named else getattr(dst, "name", "")
    ending = os.path.splitext(name)[1].lower() if isinstance(name, str) else ""
    if ending in ENDINGS:
        return ENDINGS[ending]
    if named:
        raise UsageError(f"{name}: cannot be written under this name; the endings are {', '.join(ENDINGS)}")
    return "mp4"


def check_fev_name(dst: Any) -> None:
    """Refuse to write a .fev stream under a video's name."""
    name = os.fsdecode(dst) if isinstance(dst, (str, os.PathLike)) else ""
    if os.path.splitext(name)[1].lower() in VIDEO:
        raise UsageError(f"{name}: would be a .fev stream under a video's name; end it in .fev")
