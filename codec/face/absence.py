"""What is sent where nobody is there, as a placement: the background alone, or a plain picture
where it is not known.

A background made while somebody was always before it shows a body without a face.  A square so
large that the picture sees one spot of it, a corner of the wall behind the head, makes a plain
picture of its colour instead.
"""

from __future__ import annotations

import numpy as np

VAST = float(1 << 17)  # half side in pixels: the largest picture spans a thirtieth of the square
SPOT = -0.75  # of the square that is seen, across and down


def alone(placement: np.ndarray) -> np.ndarray:
    """The background alone: a square without a side."""
    return placement * [1, 1, 0, 1]


def plain(width: int, height: int) -> np.ndarray:
    """A plain picture of width x height."""
    return np.array([width / 2 - SPOT * VAST, height / 2 - SPOT * VAST, VAST, 0.0])


def nobody(placements: np.ndarray) -> np.ndarray:
    """At which placements (N, 4) nobody is there, (N,)."""
    return (placements[:, 2] <= 0) | (placements[:, 2] >= VAST)
