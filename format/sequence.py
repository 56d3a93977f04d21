"""Do the segments of a stream follow each other, and is its end true? `reader.py` asks for each."""

from __future__ import annotations

from .errors import check
from .header import UNKNOWN_FRAMES, Header
from .index import End
from .taken import Parts


class Sequence:
    """How far a reader has come.

    Attributes:
        index, frame: of the segment and the frame that come next.
        pts: of the last frame, in ticks; None where nobody knows.
        linear: every segment so far was met, so that places and totals can be compared.
    """

    def __init__(self) -> None:
        self.index = 0
        self.frame = 0
        self.pts: int | None = None
        self.linear = True

    def check(self, parts: Parts, header: Header) -> None:
        """Raises DamagedError where a segment cannot come next."""
        check(parts.index == self.index, f"segment {parts.index} where {self.index} was expected")
        if self.linear:
            check(parts.first_frame == self.frame, f"segment {parts.index} does not follow the one before")
        check(parts.first_frame >= self.frame, f"segment {parts.index} begins before the last ended")
        check(self.pts is None or parts.pts[0] > self.pts, f"segment {parts.index} goes back in time")
        check(not parts.audio or header.has_audio, "audio in a stream without an audio header")

    def go_on(self, parts: Parts) -> None:
        """After a segment that was checked."""
        self.index += 1
        self.frame = parts.first_frame + len(parts.pts)
        self.pts = int(parts.pts[-1])

    def extend(self, parts: Parts) -> None:
        """After a further part of the segment that came last."""
        self.frame = parts.first_frame + len(parts.pts)
        self.pts = int(parts.pts[-1])

    def jump(self, index: int, frame: int) -> None:
        """To a segment that does not follow the one before."""
        self.index, self.frame, self.pts, self.linear = index, frame, None, False

    def check_end(self, end: End, header: Header) -> None:
        """Raises DamagedError where the totals are not true; there is nothing to say after a
        gap."""
        if not self.linear:
            return
        seen = (self.index, self.frame)
        check(end[:2] == seen, f"the end counts {end[:2]} segments and frames, there were {seen}")
        promised = header.frame_count
        check(promised in (UNKNOWN_FRAMES, end.frames), f"the header promised {promised} frames")
