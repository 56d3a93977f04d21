"""What one pass over a file tells of one of its streams (`fev.codec.media.scan`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av


@dataclass(frozen=True)
class Track:
    """A stream of a file.

    Args:
        index: among all streams.
        packets: how many, 0 if unknown.
        first, end: seconds, None if unknown, jumps undone.
        jumps: (number of a packet, seconds to add from it on).
    """

    index: int
    packets: int
    first: Fraction | None
    end: Fraction | None
    jumps: tuple[tuple[int, Fraction], ...] = ()

    @property
    def length(self) -> Fraction:
        """Seconds, 0 if unknown."""
        return Fraction(0) if self.first is None or self.end is None else max(Fraction(0), self.end - self.first)

    def repaired(self, packets: Iterator[Any]) -> Iterator[Any]:
        """The stream's packets with their times put right; the empty ones at the end are passed on."""
        jumps, count, shift = list(self.jumps), 0, 0
        for packet in packets:
            if packet.size:
                while jumps and count >= jumps[0][0]:
                    shift = round(jumps.pop(0)[1] / packet.time_base)
                count += 1
            if shift and packet.size:
                packet = _shown(packet) if packet.is_discard else packet
                packet.pts = None if packet.pts is None else packet.pts + shift
                packet.dts = None if packet.dts is None else packet.dts + shift
            yield packet


def _shown(packet: Any) -> Any:
    """A copy that is not marked to be hidden: FFmpeg takes an MP4 joined to another for what
    precedes its edit list.
    """
    out = av.Packet(bytes(packet))
    out.stream, out.time_base = packet.stream, packet.time_base
    out.pts, out.dts, out.duration, out.is_keyframe = packet.pts, packet.dts, packet.duration, packet.is_keyframe
    return out
