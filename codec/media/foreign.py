"""What a source is that is no video, so that the message can say it: an address, a picture, a
document.
"""

from __future__ import annotations

import os
import re
from typing import Any

from ...format.chunk import SIGNATURE

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
PICTURE = "a picture ({}), not a clip"
STARTS = (
    (b"\xff\xd8\xff", PICTURE.format("JPEG")),
    (b"\x89PNG", PICTURE.format("PNG")),
    (b"BM", PICTURE.format("BMP")),
    (b"II*\0", PICTURE.format("TIFF")),
    (b"MM\0*", PICTURE.format("TIFF")),
    (b"%PDF", "a PDF document, not a video"),
    (b"PK\x03\x04", "an archive or office document, not a video"),
    (SIGNATURE, "a .fev file already; fev-decode makes a video of it"),
)
BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF", b"msf1": "HEIF", b"avif": "AVIF"}


def address(src: Any) -> str | None:
    """What is wrong with a source that is an address instead of a file; None if it is none."""
    name = src if isinstance(src, str) else ""
    if not ADDRESS.match(name) or os.path.exists(name):
        return None
    shown = "".join(c if c.isprintable() else "?" for c in name)
    return f"{shown}: is an address, and fev reads files and pipes: fetch it first, or pipe it in"


def is_still(head: bytes) -> bool:
    """A picture in an MP4's clothes."""
    return head[4:8] == b"ftyp" and head[8:12] in BRANDS


def foreign(head: bytes) -> str | None:
    """What a file is by its first 16 bytes; None where that is not known."""
    if is_still(head):
        return PICTURE.format(BRANDS[head[8:12]])
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return PICTURE.format("WebP")
    return next((what for start, what in STARTS if head.startswith(start)), None)
