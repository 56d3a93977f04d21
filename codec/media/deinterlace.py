"""Two fields in one frame become one picture: FFmpeg's bwdif, for the frames that are flagged as
interlaced.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import av
import av.filter

FILTER = "mode=send_frame:parity=auto:deint=interlaced"


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    Args:
        pts: in the stream's time base, strictly increasing.
        combed: it had two fields.
    """

    pts: int
    frame: av.VideoFrame
    damaged: bool
    combed: bool = False


class Deinterlacer:
    """Passes frames through until the first interlaced one, and all of them through the filter from
    there on.
    """

    def __init__(self, time_base: Fraction):
        self._base = time_base
        self._graph: Any = None
        self._shape: tuple[int, int, str] | None = None
        self._inside: dict[int, Picture] = {}

    def push(self, picture: Picture) -> Iterator[Picture]:
        """A picture in; those that are ready come out.  The filter looks one frame ahead."""
        frame = picture.frame
        shape = frame.width, frame.height, frame.format.name
        if self._graph is not None and shape != self._shape:
            yield from self.rest()
        if self._graph is None:
            if not frame.interlaced_frame:
                yield picture
                return
            self._start(shape)
        self._inside[picture.pts] = replace(picture, combed=bool(frame.interlaced_frame))
        frame.pts, frame.time_base = picture.pts, self._base
        self._graph.vpush(frame)
        yield from self._ready()

    def rest(self) -> Iterator[Picture]:
        """What is still in the filter."""
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._ready()
            self._graph = None

    def _start(self, shape: tuple[int, int, str]) -> None:
        self._shape = shape
        graph = self._graph = av.filter.Graph()
        source = graph.add_buffer(
            width=shape[0], height=shape[1], format=av.VideoFormat(shape[2]), time_base=self._base
        )
        graph.link_nodes(source, graph.add("bwdif", FILTER), graph.add("buffersink")).configure()

    def _ready(self) -> Iterator[Picture]:
        while True:
            try:
                frame = self._graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return
            pts = round(frame.pts * frame.time_base / self._base)
            yield replace(self._inside.pop(pts), frame=frame)
