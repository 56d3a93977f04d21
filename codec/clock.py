"""Time stamps that jump: which packets of a file belong to one stretch of time, and what puts the stretches in order.

Two recordings joined end to end, a camera that restarted, a transport stream whose counter ran over: from some byte on
the clock is another one, for picture and sound alike, though not at the same packet.  `fev.codec.scan` feeds it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

Seconds = Fraction

BACK = Fraction(1, 10)  # a clock that goes back by more has jumped: packets come in decoding order
BACK_UNSURE = Fraction(1)  # the same where only presentation times are known, which go to and fro
NEAR = Fraction(3, 2)  # streams of a file are interleaved at least so closely
OVERLAP = Fraction(1, 10)  # of sound at a jump that is dropped rather than let the pictures wait


@dataclass
class Stretch:
    """Packets on one clock.  Per stream: first second, end, and the stretch that it left for this one, with its end."""

    start: dict[int, Seconds] = field(default_factory=dict)
    end: dict[int, Seconds] = field(default_factory=dict)
    before: dict[int, tuple[int, Seconds]] = field(default_factory=dict)


class Clocks:
    """Give it every packet in the order of the file; then `jumps` says what to add to a stream's times, and from where.

    ahead: seconds that a clock may leap forward before that is a jump, if every stream does it: a pause is no jump
    where the container's clock is its own.
    """

    def __init__(self, video: int, ahead: Seconds):
        self.video, self.ahead = video, ahead
        self.stretches = [Stretch()]
        self._at: dict[int, int] = {}  # stream -> its stretch
        self._last: dict[int, tuple[Seconds, bool]] = {}  # and whether it is a decoding time
        self._count: dict[int, int] = {}
        self._turns: dict[int, list[tuple[int, int]]] = {}  # stream -> (number of the packet, stretch)

    def see(self, stream: int, sent: Seconds, shown: Seconds, duration: Seconds, sure: bool) -> None:
        """A packet: `sent` is its decoding time if that is `sure`, `shown` its presentation time."""
        at = self._at.setdefault(stream, 0)
        count = self._count[stream] = self._count.get(stream, -1) + 1
        last, sure_before = self._last.get(stream, (None, False))
        back = BACK if sure and sure_before else BACK_UNSURE
        if last is not None and self._jumped(stream, at, last, sent, back):
            found = self._near(at, sent)
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

    def skip(self, stream: int) -> None:
        """A packet without a time."""
        self._count[stream] = self._count.get(stream, -1) + 1

    def _jumped(self, stream: int, at: int, last: Seconds, now: Seconds, back: Seconds) -> bool:
        if now < last - back:
            return True
        if now <= last + self.ahead:
            return False
        # A hole in one stream is no jump: the others have gone on to there.
        return not any(
            abs(self._last[other][0] - now) < NEAR
            for other, place in self._at.items()
            if other != stream and place == at
        )

    def _near(self, at: int, now: Seconds) -> int | None:
        """Another stretch that some stream is in, and whose clock is there."""
        for other, place in self._at.items():
            if place != at and other in self._last and abs(self._last[other][0] - now) < NEAR:
                return place
        return None

    def _shifts(self) -> list[Seconds]:
        """Seconds to add in each stretch, so that it begins where the one before it ends."""
        out = [Fraction(0)]
        for here in self.stretches[1:]:
            joins = {s: out[place] + end - here.start[s] for s, (place, end) in here.before.items()}
            latest = max(joins.values())
            picture = joins.get(self.video, latest)
            out.append(picture if latest - picture <= OVERLAP else latest)
        return out

    def jumps(self, stream: int) -> tuple[tuple[int, Seconds], ...]:
        """(number of a packet of the stream, seconds to add from it on), in order."""
        shifts = self._shifts()
        return tuple((count, shifts[at]) for count, at in self._turns.get(stream, ()))

    def span(self, stream: int) -> tuple[Seconds, Seconds] | None:
        """First second and end of a stream, jumps undone; None where no packet says its time."""
        places = [
            (here.start[stream] + shift, here.end[stream] + shift)
            for here, shift in zip(self.stretches, self._shifts(), strict=True)
            if stream in here.start
        ]
        return (min(p[0] for p in places), max(p[1] for p in places)) if places else None
