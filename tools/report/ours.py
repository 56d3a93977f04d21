"""fev itself on a square, as `classic` is for the others: the whole `.fev` file is counted, framing and index too.

What is paid once is what lies before the first segment, and the end; segments and what the index says of them grow.
Decoded pictures are drawn as `fev-decode --crop` draws them and then go through 8-bit 4:2:0, BT.709, limited range and
back (`seen`), as the pictures of all other codecs have.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ...codec.draw.frames import FrameDecoder
from ...codec.draw.options import DecodeOptions
from ...codec.encode.options import EncodeOptions
from ...codec.encoder import encode as encode_fev
from ...codec.media.colour import Colour, from_rgb, to_rgb
from ...codec.media.source import MediaSource
from ...codec.model.modelfile import load_model
from ...format.chunk import SIGNATURE, read_chunk
from ...format.container import Reader
from ...format.errors import FevError
from ...format.source import Source as Bytes
from ...version import __version__
from .coded import CodedClip

ROOT = Path(__file__).resolve().parents[2]


def encode(square: MediaSource, setting: dict[str, Any]) -> CodedClip:
    """Code a square's file.

    Args:
        setting: fields of EncodeOptions.

    Raises FevError.
    """
    started = time.perf_counter()
    out = io.BytesIO()
    report = encode_fev(square, out, EncodeOptions(crop=True, audio=False, **setting))
    if not report.aligned:
        raise FevError("fev took the square for a picture with a face somewhere in it, and cut it again")
    elapsed = time.perf_counter() - started
    with Reader(io.BytesIO(out.getvalue())) as reader:
        for _ in reader.segments():
            pass
        sections = reader.sections()
    stream = out.getvalue()
    return CodedClip(
        stream, ".fev", len(stream), len(stream) - growing(stream), 0, elapsed, sections, software=version()
    )


def growing(stream: bytes) -> int:
    """Bytes of a `.fev` stream that every second adds to: segments, and their places in an index."""
    source, total = Bytes(io.BytesIO(stream)), 0
    source.seek(len(SIGNATURE))
    while chunk := read_chunk(source, len(stream)):
        total += {"SEGM": chunk.size, "indx": len(chunk.payload)}.get(chunk.type, 0)
    return total


def decode(stream: bytes, size: int, model: str | None) -> Iterator[np.ndarray]:
    """The pictures of a `.fev` stream, uint8 (size, size, 3)."""
    with Reader(io.BytesIO(stream)) as reader:
        own = reader.header.width == size
        decoder = FrameDecoder(reader, DecodeOptions(crop=True, size=None if own else size, model=model))
        for _, rgb in decoder.frames(reader.segments()):
            yield seen(rgb)


def seen(rgb: np.ndarray) -> np.ndarray:
    """A picture as it is after 8-bit 4:2:0."""
    return to_rgb(from_rgb(rgb, "yuv420p", Colour()), Colour())


@cache
def version() -> str:
    """fev by what is in it: a change of the code is another codec."""
    out = hashlib.sha256()
    for folder in ("format", "codec"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            out.update(path.read_bytes())
    return f"fev {__version__}, code {out.hexdigest()[:12]}"


@cache
def model_digest(name: str) -> str:
    return load_model(name).sha256
