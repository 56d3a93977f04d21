"""Text over the picture: what the file costs and how the playback fares."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from .feed import Feed

SHADE = 150  # of 255: how dark it is behind the letters


def lines(feed: Feed, now: float, shown_per_second: float, note: str = "") -> list[str]:
    """The overlay's text."""
    rows, h = feed.tally.segments, feed.reader.header
    here = next((r for r in reversed(rows) if r[0] <= now), None)
    rate = float(1 / feed.frame)
    length = "" if feed.length is None else f" of {feed.length:.1f}"
    out = [f"{now:.1f}{length} s   {h.width}x{h.height}   {shown_per_second:.1f} of {rate:.4g} frames/s"]
    if here is not None:
        seconds = max(1e-3, here[1] - here[0])
        out.append(f"now {8e-3 * sum(here[2].values()) / seconds:.2f} kbit/s")
        whole = feed.once + sum(sum(r[2].values()) for r in rows)
        span = max(1e-3, max(r[1] for r in rows) - rows[0][0])
        out[-1] += f"   mean {8e-3 * whole / span:.2f} with the identity"
        frames = max(1.0, seconds * rate)
        parts = [f"{k} {8 * v / frames:.0f}" for k, v in here[2].items() if v]
        out.append("bits/frame: " + ", ".join(parts))
    out.append(
        f"buffer {len(feed.pictures)} pictures   dropped {feed.tally.dropped}   lost {feed.tally.lost}"
        f"   drawing {1000 * feed.tally.draw_seconds:.0f} ms"
    )
    if h.synthetic:
        out.append("synthetic: the motion was not performed by the person shown")
    if feed.tally.damage:
        out.append(f"damage: {str(feed.tally.damage[-1])[:90]}")
    return [*out, note] if note else out


@lru_cache(4)
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def drawn(text: list[str], size: int) -> np.ndarray:
    """RGBA uint8 (h, w, 4): light letters on a shade.

    Args:
        size: of the letters in pixels.
    """
    from PIL import Image, ImageDraw

    font, edge = _font(size), size // 2
    box = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox((0, 0), "\n".join(text), font=font)
    picture = Image.new("RGBA", (int(box[2]) + 2 * edge, int(box[3]) + 2 * edge), (0, 0, 0, SHADE))
    ImageDraw.Draw(picture).multiline_text((edge, edge), "\n".join(text), fill=(255, 255, 255, 255), font=font)
    return np.asarray(picture)
