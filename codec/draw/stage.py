"""What of a stage can be drawn: one actor in one revision before one still set. `decoder.py` and
`puppet.py` ask before they draw."""

from __future__ import annotations

from ...format.cast import Cast
from ...format.errors import UnsupportedError
from ...format.segment import Segment


def check_drawable(segment: Segment, cast: Cast, revision: int) -> None:
    """Raises UnsupportedError for a segment that shows more than can be drawn yet.

    Args:
        cast: of the segment's stream.
        revision: of actor 0, which is drawn.
    """
    track, given = segment.alone, cast.sets.get(0)
    who = (track.actor, track.revision) == (0, revision)
    still = segment.on_set == 0 and segment.camera is None and (given is None or given.place is None)
    if not who or not still or segment.patches:
        message = "a segment with other actors, another set, a camera or patches cannot be drawn yet"
        raise UnsupportedError(message, segment=segment.index)
