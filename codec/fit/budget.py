"""How many bytes a face gets where nobody says: by how long it is seen and how large it is.

A second is worth 1,000 bytes: four seconds have 33.5 dB of the face with 4,000 and only 2.7 more
with four times as many (figures: docs/measurements/identity-bytes.md).  Motion adds 125 a second or
more, so that the identity stays below nine tenths of a file, short clips apart.

A long clip has as much in each of its chapters: an hour shows more than two minutes do.  A later
one brings modes alone, and only where they gain what their bytes gain elsewhere (`revision`), so a
talk that stays as it is pays once.
"""

from __future__ import annotations

DEFAULT_BUDGET = 27_000  # most bytes of the parts IDEN, PIVT, DELT and MODE together
LEAST_BUDGET = 6  # bytes of the least identity, one coefficient that is zero
A_SECOND = 1_000  # bytes
LEAST = 4_000  # bytes; with fewer a face is soft, however short the clip
FULL_SIDE = 256  # pixels of the square in the source; what is smaller shows less
LEAST_SIZE = 0.5  # share of the bytes that the smallest face gets


def by_need(seconds: float, side: float) -> int:
    """Most bytes of identity, pivot, delta and modes.

    Args:
        seconds: that the face is seen.
        side: of its square in the source, pixels.
    """
    size = min(1.0, max(LEAST_SIZE, side / FULL_SIDE))
    return round(min(max(A_SECOND * seconds * size, LEAST), DEFAULT_BUDGET))
