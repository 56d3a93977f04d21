"""Time stamps that jump: which packets of a file belong to one stretch of time, and what puts the
stretches in order.

Two recordings joined end to end, a camera that restarted, a transport stream whose counter ran
over: from some byte on the clock is another one, for picture and sound alike, though not at the
same packet.  `fev.codec.media.scan` feeds it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

Ticks = int

# Seconds.
BACK = Fraction(1, 10)  # a clock that goes back by more has jumped: packets come in decoding order
BACK_UNSURE = Fraction(1)  # the same where only presentation times are known, which go to and fro
NEAR = Fraction(3, 2)  # streams of a file are interleaved at least so closely
OVERLAP = Fraction(1, 10)  # sound at a jump that is dropped rather than let the pictures wait


@dataclass
class Stretch:
    """Packets on one clock.  Per stream: start, end, and the stretch that it left for this one,
    with its end there.
    """

    start: dict[int, Ticks] = field(default_factory=dict)
    end: dict[int, Ticks] = field(default_factory=dict)
    before: dict[int, tuple[int, Ticks]] = field(default_factory=dict)


class Clocks:
    """Give it every packet in the order of the file; then `jumps` says what to add to a stream's
    times, and from where.

    Args:
        video: the stream whose frames keep their distance where two stretches meet.
        ahead: seconds that a clock may leap forward before that is a jump, if every stream does it.
        rate: ticks a second, of all times given; whole numbers, since there may be millions of
            packets.
    """

    def __init__(self, video: int, ahead: Fraction, rate: int):
        self.video, self.rate = video, rate
        self._ahead, self._near, self._overlap = (round(s * rate) for s in (ahead, NEAR, OVERLAP))
        self._back = {True: round(BACK * rate), False: round(BACK_UNSURE * rate)}
        self.stretches = [Stretch()]
        self._at: dict[int, int] = {}  # stream -> its stretch
        self._last: dict[int, tuple[Ticks, bool]] = {}  # and whether it is a decoding time
        self._count: dict[int, int] = {}
        self._turns: dict[int, list[tuple[int, int]]] = {}  # stream -> (number of the packet, stretch)

    def see(self, stream: int, sent: Ticks, shown: Ticks, duration: Ticks, sure: bool) -> None:
        """A packet: `sent` is its decoding time if that is `sure`, `shown` its presentation time."""
        at = self._at.setdefault(stream, 0)
        count = self._count[stream] = self._count.get(stream, -1) + 1
        last, sure_before = self._last.get(stream, (None, False))
        back = self._back[sure and sure_before]
        if last is not None and self._jumped(stream, at, last, sent, back):
            found = self._there(at, sent)
            if found is None:
                self.stretches.append(Stretch())
                found = len(self.stretches) - 1
            self.stretches[found].before.setdefault(stream, (at, self.stretches[at].end[stream]))
            at = self._at[stream] = found
            self._turns.setdefault(stream, []).append((count, at))
        self._last[stream] = sent, sure
        here = self.stretches[at]
        here.start[stream] = min(here.start.get(stream, shown), shown)
        here.end[stream] = max(here.end.get(stream, shown + duration), shown + duration)

    def lasted(self, stream: int) -> Ticks:
        """Ticks of a stream so far, all stretches together."""
        return sum(s.end[stream] - s.start[stream] for s in self.stretches if stream in s.start)

    def skip(self, stream: int) -> None:
        """A packet without a time."""
        self._count[stream] = self._count.get(stream, -1) + 1

    def _jumped(self, stream: int, at: int, last: Ticks, now: Ticks, back: Ticks) -> bool:
        if now < last - back:
            return True
        if now <= last + self._ahead:
            return False
        # A hole in one stream is no jump: the others have gone on to there.
        return not any(
            abs(self._last[other][0] - now) < self._near
            for other, place in self._at.items()
            if other != stream and place == at
        )

    def _there(self, at: int, now: Ticks) -> int | None:
        """Another stretch that some stream is in, and whose clock is there."""
        for other, place in self._at.items():
            if place != at and other in self._last and abs(self._last[other][0] - now) < self._near:
                return place
        return None

    def _shifts(self) -> list[Ticks]:
        """Ticks to add in each stretch, so that it begins where the one before it ends."""
        out = [0]
        for here in self.stretches[1:]:
            joins = {s: out[place] + end - here.start[s] for s, (place, end) in here.before.items()}
            latest = max(joins.values())
            picture = joins.get(self.video, latest)
            out.append(picture if latest - picture <= self._overlap else latest)
        return out

    def jumps(self, stream: int) -> tuple[tuple[int, Fraction], ...]:
        """(number of a packet of the stream, seconds to add from it on), in order."""
        shifts = self._shifts()
        return tuple((count, Fraction(shifts[at], self.rate)) for count, at in self._turns.get(stream, ()))

    def span(self, stream: int) -> tuple[Fraction, Fraction] | None:
        """First second and end of a stream, jumps undone; None where no packet says its time."""
        places = [
            (here.start[stream] + shift, here.end[stream] + shift)
            for here, shift in zip(self.stretches, self._shifts(), strict=True)
            if stream in here.start
        ]
        if not places:
            return None
        return Fraction(min(p[0] for p in places), self.rate), Fraction(max(p[1] for p in places), self.rate)
