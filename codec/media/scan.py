"""One pass over a file's packets before anything is decoded: how long each stream is, and where its
clock jumps.

`streams` chooses by it, `video` and `audio` read on the repaired clock.  Nothing is
decoded, so an hour takes seconds; an MP4 has all of it in its index and is not read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av

from .clock import Clocks
from .source import SharedView
from .track import Track
from .videoinfo import nominal_rate

PAUSE = Fraction(2)  # seconds; longer ones are a jump where the container's clock is not its own
MARGIN = 10  # seconds read beyond what is wanted
FEW = 10  # frames that a pause may last where they are slow, as those of slides
LONGEST_PAUSE = Fraction(600)  # seconds; the same anywhere


def is_picture(stream: Any) -> bool:
    """A cover or thumbnail beside the clip."""
    marks = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    return bool(stream.disposition & marks)


def own_clock(container: av.container.InputContainer) -> bool:
    """The container's clock begins where the clip does; that of a transport stream is its
    transmitter's.
    """
    discontinuous: Any = av.format.Flags.ts_discont  # its stub has no number
    return not container.format.flags & discontinuous.value


def tracks_of(container: av.container.InputContainer, view: SharedView, until: float | None = None) -> dict[int, Track]:
    """Every video and audio stream, by its index; reads the container to its end unless an index
    tells.

    Args:
        until: seconds that are wanted; where there are no streams to choose between, not much more
            is read.
    """
    streams: list[Any] = [s for s in container.streams if s.type in ("video", "audio")]
    if "mp4" in container.format.name and all(s.frames for s in streams if s.type == "video"):
        return {s.index: _stated(s) for s in streams}
    video = next((s.index for s in streams if s.type == "video" and not is_picture(s)), -1)
    rate = math.lcm(*(s.time_base.denominator for s in streams if s.time_base))
    usual = {s.index: round(rate / nominal_rate(s)) if s.type == "video" else 0 for s in streams}
    pause = max(PAUSE, Fraction(FEW * usual.get(video, 0), rate))
    joint = Clocks(video, LONGEST_PAUSE if own_clock(container) else pause, rate)
    ticks = {s.index: int(s.time_base * rate) if s.time_base else 1 for s in streams}
    counts = dict.fromkeys(usual, 0)
    alone = len({s.type for s in streams}) == len(streams)
    enough = round((until + MARGIN) * rate) if until is not None and alone else None
    for packet in _packets(container, streams, view):
        index = packet.stream_index
        counts[index] += 1
        sent = packet.pts if packet.dts is None else packet.dts
        if sent is None:
            joint.skip(index)
            continue
        base = ticks[index]
        shown = sent if packet.pts is None else packet.pts
        duration = packet.duration * base if packet.duration else usual[index]
        joint.see(index, sent * base, shown * base, duration, packet.dts is not None)
        if enough is not None and index == video and joint.lasted(video) > enough:
            break
    out = {}
    for stream in streams:
        first, end = joint.span(stream.index) or (None, None)
        out[stream.index] = Track(stream.index, counts[stream.index], first, end, joint.jumps(stream.index))
    return out


def _stated(stream: Any) -> Track:
    base = stream.time_base
    first = (stream.start_time or 0) * base
    end = None if stream.duration is None else first + stream.duration * base
    return Track(stream.index, stream.frames, first, end)


def _packets(container: av.container.InputContainer, streams: list[Any], view: SharedView) -> Iterator[Any]:
    """Packets until the end, or until the file is damaged: what is wrong there is said when it is
    decoded.
    """
    try:
        for packet in container.demux(streams):
            view.check()
            if packet.size:
                yield packet
    except (av.InvalidDataError, av.EOFError):
        view.check()
