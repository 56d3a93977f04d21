"""A bad link for a `.fev` stream: packets that are lost, late or wrong, and a connection that ends too soon.

    python -m fev.tools.lab.netsim talk.fev - --drop 0.02 --bit-errors 1e-5 --rate 8 | fev-play -

The same seed harms the same bytes.  Meant for looking at what a player makes of it; the tests play many seeds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from ...format.errors import UsageError
from ..common import count, input_file, kilobits, output_file, parser, print_json, run, say, seconds, share

PACKET = 256  # bytes


@dataclass(frozen=True)
class Link:
    """drop, late: share of packets.  bit_errors: share of bits.  rate: kbit/s, None for all at once.  delay: seconds of
    a late packet.  cut: bytes after which the connection ends.  spare: bytes at the beginning that come through."""

    drop: float = 0.0
    bit_errors: float = 0.0
    late: float = 0.0
    delay: float = 0.5
    rate: float | None = None
    cut: int | None = None
    spare: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("drop", "bit_errors", "late"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} {getattr(self, name):g} is not a share of 0 to 1")


@dataclass
class Harm:
    """What was done.

    Attributes:
        bytes: those that came through, right or wrong.
    """

    bytes: int = 0
    dropped: int = 0
    flipped: int = 0
    late: int = 0
    cut: bool = False


def carry(src: BinaryIO, link: Link, harm: Harm, sleep: Callable[[float], None] = time.sleep) -> Iterator[bytes]:
    """The packets of a stream as they come out of the link, when they come out.  `harm` is kept up to date."""
    random, sent = np.random.default_rng(link.seed), 0
    while packet := src.read(PACKET):
        if link.cut is not None and sent + len(packet) > link.cut:
            harm.cut, packet = True, packet[: max(0, link.cut - sent)]
        sent += len(packet)
        if link.rate:
            sleep(8e-3 * len(packet) / link.rate)
        lost, late = random.random(2) < (link.drop, link.late)
        wrong = np.flatnonzero(random.random(8 * len(packet)) < link.bit_errors)
        if sent > link.spare:
            if late:
                harm.late += 1
                sleep(link.delay)
            if len(wrong) and not lost:
                bits = np.unpackbits(np.frombuffer(packet, np.uint8))
                bits[wrong] ^= 1
                packet = np.packbits(bits).tobytes()
                harm.flipped += len(wrong)
            harm.dropped += bool(lost)
        if packet and not (lost and sent > link.spare):
            harm.bytes += len(packet)
            yield packet
        if harm.cut:
            return


def arguments(given: list[str] | None) -> Any:
    o = parser("fev.tools.lab.netsim", "Send a .fev stream over a bad link.")
    o.add_argument("input", help=".fev file, or - for standard input")
    o.add_argument("output", help="where what arrives is written, or - for standard output")
    o.add_argument("--drop", type=share, default=0.0, metavar="P", help=f"share of packets ({PACKET} bytes) lost")
    o.add_argument("--bit-errors", type=share, default=0.0, metavar="P", help="share of bits that are wrong")
    o.add_argument("--late", type=share, default=0.0, metavar="P", help="share of packets that come late")
    o.add_argument("--delay", type=seconds, default=0.5, metavar="S", help="how late (default: 0.5)")
    o.add_argument("--rate", type=kilobits, metavar="KBPS", help="of the link (default: all at once)")
    o.add_argument("--cut", type=count, metavar="BYTES", help="the connection ends after so many")
    o.add_argument("--spare", type=count, default=0, metavar="BYTES", help="so many at the beginning are left alone")
    o.add_argument("--seed", type=count, default=0, metavar="N")
    o.add_argument("--force", "-f", action="store_true", help="overwrite an existing output file")
    o.add_argument("--json", action="store_true", help="say on standard error, as JSON, what was done")
    return o.parse_args(given)


def work(given: list[str] | None = None) -> int:
    """The command.  Returns its exit status."""
    args = arguments(given)
    link = Link(args.drop, args.bit_errors, args.late, args.delay, args.rate, args.cut, args.spare, args.seed)
    harm = Harm()
    with input_file(args.input) as src, output_file(args.output, args.force, (args.input,)) as dst:
        for packet in carry(src, link, harm):
            dst.write(packet)
            dst.flush()
    if args.json and args.output != "-":
        print_json(vars(harm))
    else:
        say(f"{harm.bytes} bytes, {harm.dropped} packets lost, {harm.late} late, {harm.flipped} bits wrong"
            + (", cut off" if harm.cut else ""))  # fmt: skip
    return 0


def main() -> None:
    """Entry point.  Exit 0 good, 1 bad input, 2 wrong usage."""
    run(work)


if __name__ == "__main__":
    main()
